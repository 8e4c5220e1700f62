//! `metalstrap early-network`: the network arguments of the kernel command line, for the live system.

use crate::console::MachineScreen;
use crate::early_network::live;
use crate::exit::{ExitCode, ExitWith, Failure};
use sysio::sysfs::SysRoot;

/// Writes the files of systemd-networkd, early in the boot of the live system.
///
/// # Errors
/// Exit code 2: an argument cannot be meant; 6: a file cannot be written.
pub fn run() -> Result<ExitCode, Failure> {
    live::run(&SysRoot::default(), &mut MachineScreen::with_consoles()).exit_with(ExitCode::Io)
}

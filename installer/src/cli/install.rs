//! `metalstrap install`

use super::Global;
use crate::console::MachineScreen;
use crate::exit::{ExitCode, Failure};
use crate::install::{Options, Resume, run_attended, run_install};
use crate::inventory::MEDIUM_MOUNT;
use std::io::{BufRead, Write};
use std::path::PathBuf;

/// Arguments of `metalstrap install`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Never ask, obey the kernel's arguments, write to all consoles and reboot at the end.
    #[arg(long)]
    pub unattended: bool,
    /// With --unattended: try again what may pass by itself, and after a stop stay at the consoles and take orders.
    #[arg(long, requires = "unattended")]
    pub console: bool,
    /// Cluster file to use instead of searching for one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Which node this is, instead of finding out.
    #[arg(long, value_name = "HOSTNAME")]
    pub node: Option<String>,
    /// As the kernel argument metalstrap.disk: take the disk with this serial.
    #[arg(long, value_name = "SERIAL")]
    pub disk: Option<String>,
    /// As the kernel argument metalstrap.wipe: consent to lose what is on the disk with this serial.
    #[arg(long, value_name = "SERIAL")]
    pub wipe: Option<String>,
    /// Carry on an install that failed behind its first write: what is whole on the disk is kept, the rest is done again.
    #[arg(long)]
    pub resume: bool,
    /// Leave out a preflight check by its id; several with commas, or the option several times.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// Stay in the live system when the install is done.
    #[arg(long)]
    pub no_reboot: bool,
    /// Where the live medium is mounted.
    #[arg(long, value_name = "DIR", default_value = MEDIUM_MOUNT)]
    pub medium: PathBuf,
}

/// Installs this machine. Every outcome is on the screen and in `/run/metalstrap/install.json`.
///
/// # Errors
/// None: a refusal is shown and gives the exit code.
pub fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let options = Options {
        unattended: args.unattended,
        config: args.config.clone(),
        node: args.node.clone(),
        disk: args.disk.clone(),
        wipe: args.wipe.clone(),
        skip: args.skip.clone(),
        no_reboot: args.no_reboot,
        medium: args.medium.clone(),
        yes: global.yes,
        typed_arguments: String::new(),
        resume: if args.resume { Resume::Must } else { Resume::No },
    };
    if args.console {
        return Ok(run_attended(&options));
    }
    let mut screen = if args.unattended { MachineScreen::with_consoles() } else { MachineScreen::stdout() };
    Ok(run_install(&options, &mut screen, &mut ask))
}

/// Anything but `y` or `yes` is a no, and so is an input that ends.
fn ask(question: &str) -> bool {
    let mut answer = String::new();
    let asked =
        std::io::stdout().lock().write_all(question.as_bytes()).and_then(|()| std::io::stdout().flush());
    asked.is_ok()
        && std::io::stdin().lock().read_line(&mut answer).is_ok()
        && matches!(answer.trim(), "y" | "Y" | "yes")
}

//! `metalstrap settle`: called by a unit of the installed system at each boot, before the health agent.

use crate::exit::{ExitCode, ExitWith, Failure};
use crate::settle::{Settled, settle};
use std::path::Path;

/// Removes a left-over unfinished mark and says what it found.
///
/// # Errors
/// With exit code 6 when the install record or the partition cannot be read or written.
pub fn run() -> Result<ExitCode, Failure> {
    let found = settle(Path::new("/")).exit_with(ExitCode::Io)?;
    let text: &[u8] = match found {
        Settled::Clean => b"no unfinished mark on the disk\n",
        Settled::Removed => b"removed the unfinished mark that a power cut had left\n",
        Settled::Foreign => b"the disk carries the unfinished mark of another install; left alone\n",
    };
    super::print_bytes(text)?;
    Ok(ExitCode::Ok)
}

//! `metalstrap completion SHELL`

use super::{Cli, Global};
use crate::exit::{ExitCode, Failure};
use clap::CommandFactory;
use clap_complete::Shell;

/// Arguments of `metalstrap completion`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The shell whose completion script is printed.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the completion script.
///
/// # Errors
/// None today; the signature is that of every command.
pub fn run(args: &Args, _global: &Global) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "metalstrap", &mut script);
    super::print_bytes(&script)?;
    Ok(ExitCode::Ok)
}

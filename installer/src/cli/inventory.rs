//! `metalstrap inventory`

use super::{Global, OutputFormat, print_bytes, print_json};
use crate::exit::{ExitCode, ExitWith, Failure};
use crate::inventory::{Inventory, collect, read_inventory, render_inventory};
use std::path::{Path, PathBuf};
use sysio::sysfs::SysRoot;

/// Arguments of `metalstrap inventory`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Show a saved inventory instead of this machine.
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
}

/// Prints what this machine is made of. Writes nothing.
///
/// # Errors
/// When the machine cannot be looked at, or the saved inventory cannot be read.
pub fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let inventory = read_or_collect(args.inventory.as_deref())?;
    match global.output {
        OutputFormat::Json => print_json(&inventory)?,
        OutputFormat::Table => print_bytes(render_inventory(&inventory).as_bytes())?,
    }
    Ok(ExitCode::Ok)
}

/// A saved inventory, or this machine's.
///
/// # Errors
/// When the file cannot be read or understood (exit code 2), or the machine cannot be looked at (exit code 4).
pub fn read_or_collect(file: Option<&Path>) -> Result<Inventory, Failure> {
    match file {
        Some(path) => read_inventory(path).exit_with(ExitCode::InvalidInput),
        None => collect(&SysRoot::default()).exit_with(ExitCode::Environment),
    }
}

//! Developer commands: `cargo xtask setup | pins | image | medium | …`.
//!
//! Role: glue that a person or CI calls. Every command is one module with one `run`; this file only dispatches.
//! What does not belong here: anything that runs on a node.

#[allow(dead_code, reason = "codes and folders of the commands that follow")]
mod failure;
#[allow(dead_code, reason = "codes and folders of the commands that follow")]
mod host;
mod setup;

use clap::{Parser, Subcommand};
use failure::CommandResult;

/// Builds, tests and shows metalstrap.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install by apt what builds and tests need; quick when all of it is there.
    Setup,
}

fn dispatch(command: &Command) -> CommandResult {
    setup::run()?;
    match command {
        Command::Setup => Ok(()),
    }
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    // An error here means a provider is installed already, which serves as well.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    failure::report(dispatch(&cli.command))
}

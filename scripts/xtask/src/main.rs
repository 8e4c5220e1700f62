//! Developer commands: `cargo xtask setup | pins | image | medium | …`.
//!
//! Role: glue that a person or CI calls. Every command is one module with one `run`; this file only dispatches.
//! What does not belong here: anything that runs on a node.

mod artefacts;
mod failure;
mod host;
mod image;
mod pins;
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
    /// Build the root image, the ISO and the PXE folder, as far as an input has changed.
    Image(image::ImageArgs),
    /// Copy the ISO and put a cluster file on its config volume.
    Medium(image::medium::MediumArgs),
    /// Fill or check images/pins.toml.
    Pins(pins::PinsArgs),
}

fn dispatch(command: &Command) -> CommandResult {
    setup::run()?;
    match command {
        Command::Setup => Ok(()),
        Command::Image(args) => image::run(args),
        Command::Medium(args) => image::medium::run(args),
        Command::Pins(args) => pins::run(args),
    }
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    // An error here means a provider is installed already, which serves as well.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    failure::report(dispatch(&cli.command))
}

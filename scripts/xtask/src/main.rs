//! Developer commands: `cargo xtask setup | pins | image | medium | …`.
//!
//! Role: glue that a person or CI calls. Every command is one module with one `run`; this file only dispatches.
//! What does not belong here: anything that runs on a node.

mod artefacts;
mod bench;
mod demo;
mod failure;
mod host;
mod image;
mod machines;
mod pins;
mod setup;
mod test;

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
    /// Boot a bare virtual machine, install it unattended, and show its health report.
    Demo(demo::Args),
    /// Run every test and print a summary; its last line is `N passed, N failed`.
    Test(test::Args),
    /// Measure sizes and durations, beside what the project aims at.
    Bench(bench::Args),
    /// Serve one HTTP request on standard input and output: what a virtual machine calls.
    #[command(name = machines::SERVE_FOLDER, hide = true)]
    ServeFolder {
        /// Folders; the first that has the file wins.
        folders: Vec<std::path::PathBuf>,
    },
}

fn dispatch(command: &Command) -> CommandResult {
    match command {
        Command::ServeFolder { folders } => return machines::serve_folder(folders), // for each connection of a guest: no time for setup
        Command::Test(args) => return test::run(args),                              // setup is its first step
        _ => setup::run()?,
    }
    match command {
        Command::Setup | Command::ServeFolder { .. } | Command::Test(_) => Ok(()),
        Command::Image(args) => image::run(args),
        Command::Medium(args) => image::medium::run(args),
        Command::Pins(args) => pins::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Bench(args) => bench::run(args),
    }
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    // An error here means a provider is installed already, which serves as well.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    failure::report(dispatch(&cli.command))
}

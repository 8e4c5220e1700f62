//! The command line. One module per command: `Args` (clap) and `run(&Args, &Global) -> Result<ExitCode, Failure>`.
//!
//! To add a command: one `pub mod` line, one variant of [`Command`], one line in [`dispatch`].

use crate::codes::advise;
use crate::config_source::read_kernel_args;
use crate::exit::{ExitCode, ExitWith, Failure};
use crate::inventory::escape_json;
use crate::refusal::Refusal;
use clap::{Parser, Subcommand, ValueEnum};
use std::io::{IsTerminal, Write};
use sysio::sysfs::SysRoot;

pub mod apply;
pub mod check;
pub mod cluster;
pub mod completion;
pub mod disks;
pub mod early_network;
pub mod firewall;
pub mod init;
pub mod install;
pub mod inventory;
pub mod live;
pub mod plan;
pub mod settle;
pub mod status;
pub mod support;

/// Turns bare machines into nodes of a highly available k3s cluster on Debian 12.
#[derive(Debug, Parser)]
#[command(name = "metalstrap", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Shown under `--help`; a test holds it against [`ExitCode`].
const EXIT_CODES: &str = "Exit codes: 0 ok, 1 unknown, 2 invalid input, 3 unsupported hardware, 4 environment or preflight, \
                          5 download or dependency, 6 I/O, 7 failed after the disk was touched";

/// Options that every command takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// How results are printed on standard output.
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    /// Answer yes to every question.
    #[arg(long, global = true)]
    pub yes: bool,
}

/// Form of the results on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Table,
    /// For programs: one JSON document.
    Json,
}

/// One variant per command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented cluster file and new secrets to start from.
    Init(init::Args),
    /// Show everything that is wrong with a cluster file or, with --live, with this machine.
    Check(check::Args),
    /// Show what this machine is made of.
    Inventory(inventory::Args),
    /// Show every disk, and why it would or would not be taken.
    Disks(disks::Args),
    /// Show everything an install would do, without root and without writing.
    Plan(plan::Args),
    /// Install this machine.
    Install(install::Args),
    /// Bring a changed cluster file to this installed node, on trial if wanted.
    Apply(apply::Args),
    /// Write the network of the kernel arguments for systemd-networkd; the live system does it early in its boot.
    #[command(hide = true)]
    EarlyNetwork,
    /// Remove what a power cut at the very end of an install has left; the installed system does it at each boot.
    #[command(hide = true)]
    Settle,
    /// Ask a health agent how its node is.
    #[command(visible_alias = "health")]
    Status(status::Args),
    /// Collect everything that explains this machine, without its secrets.
    Support(support::Args),
    /// Show, explain, compare and load the firewall of a node.
    Firewall(firewall::Args),
    /// Print the completion script of a shell.
    Completion(completion::Args),
}

/// Runs the chosen command. One line per command.
fn dispatch(cli: &Cli) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    match &cli.command {
        Command::Init(args) => init::run(args, global),
        Command::Check(args) => check::run(args, global),
        Command::Inventory(args) => inventory::run(args, global),
        Command::Disks(args) => disks::run(args, global),
        Command::Plan(args) => plan::run(args, global),
        Command::Install(args) => install::run(args, global),
        Command::Apply(args) => apply::run(args, global),
        Command::EarlyNetwork => early_network::run(),
        Command::Settle => settle::run(),
        Command::Status(args) => status::run(args, global),
        Command::Support(args) => support::run(args, global),
        Command::Firewall(args) => firewall::run(args, global),
        Command::Completion(args) => completion::run(args, global),
    }
}

/// Parses the arguments, runs the command, and prints an error once, with its whole chain.
pub fn run<I, T>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    start_logging();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no error; a closed pipe there is nobody's loss.
            let exit = if error.use_stderr() { ExitCode::InvalidInput } else { ExitCode::Ok };
            return error.print().map_or(ExitCode::Io, |()| exit);
        }
    };
    match dispatch(&cli) {
        Ok(exit) => exit,
        Err(failure) => {
            print_failure(&failure);
            failure.exit
        }
    }
}

/// Prints a result on standard output; a reader that went away is not an error.
///
/// # Errors
/// When standard output cannot be written for another reason.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(ExitCode::Io, anyhow::Error::new(error).context("writing standard output")))
        }
        _ => Ok(()),
    }
}

/// Prints a value as one JSON document, indented, with a newline at the end.
///
/// # Errors
/// As [`print_bytes`].
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).exit_with(ExitCode::Unknown)?;
    print_bytes(format!("{}\n", escape_json(&text)).as_bytes())
}

/// Logs go to standard error, from `warn` on; `METALSTRAP_LOG` takes a filter such as `debug` or `sysio=debug`, and the kernel
/// argument `metalstrap.debug` means `debug`.
fn start_logging() {
    let debug = read_kernel_args(&SysRoot::default()).is_ok_and(|args| args.debug);
    let level = if debug { tracing::Level::DEBUG } else { tracing::Level::WARN };
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var("METALSTRAP_LOG")
        .with_default_directive(level.into())
        .from_env_lossy();
    let logging = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .try_init();
    // A second run in one process, as in tests, finds the first one's logging: good enough.
    drop(logging);
}

/// The one place where an error is shown. A refusal comes with its probable cause and the next action.
fn print_failure(failure: &Failure) {
    eprintln!("metalstrap: {:#}", failure.error);
    if let Some(refusal) = failure.error.downcast_ref::<Refusal>() {
        let advice = advise(refusal.code, &refusal.message);
        eprintln!("probable cause: {}\nnext: {}", advice.cause, advice.action);
    }
}

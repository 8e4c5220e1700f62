//! TEST ONLY: a stand-in with the command line, the files and the endpoints of k3s v1.28.
//!
//! Never in a release image. What it emulates, and what not, is the table in `README.md`; where k3s' behaviour is
//! not in our reference it is not emulated. Data in: `/etc/rancher/k3s/config.yaml`; data out: what k3s would leave
//! on the machine and answer on its ports.

// Test code: it stands for a foreign program and uses none of our system layer, so that a fault there is found.
#![allow(clippy::disallowed_methods)]

mod agent;
mod api;
mod artifacts;
mod bootstrap;
mod client;
mod config;
mod files;
mod images;
mod kubectl;
mod kubelet;
mod kubevip;
mod members;
mod netif;
mod node;
mod pki;
mod serve;
mod server;
mod store;
mod token;

use anyhow::{Context, Result, bail};
use files::Paths;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Printed at every start, to standard error and to the console.
const BANNER: &str = "K3S DOUBLE: not Kubernetes, for tests only";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let called_as =
        args.first().and_then(|a| Path::new(a).file_name()).and_then(|n| n.to_str()).unwrap_or("k3s");
    let rest = args.get(1..).unwrap_or_default();
    let result = match called_as {
        "kubectl" => kubectl::run(rest),
        "crictl" => images::crictl(rest),
        "ctr" => images::ctr(rest),
        _ => dispatch(rest),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("k3s-double: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let rest = args.get(1..).unwrap_or_default();
    match args.first().map(String::as_str) {
        Some("server") => start(config::Role::Server, rest),
        Some("agent") => start(config::Role::Agent, rest),
        Some("kubectl") => kubectl::run(rest),
        Some("crictl") => images::crictl(rest),
        Some("ctr") => images::ctr(rest),
        Some("token") => token::command(rest),
        Some(kubevip::SUBCOMMAND) => kubevip::run(),
        Some("make-artifacts") => match rest {
            [dir] => artifacts::make(&PathBuf::from(dir)),
            _ => bail!("usage: k3s-double make-artifacts DIR"),
        },
        Some("--version" | "-v") => {
            println!("k3s version v1.28.9+k3s1 (double)\ngo version none (k3s double, written in Rust)");
            Ok(())
        }
        Some(other) => bail!("command {other:?} is not emulated by the k3s double"),
        None => bail!("usage: k3s server|agent|kubectl|crictl|ctr|token|--version"),
    }
}

fn start(role: config::Role, args: &[String]) -> Result<()> {
    banner();
    let paths = Paths::from_env();
    let settings = match config::read(role, args, &paths) {
        Ok(settings) => settings,
        Err(problems) => {
            for problem in &problems {
                eprintln!("k3s-double: refused: {problem}");
            }
            bail!("{} problem(s) in the configuration of k3s {role}", problems.len());
        }
    };
    let runtime = tokio::runtime::Runtime::new().context("starting the async runtime")?;
    let result = runtime.block_on(async {
        match role {
            config::Role::Server => server::run(settings).await,
            config::Role::Agent => agent::run(settings).await,
        }
    });
    runtime.shutdown_background();
    result
}

/// Says loudly what runs here. The console is written only on a real machine, never from a test under a root prefix.
fn banner() {
    eprintln!("{BANNER}");
    if std::env::var_os(files::ROOT_VARIABLE).is_some() {
        return;
    }
    if let Ok(mut console) = std::fs::OpenOptions::new().write(true).open("/dev/console") {
        use std::io::Write;
        // No console in a container: the line on standard error is then the only one.
        writeln!(console, "{BANNER}").unwrap_or_default();
    }
}

/// A line of the log of the double.
pub(crate) fn log(message: impl std::fmt::Display) {
    eprintln!("k3s-double: {message}");
}

//! The health agent of a node. Reads `/etc/metalstrap/node.json`, looks, judges, and serves what it found.

use agent::context::Endpoints;
use agent::facts;
use agent::run::{Options, run};
use anyhow::Context;
use clap::Parser;
use report::{AGENT_PORT, AGENT_SOCKET};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use sysio::units::Bus;

/// The health agent of a metalstrap node. Started by systemd; asked with `metalstrap status`.
#[derive(Debug, Parser)]
#[command(name = "metalstrap-agent", version)]
struct Arguments {
    /// Folder that stands for `/`, for tests.
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// Unix socket to serve on.
    #[arg(long, default_value = AGENT_SOCKET)]
    socket: PathBuf,
    /// TCP address to serve on; may be repeated. Default: port 9940 of loopback and of the node's cluster address.
    #[arg(long)]
    listen: Vec<SocketAddr>,
    /// Socket of a systemd (or a fake) that speaks D-Bus without a bus between, for tests.
    #[arg(long)]
    systemd_socket: Option<PathBuf>,
}

fn main() -> ExitCode {
    agent::http::install_tls_provider();
    let arguments = Arguments::parse();
    let debug = std::fs::read_to_string(arguments.root.join("proc/cmdline"))
        .is_ok_and(|cmdline| sysio::kernel_line::is_on(&cmdline, "metalstrap.debug"));
    let level = if debug { tracing::Level::DEBUG } else { tracing::Level::INFO };
    // journald adds the time; colours are noise there.
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .init();
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the health agent ends");
            ExitCode::from(4)
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    let listen = if arguments.listen.is_empty() {
        let node = facts::read_node(&arguments.root)?;
        let cluster = node.cluster_interface().into_iter().flat_map(|interface| interface.addresses());
        let addresses = std::iter::once(IpAddr::from(Ipv4Addr::LOCALHOST)).chain(cluster);
        addresses.map(|address| SocketAddr::new(address, AGENT_PORT)).collect()
    } else {
        arguments.listen
    };
    let options = Options {
        root: arguments.root,
        socket: arguments.socket,
        listen,
        bus: arguments.systemd_socket.map_or(Bus::System, Bus::Peer),
        endpoints: Endpoints::default(),
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let outcome = runtime.block_on(run(options));
    // A look that hangs in the kernel must not hold up the end.
    runtime.shutdown_background();
    outcome
}

//! `metalstrap firewall …`: what the firewall lets pass and why, whether the kernel has it, and changing it safely.

mod change;
mod look;

use super::Global;
use super::cluster::read_cluster;
use crate::exit::{ExitCode, ExitWith, Failure};
use crate::firewall::{Model, NodeKind};
use anyhow::Context as _;
use clap::Subcommand;
use profiles::node::NodeConfig;
use std::path::PathBuf;
use sysio::files::read_text;

/// The node config of an installed node.
const NODE_CONFIG: &str = "/etc/metalstrap/node.json";

/// A node config of a cluster of 300 nodes has about a tenth of it.
const NODE_CONFIG_MAX_BYTES: u64 = 1024 * 1024;

/// Arguments of `metalstrap firewall`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with the firewall.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show what may pass: every flow with its reason, or the rules themselves.
    Show(ShowArgs),
    /// Say whether somebody may reach something, by which flow and why.
    Explain(ExplainArgs),
    /// Compare the kernel's table with the one this node should have.
    Diff(NodeArgs),
    /// Load the rules this node should have, in one transaction.
    Apply(ApplyArgs),
    /// Keep the rules that are on trial.
    Confirm,
    /// Go back to the rules before the trial.
    Revert(RevertArgs),
    /// Note what is loaded, for the health agent; called after the rules were loaded at boot.
    #[command(hide = true)]
    Seal,
}

/// Which node: this one, or one of a cluster file.
#[derive(Clone, Debug, clap::Args)]
pub struct NodeArgs {
    /// The cluster file; without it, this node's own config.
    #[arg(long, value_name = "FILE")]
    pub cluster: Option<PathBuf>,
    /// The node of the cluster file; without it, all of them where that makes sense.
    #[arg(long, value_name = "HOSTNAME", requires = "cluster")]
    pub node: Option<String>,
    /// The node config to use without a cluster file.
    #[arg(long, value_name = "FILE", default_value = NODE_CONFIG, conflicts_with = "cluster")]
    pub node_config: PathBuf,
}

/// Arguments of `metalstrap firewall show`.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    /// Which node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// The rules as nftables reads them, instead of the flows.
    #[arg(long)]
    pub rules: bool,
}

/// Arguments of `metalstrap firewall explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArgs {
    /// `tcp/PORT`, `udp/PORT`, `ping` or `vrrp`.
    pub what: String,
    /// `from WHO`, and if wanted `to WHOM`: zones, roles, host names; WHO may be an address too.
    #[arg(required = true, num_args = 2..=4, value_names = ["from", "WHO", "to", "WHOM"])]
    pub words: Vec<String>,
    /// Ask over IPv6 for a zone, role or node; an address has its own family.
    #[arg(long)]
    pub ipv6: bool,
    /// Which node.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Arguments of `metalstrap firewall apply`.
#[derive(Clone, Debug, clap::Args)]
pub struct ApplyArgs {
    /// The node config to make the rules from.
    #[arg(long, value_name = "FILE", default_value = NODE_CONFIG)]
    pub node_config: PathBuf,
    /// Go back by itself after so many seconds, unless `metalstrap firewall confirm` comes first.
    #[arg(long = "try", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub trial: Option<u64>,
}

/// Arguments of `metalstrap firewall revert`.
#[derive(Clone, Debug, clap::Args)]
pub struct RevertArgs {
    /// Wait so many seconds first; for the watcher of a trial.
    #[arg(long, value_name = "SECONDS", hide = true)]
    pub after: Option<u64>,
    /// Only this very trial; for the watcher of a trial.
    #[arg(long, value_name = "ID", hide = true)]
    pub trial: Option<String>,
}

/// Runs the chosen part.
///
/// # Errors
/// Exit code 2: an input is wrong; 4: not root, or nft does not take the rules; 6: a file cannot be written.
pub fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Show(args) => look::show(args, global),
        Command::Explain(args) => look::explain(args, global),
        Command::Diff(args) => look::diff(args, global),
        Command::Apply(args) => change::apply(args),
        Command::Confirm => change::confirm(),
        Command::Revert(args) => change::revert(args),
        Command::Seal => change::seal(),
    }
}

/// A node with the model of its firewall.
struct Node {
    config: NodeConfig,
    model: Model,
}

impl Node {
    fn of(config: NodeConfig) -> Result<Self, Failure> {
        let model = Model::of(&config).exit_with(ExitCode::InvalidInput)?;
        Ok(Self { config, model })
    }

    fn kind(&self) -> NodeKind {
        self.model.kind
    }
}

/// The nodes that are meant; at least one.
fn read_nodes(args: &NodeArgs) -> Result<Vec<Node>, Failure> {
    let Some(file) = &args.cluster else { return Ok(vec![Node::of(read_node_config(&args.node_config)?)?]) };
    let (cluster, _warnings) = read_cluster(file, None)?;
    let names: Vec<String> = match &args.node {
        Some(name) => vec![name.clone()],
        None => cluster.node_names().map(str::to_owned).collect(),
    };
    let resolve = |name: &String| Node::of(cluster.resolve(name).exit_with(ExitCode::InvalidInput)?);
    names.iter().map(resolve).collect()
}

fn read_node_config(path: &std::path::Path) -> Result<NodeConfig, Failure> {
    let text = read_text(path, NODE_CONFIG_MAX_BYTES).exit_with(ExitCode::InvalidInput)?;
    serde_json::from_str(&text)
        .with_context(|| format!("parsing {}", path.display()))
        .exit_with(ExitCode::InvalidInput)
}

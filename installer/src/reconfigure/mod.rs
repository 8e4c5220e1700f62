//! `metalstrap apply`: a changed cluster file on an installed node. The same renderers as the install; what differs is written,
//! and only what reads it is told.
//!
//! changed file → node config → what cannot change? → rendered → compared with the node → journal → files → units told.
//! The journal makes a power cut leave the old files or the new ones (see [`journal`]).

pub mod action;
pub mod change;
mod fixed;
pub mod journal;
mod run;
#[cfg(test)]
mod tests;

pub use action::Action;
pub use change::{Change, Kind};
pub use run::{Effects, begin, confirm, recover, revert};

use crate::exit::ExitCode;
use crate::record::{RECORD_MAX_BYTES, RECORD_NODE_PATH, parse_record};
use crate::refusal::Refusal;
use crate::render::{DataMount, RenderContext, RenderedNode, render_node};
use profiles::Cluster;
use profiles::node::{NodeConfig, NodeSecrets, RoleConfig};
use profiles::secret::Secret;
use std::collections::BTreeSet;
use std::path::Path;
use sysio::files::{FileError, read_text};
use sysio::sysfs::SysRoot;

/// The node config of an installed node.
pub const NODE_CONFIG: &str = "/etc/metalstrap/node.json";
/// Where k3s reads its settings.
const K3S_CONFIG: &str = "/etc/rancher/k3s/config.yaml";
const SERVER_TOKEN: &str = "/etc/rancher/k3s/server-token";
const AGENT_TOKEN: &str = "/etc/rancher/k3s/agent-token";
/// No file of ours is longer.
pub(crate) const FILE_MAX_BYTES: u64 = 1 << 20;

/// What an apply would do.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Host name of this node.
    pub hostname: String,
    /// Files and links that differ, by path.
    pub changes: Vec<Change>,
    /// Who is told.
    pub actions: BTreeSet<Action>,
    /// The packet filter rules, when they change: they are checked before anything is written.
    pub rules: Option<String>,
}

impl Prepared {
    /// Who is told when it is carried out, in this order. [`Prepared::actions`] has more: what going back needs.
    pub fn told(&self) -> BTreeSet<Action> {
        action::directed(&self.actions, journal::Direction::Forward)
    }
}

/// Compares what a cluster file makes of this node with what the node has.
///
/// # Errors
/// `E_NOT_INSTALLED`, `E_APPLY_NODE`, `E_APPLY_FIXED` with every setting that cannot change, `E_RENDER`, `E_APPLY_IO`.
pub fn prepare(root: &SysRoot, cluster: &Cluster) -> Result<Prepared, Refusal> {
    let current = read_node(root)?;
    let hostname = current.hostname.clone();
    if !cluster.node_names().any(|name| name == hostname) {
        let message = format!(
            "the cluster file has no node {hostname}, and the host name of an installed node cannot change"
        );
        let names = cluster.node_names().map(str::to_owned);
        return Err(Refusal::new("E_APPLY_NODE", ExitCode::InvalidInput, message).with_details(names));
    }
    let wanted = cluster
        .resolve(&hostname)
        .map_err(|error| Refusal::new("E_NODE_RESOLVE", ExitCode::InvalidInput, error.to_string()))?;
    fixed::ensure_unchanged(&current, &wanted)?;
    let secrets = read_secrets(root)?;
    let context = RenderContext {
        chosen_macs: current.interfaces.iter().filter_map(|i| Some((i.name.clone(), i.mac?))).collect(),
        data_mounts: data_mounts(root, &current)?,
        cluster_exists: joined(root, &current)?,
        ..RenderContext::default()
    };
    let render = |node: &NodeConfig| -> Result<RenderedNode, Refusal> {
        render_node(node, &secrets, &context)
            .map_err(|error| Refusal::new("E_RENDER", ExitCode::InvalidInput, error.to_string()))
    };
    let (before, after) = (render(&current)?, render(&wanted)?);
    let changes = change::compare(root, &before, &after).map_err(io_refusal)?;
    let mut actions: BTreeSet<Action> =
        changes.iter().flat_map(|change| action::of_path(&change.path, &wanted)).collect();
    actions.extend(action::of_units(root, &before, &after).map_err(io_refusal)?);
    let rules = changes.iter().find(|change| change.path == crate::render::firewall::RULES);
    let rules = rules.and_then(|change| change.after.text());
    Ok(Prepared { hostname, actions, rules, changes })
}

fn read_node(root: &SysRoot) -> Result<NodeConfig, Refusal> {
    let text = read_text(&root.path(NODE_CONFIG), FILE_MAX_BYTES).map_err(|error| {
        let message = format!("this is no installed node: {:#}", anyhow::Error::new(error));
        Refusal::new("E_NOT_INSTALLED", ExitCode::Environment, message)
    })?;
    serde_json::from_str(&text).map_err(|error| {
        Refusal::new(
            "E_NOT_INSTALLED",
            ExitCode::Environment,
            format!("{NODE_CONFIG} cannot be read: {error}"),
        )
    })
}

/// The tokens stay what they are: a running cluster knows no others.
fn read_secrets(root: &SysRoot) -> Result<NodeSecrets, Refusal> {
    let read = |path: &str| -> Result<Option<Secret>, Refusal> {
        let file = root.path(path);
        if !file.exists() {
            return Ok(None);
        }
        let text = read_text(&file, FILE_MAX_BYTES).map_err(io_refusal)?;
        Ok(Some(Secret::new(text.trim_end())))
    };
    // The password of the node is k3s' own file by now.
    Ok(NodeSecrets {
        server_token: read(SERVER_TOKEN)?,
        agent_token: read(AGENT_TOKEN)?,
        ..NodeSecrets::default()
    })
}

/// Where the data disks are, of which the node config knows the wish only: the install record names the partitions.
fn data_mounts(root: &SysRoot, node: &NodeConfig) -> Result<Vec<DataMount>, Refusal> {
    if node.data_disks.is_empty() {
        return Ok(Vec::new());
    }
    let refuse = |why: String| {
        let message = format!("the data disks of this node are not known: {RECORD_NODE_PATH}: {why}");
        Refusal::new("E_NOT_INSTALLED", ExitCode::Environment, message)
    };
    let text = read_text(&root.path(RECORD_NODE_PATH), RECORD_MAX_BYTES)
        .map_err(|error| refuse(format!("{:#}", anyhow::Error::new(error))))?;
    let record = parse_record(&text).map_err(|error| refuse(format!("{:#}", anyhow::Error::new(error))))?;
    let mounts: Vec<DataMount> = record.data_disks.iter().map(DataMount::from).collect();
    let missing = node.data_disks.iter().find(|disk| mounts.iter().all(|mount| mount.mount != disk.mount));
    match missing {
        Some(disk) => Err(refuse(format!("it says nothing of {}", disk.mount))),
        None => Ok(mounts),
    }
}

/// True when the first master has joined a cluster that was there: its k3s configuration does not form one.
fn joined(root: &SysRoot, node: &NodeConfig) -> Result<bool, Refusal> {
    let path = root.path(K3S_CONFIG);
    if node.role != (RoleConfig::Master { forms_cluster: true }) || !path.exists() {
        return Ok(false);
    }
    let text = read_text(&path, FILE_MAX_BYTES).map_err(io_refusal)?;
    Ok(!text.lines().any(|line| line.trim_start().starts_with("cluster-init")))
}

/// A file that cannot be read or written.
pub(crate) fn io_refusal(error: FileError) -> Refusal {
    Refusal::new("E_APPLY_IO", ExitCode::Io, format!("{:#}", anyhow::Error::new(error)))
}

/// The folder of a path; `/` for one without.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

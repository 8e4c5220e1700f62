//! The validated cluster: made by [`load`] only, so having one means every rule holds.

pub mod data_disk;
pub mod disk_table;
pub mod file;
pub mod interface;
mod legs;
mod resolve;
mod rules;
pub(crate) mod secrets;
mod stack;

pub use file::ClusterFileV1;
pub use resolve::ResolveError;

use crate::check::{self, Checked};
use crate::diagnostic::{Diagnostic, has_errors};
use crate::document::{DIAGNOSTICS_MAX, Document};
use crate::node::{ClusterFacts, Identity, NodeSecrets, Role};
use crate::path::KeyPath;
use file::{NodeEntry, SecretsTable};
use rules::View;

/// A validated cluster with its secrets. Constructed by [`load`] only.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The file, without the secrets.
    file: ClusterFileV1,
    /// Secrets of both files.
    secrets: SecretsTable,
}

/// What came out of reading a cluster file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The cluster; `None` when there is at least one error.
    pub cluster: Option<Cluster>,
    /// Everything that was found, by file and position. Warnings can be here although there is a cluster.
    pub diagnostics: Vec<Diagnostic>,
}

/// One node of the file and how a machine is recognised as it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Host name.
    pub hostname: String,
    /// Role.
    pub role: Role,
    /// How the machine is recognised.
    pub identity: Identity,
}

/// Parses and validates a cluster file, with the secrets file beside it if there is one (name, contents).
///
/// Reports *all* problems at once. Never panics, whatever the bytes are. The names are used in diagnostics only.
pub fn load(file_name: &str, bytes: &[u8], secrets: Option<(&str, &[u8])>) -> Loaded {
    let mut diagnostics = Vec::new();
    let beside = secrets.and_then(|(name, bytes)| secrets::parse(name, bytes, &mut diagnostics));
    let file = load_file(file_name, bytes, beside.as_ref(), &mut diagnostics);
    diagnostics.sort();
    diagnostics.dedup();
    let cluster = match file {
        Some(mut file) if !has_errors(&diagnostics) => {
            let mut all = std::mem::take(&mut file.secrets);
            if let Some(beside) = beside {
                all = secrets::merged(all, beside.table);
            }
            Some(Cluster { file, secrets: all })
        }
        _ => None,
    };
    Loaded { cluster, diagnostics }
}

/// The typed cluster file, if its structure allows one; rules run as far as possible in any case.
fn load_file(
    name: &str,
    bytes: &[u8],
    beside: Option<&secrets::Beside<'_>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<ClusterFileV1> {
    let text = crate::text::parse_text(name, bytes, diagnostics)?;
    let document = Document::parse(name, text, diagnostics)?;
    if !check::version_is_1(&document, diagnostics) {
        return None;
    }
    let schema = crate::reference::cluster_schema();
    let checked = check::structure(&document, schema, diagnostics);
    if checked.too_many {
        return None;
    }
    let view = View::new(&document, &checked);
    rules::validate(&view, beside, diagnostics);
    if diagnostics.len() > DIAGNOSTICS_MAX {
        diagnostics.truncate(DIAGNOSTICS_MAX);
        diagnostics.push(document.too_many());
    }
    typed(&document, &checked, diagnostics)
}

/// The whole file as its type; `None` when the structure has an error.
fn typed(
    document: &Document<'_>,
    checked: &Checked,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<ClusterFileV1> {
    if !checked.is_clean() {
        return None;
    }
    match serde_json::from_value(checked.value.clone()) {
        Ok(file) => Some(file),
        Err(error) => {
            diagnostics.push(document.internal(&KeyPath::root(), &error));
            None
        }
    }
}

impl Cluster {
    /// Name of the cluster.
    pub fn name(&self) -> &str {
        &self.file.cluster.name
    }

    /// Facts common to all nodes.
    ///
    /// # Errors
    /// When a shipped profile is broken: a bug of this program.
    pub fn facts(&self) -> Result<ClusterFacts, ResolveError> {
        resolve::facts(&self.file)
    }

    /// Host names of all nodes, in the order of the file.
    pub fn node_names(&self) -> impl Iterator<Item = &str> {
        self.file.nodes.iter().map(|node| node.hostname.as_str())
    }

    /// Preflight checks that are left out, by id.
    pub fn skipped_checks(&self) -> &[String] {
        &self.file.preflight.skip
    }

    /// How machines are recognised, in the order of the file.
    pub fn identities(&self) -> Vec<NodeIdentity> {
        let identity = |node: &NodeEntry| NodeIdentity {
            hostname: node.hostname.clone(),
            role: node.role,
            identity: resolve::identity(node),
        };
        self.file.nodes.iter().map(identity).collect()
    }

    /// Everything one machine needs to know: defaults ← shipped profile ← `[profiles.…]` ← node entry.
    ///
    /// # Errors
    /// When the cluster has no such node.
    pub fn resolve(&self, hostname: &str) -> Result<crate::node::NodeConfig, ResolveError> {
        resolve::resolve(&self.file, hostname)
    }

    /// The secrets this node may hold: a master both tokens, a worker the agent token only, a proxy none.
    ///
    /// # Errors
    /// When the cluster has no such node.
    pub fn secrets_for(&self, hostname: &str) -> Result<NodeSecrets, ResolveError> {
        let node = resolve::find(&self.file, hostname)?;
        Ok(match node.role {
            Role::Master => NodeSecrets {
                server_token: self.secrets.server_token.clone(),
                agent_token: self.secrets.agent_token.clone(),
                ..NodeSecrets::default()
            },
            Role::Worker => {
                NodeSecrets { agent_token: self.secrets.agent_token.clone(), ..NodeSecrets::default() }
            }
            Role::Proxy => NodeSecrets::default(),
        })
    }
}

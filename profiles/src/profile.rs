//! Profiles: what a role needs. Shipped as TOML in `profiles/`, changed by `[profiles.…]` of the cluster file.
//!
//! Laying one profile over another: a value replaces, a table is merged key by key, `kernel_modules` are added,
//! `kubelet_args` replace the argument of the same name, `taints` and `disable` replace the whole list.

use crate::check;
use crate::cluster::file::labels_schema;
use crate::diagnostic::Diagnostic;
use crate::document::Document;
use crate::format;
use crate::node::Role;
use crate::path::KeyPath;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a role needs, or a change to it. Every key may be left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileV1 {
    /// Least usable memory (`MemTotal`, which is less than the nominal size) in MiB.
    #[serde(default)]
    #[schemars(range(min = 256, max = 16_777_216))]
    pub memory_min_mib: Option<u64>,
    /// Least size of the disk in MiB.
    #[serde(default)]
    #[schemars(range(min = 4608, max = 1_073_741_824))]
    pub disk_min_mib: Option<u64>,
    /// Kernel modules loaded at boot; added to those of the shipped profile.
    #[serde(default)]
    #[schemars(schema_with = "format::kernel_module_list")]
    pub kernel_modules: Vec<String>,
    /// Kernel parameters; merged key by key. Example: `{ "vm.max_map_count" = "262144" }`.
    #[serde(default)]
    #[schemars(schema_with = "sysctls_schema")]
    pub sysctls: BTreeMap<String, String>,
    /// Node labels; merged key by key. Not for proxies.
    #[serde(default)]
    #[schemars(schema_with = "labels_schema")]
    pub labels: BTreeMap<String, String>,
    /// Taints; the list replaces that of the shipped profile. Not for proxies.
    #[serde(default)]
    #[schemars(schema_with = "format::taint_list")]
    pub taints: Option<Vec<String>>,
    /// Arguments of the kubelet as `name=value`; each replaces the one of the same name. Not for proxies.
    #[serde(default)]
    #[schemars(schema_with = "format::kubelet_arg_list")]
    pub kubelet_args: Vec<String>,
    /// Components of k3s that are not deployed; the list replaces that of the shipped profile. Masters only.
    #[serde(default)]
    #[schemars(schema_with = "disable_schema")]
    pub disable: Option<Vec<String>>,
    /// Encrypt Kubernetes secrets in etcd; cannot be changed once the cluster exists. Masters only.
    #[serde(default)]
    pub secrets_encryption: Option<bool>,
    /// Number of etcd snapshots kept. Masters only.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub etcd_snapshot_retention: Option<u16>,
    /// NodePort of the ingress for HTTP on every worker. Proxies only.
    #[serde(default)]
    #[schemars(range(min = 30000, max = 32767))]
    pub ingress_http_node_port: Option<u16>,
    /// NodePort of the ingress for HTTPS on every worker. Proxies only.
    #[serde(default)]
    #[schemars(range(min = 30000, max = 32767))]
    pub ingress_https_node_port: Option<u16>,
}

impl ProfileV1 {
    /// This profile with the changes of another laid over it (rules in the module's text).
    #[must_use]
    pub fn overlaid_with(mut self, change: &Self) -> Self {
        replace(&mut self.memory_min_mib, change.memory_min_mib);
        replace(&mut self.disk_min_mib, change.disk_min_mib);
        replace(&mut self.taints, change.taints.clone());
        replace(&mut self.disable, change.disable.clone());
        replace(&mut self.secrets_encryption, change.secrets_encryption);
        replace(&mut self.etcd_snapshot_retention, change.etcd_snapshot_retention);
        replace(&mut self.ingress_http_node_port, change.ingress_http_node_port);
        replace(&mut self.ingress_https_node_port, change.ingress_https_node_port);
        self.kernel_modules.extend(change.kernel_modules.iter().cloned());
        self.kernel_modules.sort();
        self.kernel_modules.dedup();
        self.sysctls.extend(change.sysctls.clone());
        self.labels.extend(change.labels.clone());
        for arg in &change.kubelet_args {
            self.kubelet_args.retain(|old| arg_name(old) != arg_name(arg));
            self.kubelet_args.push(arg.clone());
        }
        self
    }
}

fn replace<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

fn arg_name(arg: &str) -> &str {
    arg.split_once('=').map_or(arg, |(name, _)| name)
}

/// Why a shipped profile cannot be used: a bug of this program, found by its tests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shipped profile of a {role} is broken: {problem}")]
pub struct ProfileError {
    /// Whose profile.
    pub role: Role,
    /// The first problem in it.
    pub problem: String,
}

/// The shipped profile of a role.
///
/// # Errors
/// When the shipped text is broken, which a test of this crate rules out.
pub fn shipped(role: Role) -> Result<ProfileV1, ProfileError> {
    let name = format!("{role}.toml");
    parse_profile(&name, shipped_text(role)).map_err(|diagnostics| {
        let problem = diagnostics.first().map(ToString::to_string).unwrap_or_default();
        ProfileError { role, problem }
    })
}

/// Parses the text of a profile.
fn parse_profile(name: &str, text: &str) -> Result<ProfileV1, Vec<Diagnostic>> {
    let mut diagnostics = Vec::new();
    let Some(document) = Document::parse(name, text, &mut diagnostics) else { return Err(diagnostics) };
    let checked = check::structure(&document, crate::reference::profile_schema(), &mut diagnostics);
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    serde_json::from_value(checked.value).map_err(|error| vec![document.internal(&KeyPath::root(), &error)])
}

/// The shipped text of a role's profile.
pub fn shipped_text(role: Role) -> &'static str {
    match role {
        Role::Master => include_str!("../master.toml"),
        Role::Worker => include_str!("../worker.toml"),
        Role::Proxy => include_str!("../proxy.toml"),
    }
}

fn sysctls_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": format::sysctl_key(generator),
        "additionalProperties": format::sysctl_value(generator),
    })
}

fn disable_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string", "enum": ["coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes"]},
    })
}

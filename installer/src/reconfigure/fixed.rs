//! What an installed node cannot change: pure, over the two node configs as data.

use crate::exit::ExitCode;
use crate::refusal::Refusal;
use profiles::node::{NodeConfig, RoleConfig};
use serde_json::Value;

/// Settings that are built into the disk, the certificates or the database of the cluster, with the name an operator knows.
const FIXED: [(&str, &str); 13] = [
    ("/cluster/name", "the name of the cluster"),
    ("/data_disks", "the data disks"),
    ("/role/name", "the role of this node"),
    ("/role/placement", "the placement of this proxy"),
    ("/role/forms_cluster", "which master forms the cluster (the first of the file)"),
    ("/cluster/api_vip", "api_vip"),
    ("/cluster/pod_cidr", "pod_cidr"),
    ("/cluster/service_cidr", "service_cidr"),
    ("/cluster/cluster_dns", "the address of the cluster DNS"),
    ("/cluster/ipv6/kubernetes", "the IPv6 ranges of pods and services"),
    ("/cluster/cni", "the container network"),
    ("/cluster/cluster_network", "the range of the cluster network"),
    ("/cluster/ipv6/cluster_network", "the IPv6 range of the cluster network"),
];

/// Refuses a change of what is fixed.
///
/// # Errors
/// `E_APPLY_FIXED` with one line for each such setting.
pub(super) fn ensure_unchanged(current: &NodeConfig, wanted: &NodeConfig) -> Result<(), Refusal> {
    let (before, after) = (as_data(current)?, as_data(wanted)?);
    let mut changed: Vec<String> = Vec::new();
    for (pointer, name) in FIXED {
        note(&mut changed, name, before.pointer(pointer), after.pointer(pointer));
    }
    note(&mut changed, "the disk", selector(&before).as_ref(), selector(&after).as_ref());
    if matches!(current.role, RoleConfig::Master { .. }) {
        // etcd knows its members by address.
        let address = |node: &NodeConfig| {
            node.cluster_interface().map(|leg| Value::from(leg.address.addr().to_string()))
        };
        note(
            &mut changed,
            "the cluster address of a master",
            address(current).as_ref(),
            address(wanted).as_ref(),
        );
    }
    if changed.is_empty() {
        return Ok(());
    }
    let message = "the cluster file changes what an installed node cannot change; install the node again, or take the change back";
    Err(Refusal::new("E_APPLY_FIXED", ExitCode::InvalidInput, message).with_details(changed))
}

fn as_data(node: &NodeConfig) -> Result<Value, Refusal> {
    serde_json::to_value(node)
        .map_err(|error| Refusal::new("E_RENDER", ExitCode::InvalidInput, error.to_string()))
}

/// Which disk is meant, without the consent to wipe it: that is taken back after an install, as it should be.
fn selector(node: &Value) -> Option<Value> {
    let mut disk = node.get("disk")?.clone();
    if let Some(table) = disk.as_object_mut() {
        table.remove("wipe");
    }
    Some(disk)
}

fn note(changed: &mut Vec<String>, name: &str, before: Option<&Value>, after: Option<&Value>) {
    if before != after {
        changed.push(format!("{name}: {} → {}", show(before), show(after)));
    }
}

fn show(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

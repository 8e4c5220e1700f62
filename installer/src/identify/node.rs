//! Matching a machine with the nodes of the cluster file.

use crate::exit::ExitCode;
use crate::inventory::{Inventory, sanitise};
use crate::refusal::Refusal;
use profiles::NodeIdentity;
use profiles::node::Identity;

/// The node this machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// Host name.
    pub hostname: String,
    /// What told: `metalstrap.node`, or the hardware that matched.
    pub because: String,
}

/// Finds the node. `named` is the value of `metalstrap.node=`, or of `--node`, and wins over the hardware.
///
/// # Errors
/// `E_NODE_NONE` and `E_NODE_AMBIGUOUS`, each with what the machine has and what the nodes are known by.
pub fn identify_node(
    identities: &[NodeIdentity],
    inventory: &Inventory,
    named: Option<&str>,
) -> Result<Identified, Refusal> {
    if let Some(name) = named {
        return identify_named(identities, name);
    }
    let matches: Vec<(&NodeIdentity, String)> = identities
        .iter()
        .filter_map(|node| Some((node, match_identity(&node.identity, inventory)?)))
        .collect();
    match &matches[..] {
        [(node, because)] => Ok(Identified { hostname: node.hostname.clone(), because: because.clone() }),
        [] => {
            let message = "no node of the cluster file has the hardware of this machine; \
                           add one of its addresses to the file or start with metalstrap.node=HOSTNAME";
            let known =
                identities.iter().map(|node| format!("node {}: {}", node.hostname, describe(&node.identity)));
            Err(Refusal::new("E_NODE_NONE", ExitCode::InvalidInput, message)
                .with_details(describe_machine(inventory))
                .with_details(known))
        }
        several => {
            let names: Vec<_> = several.iter().map(|(node, _)| node.hostname.as_str()).collect();
            let message = format!(
                "this machine matches {} nodes: {}; make their identities disjoint or start with metalstrap.node=HOSTNAME",
                several.len(),
                names.join(", ")
            );
            let why = several.iter().map(|(node, because)| format!("node {}: {because}", node.hostname));
            Err(Refusal::new("E_NODE_AMBIGUOUS", ExitCode::InvalidInput, message)
                .with_details(describe_machine(inventory))
                .with_details(why))
        }
    }
}

fn identify_named(identities: &[NodeIdentity], name: &str) -> Result<Identified, Refusal> {
    if identities.iter().any(|node| node.hostname == name) {
        return Ok(Identified {
            hostname: name.to_owned(),
            because: "it was named by the operator".to_owned(),
        });
    }
    let message = format!("the cluster file has no node \"{}\"", sanitise(name));
    let known = identities.iter().map(|node| format!("node {}", node.hostname));
    Err(Refusal::new("E_NODE_NONE", ExitCode::InvalidInput, message).with_details(known))
}

/// The first thing that fits, in words; `None` when nothing does.
fn match_identity(identity: &Identity, inventory: &Inventory) -> Option<String> {
    let port = inventory.ports().find(|nic| nic.mac.is_some_and(|mac| identity.macs.contains(&mac)));
    if let Some((nic, mac)) = port.and_then(|nic| Some((nic, nic.mac?))) {
        return Some(format!("port {} has the MAC {mac}", sanitise(&nic.name)));
    }
    let serial = identity.serial.as_deref().map(str::trim).filter(|serial| !serial.is_empty());
    if let Some(serial) = serial
        && inventory.dmi.serial.as_deref().map(str::trim) == Some(serial)
    {
        return Some(format!("the machine has the serial {}", sanitise(serial)));
    }
    let uuid = identity.uuid.filter(|uuid| !uuid.is_nil() && inventory.dmi.uuid == Some(*uuid))?;
    Some(format!("the machine has the UUID {uuid}"))
}

fn describe(identity: &Identity) -> String {
    let macs = identity.macs.iter().map(|mac| format!("MAC {mac}"));
    let serial = identity.serial.iter().map(|serial| format!("serial {}", sanitise(serial)));
    let uuid = identity.uuid.iter().map(|uuid| format!("UUID {uuid}"));
    let all: Vec<String> = macs.chain(serial).chain(uuid).collect();
    if all.is_empty() { "names no hardware".to_owned() } else { all.join(", ") }
}

/// What this machine could be known by.
fn describe_machine(inventory: &Inventory) -> Vec<String> {
    let mut lines: Vec<String> = inventory
        .ports()
        .filter_map(|nic| Some(format!("this machine: MAC {} (port {})", nic.mac?, sanitise(&nic.name))))
        .collect();
    lines.extend(
        inventory.dmi.serial.iter().map(|serial| format!("this machine: serial {}", sanitise(serial))),
    );
    lines.extend(inventory.dmi.uuid.iter().map(|uuid| format!("this machine: UUID {uuid}")));
    if lines.is_empty() {
        lines.push("this machine: no MAC, no serial, no UUID".to_owned());
    }
    lines
}

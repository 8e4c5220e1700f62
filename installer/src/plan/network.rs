//! Matching the interfaces of the node to those of the machine.

use super::PlanError;
use profiles::node::{MacAddr, NodeConfig};
use std::collections::BTreeMap;

/// A physical Ethernet interface of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Kernel name.
    pub name: String,
    /// Permanent MAC.
    pub mac: MacAddr,
    /// True with a cable in it, when that is known.
    pub carrier: Option<bool>,
}

impl Nic {
    fn line(&self) -> String {
        let carrier = match self.carrier {
            Some(true) => "link up",
            Some(false) => "no link",
            None => "link unknown",
        };
        format!("{} {} ({carrier})", self.name, self.mac)
    }
}

/// The MACs of all ports the node needs, each with the MTU it is to have.
///
/// # Errors
/// As the plan: a named MAC that the machine does not have, or none named and several ports.
pub fn choose_ports(node: &NodeConfig, nics: &[Nic]) -> Result<Vec<(MacAddr, Option<u32>)>, PlanError> {
    let chosen = choose_macs(node, nics)?;
    let port = |interface: &profiles::node::Interface| {
        let mac = interface.mac.or_else(|| chosen.get(&interface.name).copied())?;
        Some((mac, interface.mtu_bytes.map(u32::from)))
    };
    Ok(node.interfaces.iter().filter_map(port).collect())
}

/// The MAC of each interface for which the cluster file names none: the only one of the machine that is left.
///
/// # Errors
/// A named MAC that the machine does not have; more or fewer than one left for an interface without MAC.
pub fn choose_macs(node: &NodeConfig, nics: &[Nic]) -> Result<BTreeMap<String, MacAddr>, PlanError> {
    let error = |interface: &str, reason: String| PlanError::Nic {
        interface: interface.to_owned(),
        reason,
        candidates: nics.iter().map(Nic::line).collect(),
    };
    for interface in &node.interfaces {
        if let Some(mac) = interface.mac
            && !nics.iter().any(|nic| nic.mac == mac)
        {
            return Err(error(&interface.name, format!("this machine has no interface with the MAC {mac}")));
        }
    }
    let named = |mac: MacAddr| node.interfaces.iter().any(|i| i.mac == Some(mac));
    let left: Vec<&Nic> = nics.iter().filter(|nic| !named(nic.mac)).collect();
    let mut chosen = BTreeMap::new();
    for interface in node.interfaces.iter().filter(|i| i.mac.is_none()) {
        match left.as_slice() {
            [only] if chosen.is_empty() => {
                chosen.insert(interface.name.clone(), only.mac);
            }
            _ => {
                let count = left.len();
                let reason = format!(
                    "the cluster file names no MAC and {count} interfaces could be meant; name one with mac = \"…\""
                );
                return Err(error(&interface.name, reason));
            }
        }
    }
    Ok(chosen)
}

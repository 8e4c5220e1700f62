//! Matching the interfaces of the node to those of the machine.

use super::PlanError;
use profiles::network::{Link, LinkKind, NicMatch};
use profiles::node::{MacAddr, NodeConfig};
use std::collections::{BTreeMap, BTreeSet};

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

/// The MACs of all cards the node needs, those below bonds and VLANs too, each with the MTU it is to have.
///
/// # Errors
/// As the plan: a named MAC that the machine does not have, or none named and several cards.
pub fn choose_ports(node: &NodeConfig, nics: &[Nic]) -> Result<Vec<(MacAddr, Option<u32>)>, PlanError> {
    let chosen = choose_macs(node, nics)?;
    let port = |(link, nic): (&Link, &NicMatch)| {
        let mac = match nic {
            NicMatch::Mac(mac) => *mac,
            _ => chosen.get(&link.name).copied()?,
        };
        Some((mac, link.mtu_bytes.map(u32::from)))
    };
    Ok(node.network.nics().filter_map(port).collect())
}

/// The MAC of each card for which the cluster file names none: the only one of the machine that is left.
///
/// # Errors
/// A named MAC that the machine does not have, be it of a leg or of a member of a bond; more or fewer than one left for a card
/// without MAC.
pub fn choose_macs(node: &NodeConfig, nics: &[Nic]) -> Result<BTreeMap<String, MacAddr>, PlanError> {
    let error = |interface: &str, reason: String| PlanError::Nic {
        interface: interface.to_owned(),
        reason,
        candidates: nics.iter().map(Nic::line).collect(),
    };
    let mut named = BTreeSet::new();
    for (link, nic) in node.network.nics() {
        if let NicMatch::Mac(mac) = nic {
            if !nics.iter().any(|nic| nic.mac == *mac) {
                let of = master_of(node, &link.name);
                return Err(error(
                    &link.name,
                    format!("this machine has no interface with the MAC {mac}{of}"),
                ));
            }
            named.insert(*mac);
        }
    }
    let left: Vec<&Nic> = nics.iter().filter(|nic| !named.contains(&nic.mac)).collect();
    let mut chosen = BTreeMap::new();
    for (link, _) in node.network.nics().filter(|(_, nic)| !matches!(nic, NicMatch::Mac(_))) {
        match left.as_slice() {
            [only] if chosen.is_empty() => {
                chosen.insert(link.name.clone(), only.mac);
            }
            _ => {
                let count = left.len();
                let reason = format!(
                    "the cluster file names no MAC and {count} interfaces could be meant; name one with mac = \"…\""
                );
                return Err(error(&link.name, reason));
            }
        }
    }
    Ok(chosen)
}

/// Whose member a card is, for a message.
fn master_of(node: &NodeConfig, card: &str) -> String {
    let master = node.network.upper(card).find(|upper| !matches!(upper.kind, LinkKind::Vlan { .. }));
    master.map_or_else(String::new, |master| format!(" (a member of {})", master.name))
}

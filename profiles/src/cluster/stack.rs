//! From the `interfaces` of a node to its links: an entry can stand for several (`bond` and `vlan` are two), and those
//! without a name get one. Used by the rules, which need to know what came from where, and by the resolution.

use super::file::NodeEntry;
use super::interface::{InterfaceEntry, InterfaceNetwork};
use crate::network::{Bond, BondMode, Link, LinkKind, NicMatch};
use crate::node::MacAddr;
use std::collections::BTreeSet;

/// The links of one node, as its entries make them.
#[derive(Clone, Debug, Default)]
pub(super) struct Stack {
    /// Every link, in the order of the entries, lower ones of the same entry first.
    pub(super) drafts: Vec<Draft>,
    /// For each entry the name of its uppermost link, which has its name and its addresses.
    pub(super) tops: Vec<String>,
}

/// One link of a node.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// Number of the entry it comes from.
    pub(super) entry: usize,
    /// Which key of the entry makes it.
    pub(super) part: Part,
    pub(super) name: String,
    pub(super) kind: DraftKind,
}

/// Which key of an entry makes a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `mac`, or no key at all.
    Mac,
    /// One of `bond`.
    BondMember(usize),
    /// `bond` itself.
    Bond,
    /// One of `bridge`.
    BridgeMember(usize),
    /// `bridge` itself.
    Bridge,
    /// `vlan`.
    Vlan,
}

/// What a link is; what it stands on is a name that need not exist.
#[derive(Clone, Debug)]
pub(super) enum DraftKind {
    /// A card; without MAC the only one.
    Nic(Option<MacAddr>),
    Bond(Vec<String>),
    Bridge(Vec<String>),
    Vlan {
        id: u16,
        parent: String,
    },
}

impl DraftKind {
    /// Names of the links it stands on.
    pub(super) fn lower(&self) -> &[String] {
        match self {
            Self::Nic(_) => &[],
            Self::Bond(members) | Self::Bridge(members) => members,
            Self::Vlan { parent, .. } => std::slice::from_ref(parent),
        }
    }
}

/// The entries of a node, the short form written out.
pub(super) fn entries(node: &NodeEntry) -> Vec<InterfaceEntry> {
    let is_short = node.address.is_some() || node.address6.is_some();
    let short = is_short.then(|| InterfaceEntry {
        network: Some(InterfaceNetwork::Cluster),
        mac: node.mac,
        address: node.address,
        address6: node.address6,
        ..InterfaceEntry::default()
    });
    short.into_iter().chain(node.interfaces.iter().cloned()).collect()
}

/// Names that are taken, and the next free one of a kind.
struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    fn next(&mut self, stem: &str) -> String {
        let mut number = 0_usize;
        loop {
            let name = format!("{stem}{number}");
            if self.taken.insert(name.clone()) {
                return name;
            }
            number += 1;
        }
    }
}

impl Stack {
    /// The links that the entries stand for.
    pub(super) fn of(entries: &[InterfaceEntry]) -> Self {
        let mut names = Names { taken: entries.iter().filter_map(|entry| entry.name.clone()).collect() };
        let mut stack = Self::default();
        for (number, entry) in entries.iter().enumerate() {
            let top = stack.add(number, entry, &mut names);
            stack.tops.push(top);
        }
        stack
    }

    fn push(&mut self, entry: usize, part: Part, name: String, kind: DraftKind) -> String {
        self.drafts.push(Draft { entry, part, name: name.clone(), kind });
        name
    }

    /// Adds the links of one entry; gives the name of the uppermost.
    fn add(&mut self, number: usize, entry: &InterfaceEntry, names: &mut Names) -> String {
        // The name is that of the link with the addresses: here only when no VLAN comes on top.
        let own = entry.name.clone().filter(|_| entry.vlan.is_none());
        let base = if let Some(members) = &entry.bond {
            let members = self.members(number, members, Part::BondMember, names);
            let name = own.unwrap_or_else(|| names.next("bond"));
            self.push(number, Part::Bond, name, DraftKind::Bond(members))
        } else if let Some(members) = &entry.bridge {
            let members = self.members(number, members, Part::BridgeMember, names);
            let name = own.unwrap_or_else(|| names.next("br"));
            self.push(number, Part::Bridge, name, DraftKind::Bridge(members))
        } else if let Some(on) = &entry.on {
            on.clone()
        } else {
            let stem = match entry.network.filter(|_| entry.vlan.is_none()) {
                Some(InterfaceNetwork::Cluster) => "cluster",
                Some(InterfaceNetwork::Dmz) => "dmz",
                Some(InterfaceNetwork::Other) => "other",
                None => "nic",
            };
            let name = own.unwrap_or_else(|| names.next(stem));
            self.push(number, Part::Mac, name, DraftKind::Nic(entry.mac))
        };
        let Some(id) = entry.vlan else { return base };
        let name = entry.name.clone().unwrap_or_else(|| format!("{base}.{id}"));
        self.push(number, Part::Vlan, name, DraftKind::Vlan { id, parent: base })
    }

    /// The names of members; a member that is a MAC becomes a card.
    fn members(
        &mut self,
        number: usize,
        members: &[String],
        part: fn(usize) -> Part,
        names: &mut Names,
    ) -> Vec<String> {
        let name = |(n, member): (usize, &String)| match member.parse::<MacAddr>() {
            Ok(mac) => self.push(number, part(n), names.next("nic"), DraftKind::Nic(Some(mac))),
            Err(_) => member.clone(),
        };
        members.iter().enumerate().map(name).collect()
    }

    /// The link with this name.
    pub(super) fn find(&self, name: &str) -> Option<&Draft> {
        self.drafts.iter().find(|draft| draft.name == name)
    }

    /// Every MAC.
    pub(super) fn macs(&self) -> impl Iterator<Item = MacAddr> {
        self.drafts.iter().filter_map(|draft| match draft.kind {
            DraftKind::Nic(mac) => mac,
            _ => None,
        })
    }

    /// The links, without what they carry.
    pub(super) fn links(&self, entries: &[InterfaceEntry]) -> Vec<Link> {
        let kind = |draft: &Draft| match &draft.kind {
            DraftKind::Nic(mac) => LinkKind::Physical { nic: mac.map_or(NicMatch::Only, NicMatch::Mac) },
            DraftKind::Vlan { id, parent } => LinkKind::Vlan { id: *id, parent: parent.clone() },
            DraftKind::Bridge(members) => {
                let stp = entries.get(draft.entry).and_then(|entry| entry.stp).unwrap_or_default();
                LinkKind::Bridge { members: members.clone(), stp }
            }
            DraftKind::Bond(members) => LinkKind::Bond(
                entries
                    .get(draft.entry)
                    .map_or_else(|| Bond::new(members.clone(), BondMode::Lacp), |entry| bond(entry, members)),
            ),
        };
        self.drafts.iter().map(|draft| Link::new(draft.name.clone(), kind(draft))).collect()
    }
}

fn bond(entry: &InterfaceEntry, members: &[String]) -> Bond {
    let default = Bond::new(members.to_vec(), entry.mode.unwrap_or(BondMode::Lacp));
    let written = entry.bond.as_deref().unwrap_or_default();
    let primary = entry.primary.as_ref().and_then(|primary| {
        let place = written.iter().position(|member| same_member(member, primary))?;
        members.get(place).cloned()
    });
    Bond {
        lacp_rate: entry.lacp_rate.unwrap_or(default.lacp_rate),
        hash: entry.hash.unwrap_or(default.hash),
        miimon_ms: entry.miimon_ms.unwrap_or(default.miimon_ms),
        min_links: entry.min_links.unwrap_or(default.min_links),
        primary,
        ..default
    }
}

/// Two members are the same: by name, or by MAC however it is written.
pub(super) fn same_member(a: &str, b: &str) -> bool {
    match (a.parse::<MacAddr>(), b.parse::<MacAddr>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

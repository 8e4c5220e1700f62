//! What the rules look at: every part of the file that the structural check has left whole.

use crate::check::Checked;
use crate::cluster::file::{
    AdminTable, ClusterNetwork, ClusterTable, DmzNetwork, NodeEntry, PreflightTable, ProfilesTable,
    SecretsTable,
};
use crate::cluster::interface::InterfaceEntry;
use crate::cluster::stack::{Draft, Part, Stack, entries};
use crate::document::Document;
use crate::firewall::{Features, OperatorFlow};
use crate::node::{Role, Zone};
use crate::path::{KeyPath, Step};
use crate::reference::cluster_schema;
use crate::usable::Usable;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The parts of a cluster file, each of them `None` when it cannot be used.
pub(in crate::cluster) struct View<'v> {
    pub(super) document: &'v Document<'v>,
    checked: &'v Checked,
    /// What the rules look at.
    usable: Usable,
    pub(super) cluster: Option<ClusterTable>,
    pub(super) network: Option<ClusterNetwork>,
    pub(super) dmz: Option<DmzNetwork>,
    /// The file has a `[networks.dmz]`, usable or not.
    pub(super) has_dmz: bool,
    pub(super) admin: Option<AdminTable>,
    pub(super) secrets: Option<SecretsTable>,
    pub(super) profiles: Option<ProfilesTable>,
    pub(super) features: Option<Features>,
    pub(super) preflight: Option<PreflightTable>,
    /// The flows that could be read, each with its path.
    pub(super) flows: Vec<(KeyPath, OperatorFlow)>,
    pub(super) nodes: Vec<NodeView>,
    /// There are nodes and the role of every one is known: rules that count may run.
    pub(super) complete: bool,
}

/// One node that could be read.
pub(super) struct NodeView {
    pub(super) path: KeyPath,
    pub(super) entry: NodeEntry,
    /// Something in it was refused: what is missing may be there under a wrong name.
    pub(super) partial: bool,
    /// Its role is one that the operator wrote; without it the entry has some other one.
    has_role: bool,
    pub(super) legs: Vec<Leg>,
    interfaces: Vec<InterfaceEntry>,
    paths: Vec<KeyPath>,
    pub(super) stack: Stack,
}

/// One leg of a node in a zone, with the table it is written in.
pub(super) struct Leg {
    pub(super) path: KeyPath,
    pub(super) zone: Zone,
    pub(super) address: Option<Ipv4Addr>,
    pub(super) address6: Option<Ipv6Addr>,
}

impl NodeView {
    fn of(path: KeyPath, entry: NodeEntry, partial: bool, has_role: bool) -> Self {
        let interfaces = entries(&entry);
        let short = interfaces.len() - entry.interfaces.len();
        let place = |n: usize| {
            if n < short { path.clone() } else { path.key("interfaces").index(n - short) }
        };
        let paths: Vec<KeyPath> = (0..interfaces.len()).map(place).collect();
        let leg = |(entry, path): (&InterfaceEntry, &KeyPath)| {
            let zone = entry.network?.zone()?;
            Some(Leg { path: path.clone(), zone, address: entry.address, address6: entry.address6 })
        };
        let legs = interfaces.iter().zip(&paths).filter_map(leg).collect();
        let stack = Stack::of(&interfaces);
        let partial = partial || interfaces.iter().any(InterfaceEntry::is_unfinished);
        Self { path, entry, partial, has_role, legs, interfaces, paths, stack }
    }

    /// Its interfaces, each with the table it is written in and the name of its uppermost link.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = (&InterfaceEntry, &KeyPath, &str)> {
        let tops = self.stack.tops.iter().map(String::as_str);
        self.interfaces.iter().zip(&self.paths).zip(tops).map(|((entry, path), top)| (entry, path, top))
    }

    /// Where a link of its is written: the table of the interface, and the key that makes it.
    pub(super) fn place(&self, draft: &Draft) -> KeyPath {
        let Some(path) = self.paths.get(draft.entry) else { return self.path.clone() };
        match draft.part {
            Part::Mac => path.key("mac"),
            Part::Bond => path.key("bond"),
            Part::BondMember(n) => path.key("bond").index(n),
            Part::Bridge => path.key("bridge"),
            Part::BridgeMember(n) => path.key("bridge").index(n),
            Part::Vlan => path.key("vlan"),
        }
    }

    /// It has this address.
    pub(super) fn has_address(&self, address: Ipv4Addr) -> bool {
        self.legs.iter().any(|leg| leg.address == Some(address))
    }

    pub(super) fn is(&self, role: Role) -> bool {
        self.role() == Some(role)
    }

    /// Its role, if one is given.
    pub(super) fn role(&self) -> Option<Role> {
        Some(self.entry.role).filter(|_| self.has_role)
    }

    pub(super) fn legs_in(&self, zone: Zone) -> impl Iterator<Item = &Leg> {
        self.legs.iter().filter(move |leg| leg.zone == zone)
    }
}

impl<'v> View<'v> {
    /// Takes apart what the structural check has left.
    pub(in crate::cluster) fn new(document: &'v Document<'v>, checked: &'v Checked) -> Self {
        let root = KeyPath::root();
        let usable = Usable::of(cluster_schema(), &checked.value);
        let listed = usable.value.get("nodes").and_then(Value::as_array);
        let nodes: Vec<NodeView> = listed
            .into_iter()
            .flatten()
            .enumerate()
            .filter_map(|(index, value)| {
                let path = root.key("nodes").index(index);
                let entry = serde_json::from_value(value.clone()).ok()?;
                let place = usable.place(&path);
                let has_role = checked.is_sound(&place.key("role"));
                Some(NodeView::of(path, entry, !checked.is_sound(&place), has_role))
            })
            .collect();
        let every_one = !nodes.is_empty() && nodes.iter().all(|node| node.has_role);
        let complete = every_one && !usable.is_shortened("nodes");
        let network_path = KeyPath::of("networks.cluster");
        let dmz_path = KeyPath::of("networks.dmz");
        let has_dmz =
            checked.value.pointer("/networks/dmz").is_some() || !checked.is_sound(&KeyPath::of("networks"));
        let usable_dmz =
            checked.value.pointer("/networks/dmz").is_some() && checked.is_sound(&dmz_path.key("cidr"));
        Self {
            document,
            cluster: part(&usable, checked, &KeyPath::of("cluster")),
            network: part(&usable, checked, &network_path)
                .filter(|_| checked.is_sound(&network_path.key("cidr"))),
            dmz: part(&usable, checked, &dmz_path).filter(|_| usable_dmz),
            has_dmz,
            admin: part(&usable, checked, &KeyPath::of("admin")),
            secrets: part(&usable, checked, &KeyPath::of("secrets")),
            profiles: part(&usable, checked, &KeyPath::of("profiles")),
            features: part(&usable, checked, &KeyPath::of("features")),
            preflight: part(&usable, checked, &KeyPath::of("preflight")),
            flows: flows(&usable.value),
            nodes,
            complete,
            checked,
            usable,
        }
    }

    /// Nothing was refused at this path or below it.
    pub(super) fn is_sound(&self, path: &str) -> bool {
        self.checked.is_sound(&KeyPath::of(path))
    }

    /// Nothing was refused at this path or below it.
    pub(super) fn is_sound_at(&self, path: &KeyPath) -> bool {
        self.checked.is_sound(&self.place(path))
    }

    /// The value of this path is the operator's, and its absence too: no unknown key could have been meant for it.
    pub(super) fn is_said(&self, path: &str) -> bool {
        self.is_said_at(&KeyPath::of(path))
    }

    /// The value of this path is the operator's, and its absence too: no unknown key could have been meant for it.
    pub(super) fn is_said_at(&self, path: &KeyPath) -> bool {
        self.checked.is_said(&self.place(path))
    }

    /// Where in the file something of this view is written: bad items of lists are not counted here.
    pub(super) fn place(&self, path: &KeyPath) -> KeyPath {
        self.usable.place(path)
    }

    /// The ranges that must be disjoint, each with its key path and name.
    pub(super) fn ranges(&self) -> Vec<(KeyPath, &'static str, Ipv4Net)> {
        let cluster = self.cluster.as_ref();
        let all = [
            ("networks.cluster.cidr", "cluster network", self.network.as_ref().map(|network| network.cidr)),
            ("networks.dmz.cidr", "DMZ", self.dmz.as_ref().map(|dmz| dmz.cidr)),
            ("cluster.pod_cidr", "pod range", cluster.map(|cluster| cluster.pod_cidr)),
            ("cluster.service_cidr", "service range", cluster.map(|cluster| cluster.service_cidr)),
        ];
        let sound = all.into_iter().filter(|(path, ..)| self.is_sound(path));
        sound.filter_map(|(path, name, range)| Some((KeyPath::of(path), name, range?))).collect()
    }

    /// The IPv6 ranges that must be disjoint, each with its key path and name.
    pub(super) fn ranges6(&self) -> Vec<(KeyPath, &'static str, Ipv6Net)> {
        let cluster = self.cluster.as_ref();
        let all = [
            (
                "networks.cluster.cidr6",
                "cluster network",
                self.network.as_ref().and_then(|network| network.cidr6),
            ),
            ("networks.dmz.cidr6", "DMZ", self.dmz.as_ref().and_then(|dmz| dmz.cidr6)),
            ("cluster.pod_cidr6", "pod range", cluster.and_then(|cluster| cluster.pod_cidr6)),
            ("cluster.service_cidr6", "service range", cluster.and_then(|cluster| cluster.service_cidr6)),
        ];
        let sound = all.into_iter().filter(|(path, ..)| self.is_sound(path));
        sound.filter_map(|(path, name, range)| Some((KeyPath::of(path), name, range?))).collect()
    }

    /// The ranges of both families, each with its name.
    pub(super) fn all_ranges(&self) -> Vec<(&'static str, IpNet)> {
        let four = self.ranges().into_iter().map(|(_, name, range)| (name, IpNet::V4(range)));
        let six = self.ranges6().into_iter().map(|(_, name, range)| (name, IpNet::V6(range)));
        four.chain(six).collect()
    }

    /// The virtual addresses, each with its key.
    pub(super) fn vips(&self) -> Vec<(&'static str, Ipv4Addr)> {
        let cluster = self.cluster.as_ref();
        let api = cluster.and_then(|cluster| cluster.api_vip).map(|vip| ("api_vip", vip));
        let proxy = cluster.and_then(|cluster| cluster.proxy_vip).map(|vip| ("proxy_vip", vip));
        api.into_iter().chain(proxy).collect()
    }

    /// How many nodes of a role there are.
    pub(super) fn count(&self, role: Role) -> usize {
        self.nodes.iter().filter(|node| node.is(role)).count()
    }
}

/// Every flow that could be read.
fn flows(value: &Value) -> Vec<(KeyPath, OperatorFlow)> {
    let listed = value.pointer("/firewall/flows").and_then(Value::as_array);
    let path = KeyPath::of("firewall.flows");
    let flow = |(index, value): (usize, &Value)| {
        Some((path.index(index), serde_json::from_value(value.clone()).ok()?))
    };
    listed.into_iter().flatten().enumerate().filter_map(flow).collect()
}

/// One part of the file: its defaults when it is left out, `None` when it cannot be used.
fn part<T: DeserializeOwned>(usable: &Usable, checked: &Checked, path: &KeyPath) -> Option<T> {
    let mut value = Some(&usable.value);
    for step in &path.0 {
        value = match step {
            Step::Key(key) => value.and_then(|value| value.get(key)),
            Step::Index(index) => value.and_then(|value| value.get(index)),
        };
    }
    match value {
        Some(value) => serde_json::from_value(value.clone()).ok(),
        None if checked.is_sound(path) => serde_json::from_value(Value::Object(Map::new())).ok(),
        None => None,
    }
}

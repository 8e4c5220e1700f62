//! What the rules look at: every part of the file that the structural check has left whole.

use crate::check::Checked;
use crate::cluster::file::{
    AdminTable, ClusterNetwork, ClusterTable, DmzNetwork, NodeEntry, PreflightTable, ProfilesTable,
    SecretsTable,
};
use crate::cluster::resolve;
use crate::document::Document;
use crate::firewall::{Features, OperatorFlow};
use crate::node::{MacAddr, Role, Zone};
use crate::path::{KeyPath, Step};
use ipnet::Ipv4Net;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::net::Ipv4Addr;

/// The parts of a cluster file, each of them `None` when it cannot be used.
pub(in crate::cluster) struct View<'v> {
    pub(super) document: &'v Document<'v>,
    checked: &'v Checked,
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
    /// The flows that could be read, with where they are written.
    pub(super) flows: Vec<(KeyPath, OperatorFlow)>,
    pub(super) nodes: Vec<NodeView>,
    /// There are nodes and every one could be read: rules that count may run.
    pub(super) complete: bool,
}

/// One node that could be read.
pub(super) struct NodeView {
    pub(super) path: KeyPath,
    pub(super) entry: NodeEntry,
    /// Something in it was refused: what is missing may be there under a wrong name.
    pub(super) partial: bool,
    pub(super) legs: Vec<Leg>,
}

/// One leg of a node, with the table it is written in.
pub(super) struct Leg {
    pub(super) path: KeyPath,
    pub(super) zone: Zone,
    pub(super) mac: Option<MacAddr>,
    pub(super) address: Ipv4Addr,
}

impl NodeView {
    fn of(path: KeyPath, entry: NodeEntry, partial: bool) -> Self {
        let short = usize::from(entry.address.is_some());
        let leg = |(n, leg): (usize, crate::cluster::file::InterfaceEntry)| Leg {
            path: if n < short { path.clone() } else { path.key("interfaces").index(n - short) },
            zone: leg.network,
            mac: leg.mac,
            address: leg.address,
        };
        let legs = resolve::legs(&entry).into_iter().enumerate().map(leg).collect();
        Self { path, entry, partial, legs }
    }

    pub(super) fn is(&self, role: Role) -> bool {
        self.entry.role == role
    }

    pub(super) fn legs_in(&self, zone: Zone) -> impl Iterator<Item = &Leg> {
        self.legs.iter().filter(move |leg| leg.zone == zone)
    }
}

impl<'v> View<'v> {
    /// Takes apart what the structural check has left.
    pub(in crate::cluster) fn new(document: &'v Document<'v>, checked: &'v Checked) -> Self {
        let root = KeyPath::root();
        let listed = checked.value.get("nodes").and_then(Value::as_array);
        let nodes: Vec<NodeView> = listed
            .into_iter()
            .flatten()
            .enumerate()
            .filter_map(|(index, value)| {
                let path = root.key("nodes").index(index);
                let entry = serde_json::from_value(value.clone()).ok()?;
                let partial = !checked.is_sound(&path);
                Some(NodeView::of(path, entry, partial))
            })
            .collect();
        let complete = listed.is_some_and(|listed| !listed.is_empty() && listed.len() == nodes.len());
        let network_path = KeyPath::of("networks.cluster");
        let dmz_path = KeyPath::of("networks.dmz");
        let has_dmz =
            checked.value.pointer("/networks/dmz").is_some() || !checked.is_sound(&KeyPath::of("networks"));
        let usable_dmz =
            checked.value.pointer("/networks/dmz").is_some() && checked.is_sound(&dmz_path.key("cidr"));
        Self {
            document,
            checked,
            cluster: part(checked, &KeyPath::of("cluster")),
            network: part(checked, &network_path).filter(|_| checked.is_sound(&network_path.key("cidr"))),
            dmz: part(checked, &dmz_path).filter(|_| usable_dmz),
            has_dmz,
            admin: part(checked, &KeyPath::of("admin")),
            secrets: part(checked, &KeyPath::of("secrets")),
            profiles: part(checked, &KeyPath::of("profiles")),
            features: part(checked, &KeyPath::of("features")),
            preflight: part(checked, &KeyPath::of("preflight")),
            flows: flows(checked),
            nodes,
            complete,
        }
    }

    /// Nothing was refused at this path or below it.
    pub(super) fn is_sound(&self, path: &str) -> bool {
        self.checked.is_sound(&KeyPath::of(path))
    }

    /// Nothing was refused at this path or below it.
    pub(super) fn is_sound_at(&self, path: &KeyPath) -> bool {
        self.checked.is_sound(path)
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
fn flows(checked: &Checked) -> Vec<(KeyPath, OperatorFlow)> {
    let listed = checked.value.pointer("/firewall/flows").and_then(Value::as_array);
    let path = KeyPath::of("firewall.flows");
    let flow = |(index, value): (usize, &Value)| {
        Some((path.index(index), serde_json::from_value(value.clone()).ok()?))
    };
    listed.into_iter().flatten().enumerate().filter_map(flow).collect()
}

/// One part of the file: its defaults when it is left out, `None` when it cannot be used.
fn part<T: DeserializeOwned>(checked: &Checked, path: &KeyPath) -> Option<T> {
    let mut value = Some(&checked.value);
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

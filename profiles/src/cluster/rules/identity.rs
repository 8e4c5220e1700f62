//! How machines are told apart: host names, MACs, serial numbers, UUIDs, disks.

use super::findings::Findings;
use super::view::{NodeView, View};
use crate::cluster::stack::{Draft, DraftKind};
use crate::code::Code;
use crate::node::MacAddr;
use crate::path::KeyPath;

/// Names that mean this machine, or nothing, or what `/etc/hosts` of every node says of IPv6.
const RESERVED_HOSTNAMES: [&str; 7] =
    ["localhost", "none", "invalid", "ip6-localhost", "ip6-loopback", "ip6-allnodes", "ip6-allrouters"];

/// What vendors leave in the serial number when nobody sets it, lower case.
const PLACEHOLDER_SERIALS: [&str; 14] = [
    "0",
    "00000000",
    "0123456789",
    "123456789",
    "1234567890",
    "chassis serial number",
    "default string",
    "empty",
    "n/a",
    "none",
    "not applicable",
    "not specified",
    "system serial number",
    "to be filled by o.e.m.",
];

/// UUIDs that whole series of boards were sold with.
const PLACEHOLDER_UUIDS: [uuid::Uuid; 4] = [
    uuid::Uuid::nil(),
    uuid::Uuid::max(),
    uuid::uuid!("03000200-0400-0500-0006-000700080009"),
    uuid::uuid!("12345678-1234-5678-90ab-cddeefaabbcc"),
];

/// Host names are unique and can be one.
pub(super) fn hostnames(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let names = view.nodes.iter().map(|node| (node.entry.hostname.as_str(), node.path.key("hostname")));
    findings.unique(Code::HostnameDuplicate, names);
    for node in view.nodes.iter().filter(|node| RESERVED_HOSTNAMES.contains(&node.entry.hostname.as_str())) {
        let message = format!("`{}` cannot be the name of a node", node.entry.hostname);
        findings.value(Code::HostnameReserved, &node.path.key("hostname"), message);
    }
}

/// The names of the API are nobody else's: `/etc/hosts` of every node gives them the address of the API.
pub(super) fn api_names(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let Some(cluster) = &view.cluster else { return };
    let named = cluster.domain.is_some() || view.is_sound("cluster.name");
    let domain = cluster.domain.clone().unwrap_or_else(|| format!("{}.internal", cluster.name));
    let known = named && view.is_said("cluster.domain");
    for (n, name) in cluster.api_names.iter().enumerate() {
        let path = KeyPath::of("cluster.api_names").index(n);
        if RESERVED_HOSTNAMES.contains(&name.as_str()) {
            findings.value(Code::ApiNameTaken, &path, format!("`{name}` cannot be a name of the API"));
        }
        let short = name.strip_suffix(&domain).and_then(|rest| rest.strip_suffix('.')).filter(|_| known);
        let is_it =
            |node: &&NodeView| [Some(name.as_str()), short].contains(&Some(node.entry.hostname.as_str()));
        if let Some(node) = view.nodes.iter().find(is_it) {
            let message = format!("`{name}` is the node `{}`", node.entry.hostname);
            findings.value(Code::ApiNameTaken, &path, message);
        }
    }
}

/// MACs are unique, can belong to an interface, and are there where a machine has several interfaces.
pub(super) fn macs(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let cards = |node| std::iter::repeat(node).zip(node_drafts(node));
    let macs = || {
        view.nodes.iter().flat_map(cards).filter_map(|(node, draft)| match draft.kind {
            DraftKind::Nic(mac) => Some((mac?, node.place(draft))),
            _ => None,
        })
    };
    findings.unique(Code::MacDuplicate, macs());
    for (MacAddr(bytes), path) in macs() {
        if bytes[0] & 1 == 1 || bytes == [0; 6] {
            findings.value(Code::MacNotUnicast, &path, "no interface can have this MAC");
        }
    }
    for node in &view.nodes {
        let cards = || node.stack.drafts.iter().filter(|draft| matches!(draft.kind, DraftKind::Nic(_)));
        let both_forms = !node.entry.interfaces.is_empty() && node.entry.mac.is_some();
        if cards().count() < 2 || both_forms {
            continue;
        }
        for draft in cards().filter(|draft| matches!(draft.kind, DraftKind::Nic(None))) {
            let path = node.place(draft);
            if view.is_sound_at(&path) {
                let message = format!("`{}` has several interfaces: each needs its MAC", node.entry.hostname);
                findings.key(Code::MacMissing, &path, message);
            }
        }
    }
}

fn node_drafts(node: &NodeView) -> &[Draft] {
    &node.stack.drafts
}

/// Serial numbers and UUIDs are unique and mean something; every node can be recognised by something.
pub(super) fn serials_and_uuids(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let nodes = || view.nodes.iter();
    let serials =
        || nodes().filter_map(|node| Some((node.entry.serial.as_deref()?, node.path.key("serial"))));
    let uuids = || nodes().filter_map(|node| Some((node.entry.uuid?, node.path.key("uuid"))));
    findings.unique(Code::SerialDuplicate, serials());
    findings.unique(Code::UuidDuplicate, uuids());
    for (serial, path) in serials() {
        if PLACEHOLDER_SERIALS.contains(&serial.to_lowercase().as_str()) {
            findings.value(Code::SerialPlaceholder, &path, format!("`{serial}` is what many machines have"));
        }
    }
    for (uuid, path) in uuids() {
        if PLACEHOLDER_UUIDS.contains(&uuid) {
            findings.value(Code::UuidPlaceholder, &path, format!("`{uuid}` is what many machines have"));
        }
    }
    for node in nodes().filter(|node| !node.partial && node.entry.mac.is_none()) {
        let known = node.entry.serial.is_some() || node.entry.uuid.is_some();
        if !known && node.stack.macs().next().is_none() {
            let message =
                format!("`{}` needs a mac, a serial or a uuid to be recognised by", node.entry.hostname);
            findings.value(Code::NodeUnrecognisable, &node.path, message);
        }
    }
}

/// A disk belongs to one node, and there to one purpose.
pub(super) fn disks(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let disks = || view.nodes.iter().flat_map(super::disks::tables);
    let serials = disks().filter_map(|(disk, path)| Some((disk.serial.as_deref()?, path.key("serial"))));
    findings.unique(Code::DiskDuplicate, serials);
    let wwns = disks().filter_map(|(disk, path)| Some((disk.wwn.as_deref()?, path.key("wwn"))));
    findings.unique(Code::DiskDuplicate, wwns);
}

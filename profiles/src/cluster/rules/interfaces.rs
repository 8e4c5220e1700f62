//! Which keys of an interface go together: what it is, and where it stands.

use super::findings::Findings;
use super::links::is_member;
use super::view::View;
use crate::cluster::interface::{InterfaceEntry, InterfaceNetwork};
use crate::code::Code;
use crate::network::BondMode;
use crate::path::KeyPath;

/// An interface is one thing: a card, a bond, a bridge, or a VLAN on another one.
pub(super) fn bases(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for (entry, path, _) in view.nodes.iter().flat_map(|node| node.interfaces()) {
        let keys = [
            ("mac", entry.mac.is_some()),
            ("bond", entry.bond.is_some()),
            ("bridge", entry.bridge.is_some()),
            ("on", entry.on.is_some()),
        ];
        let given: Vec<&str> = keys.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect();
        if let [first, second, ..] = given.as_slice() {
            let message =
                format!("an interface cannot be `{first}` and `{second}` at once: make two entries of it");
            findings.key(Code::InterfaceBase, &path.key(second), message);
        }
        if let (Some(on), None) = (&entry.on, entry.vlan)
            && view.is_sound_at(&path.key("vlan"))
        {
            let message =
                format!("`on` needs a `vlan`; addresses of `{on}` itself belong into its own entry");
            findings.key(Code::InterfaceBase, &path.key("on"), message);
        }
        bond_options(view, entry, path, findings);
        if entry.stp.is_some() && entry.bridge.is_none() {
            findings.key(Code::InterfaceKey, &path.key("stp"), "`stp` is for bridges");
        }
    }
}

fn bond_options(view: &View<'_>, entry: &InterfaceEntry, path: &KeyPath, findings: &mut Findings<'_, '_>) {
    let given = [
        ("mode", entry.mode.is_some()),
        ("lacp_rate", entry.lacp_rate.is_some()),
        ("hash", entry.hash.is_some()),
        ("miimon_ms", entry.miimon_ms.is_some()),
        ("min_links", entry.min_links.is_some()),
        ("primary", entry.primary.is_some()),
    ];
    let Some(members) = &entry.bond else {
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            findings.key(Code::BondOption, &path.key(key), format!("`{key}` is for bonds (`bond = […]`)"));
        }
        return;
    };
    let mode = entry.mode.unwrap_or(BondMode::Lacp);
    let lacp = mode == BondMode::Lacp;
    let modes = [
        ("lacp_rate", entry.lacp_rate.is_some(), lacp, "802.3ad"),
        ("min_links", entry.min_links.is_some(), lacp, "802.3ad"),
        ("hash", entry.hash.is_some(), mode.hashes(), "802.3ad or balance-xor"),
        ("primary", entry.primary.is_some(), mode == BondMode::ActiveBackup, "active-backup"),
    ];
    for (key, _, _, needed) in modes.into_iter().filter(|(_, given, fits, _)| *given && !fits) {
        let message = format!("`{key}` does nothing in the mode {mode}; it is for {needed}");
        findings.key(Code::BondOption, &path.key(key), message);
    }
    if !view.is_sound_at(&path.key("bond")) {
        return;
    }
    if let Some(primary) = entry.primary.as_ref().filter(|primary| !is_member(members, primary)) {
        findings.value(Code::BondOption, &path.key("primary"), format!("`{primary}` is not in `bond`"));
    }
    if let Some(least) = entry.min_links.filter(|least| usize::from(*least) > members.len()) {
        let message = format!("the bond has {} cards: {least} are never up", members.len());
        findings.value(Code::BondOption, &path.key("min_links"), message);
    }
}

/// What an interface carries fits the network it stands in.
pub(super) fn networks(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for (entry, path, _) in view.nodes.iter().flat_map(|node| node.interfaces()) {
        match entry.network {
            None if view.is_sound_at(&path.key("network")) => without_network(entry, path, findings),
            None => {}
            Some(InterfaceNetwork::Other) => in_other(view, entry, path, findings),
            Some(network) => in_zone(view, entry, path, network, findings),
        }
    }
}

fn missing(findings: &mut Findings<'_, '_>, path: &KeyPath, key: &str, why: &str) {
    findings.key(Code::InterfaceIncomplete, &path.key(key), format!("`{key}` is missing: {why}"));
}

fn without_network(entry: &InterfaceEntry, path: &KeyPath, findings: &mut Findings<'_, '_>) {
    if entry.is_unfinished() {
        missing(findings, path, "network", "say where the interface stands (cluster, dmz or other)");
    }
}

fn in_zone(
    view: &View<'_>,
    entry: &InterfaceEntry,
    path: &KeyPath,
    network: InterfaceNetwork,
    findings: &mut Findings<'_, '_>,
) {
    let (name, table) = match network {
        InterfaceNetwork::Dmz => ("DMZ", "networks.dmz"),
        _ => ("cluster network", "networks.cluster"),
    };
    if entry.dhcp.is_some() {
        let message = format!(
            "an address in the {name} has to be constant (etcd, certificates and firewalls name it): give it as `address`, and \
             reserve it in the DHCP server if there is one"
        );
        findings.key(Code::DhcpLeg, &path.key("dhcp"), message);
    } else if entry.address.is_none() && entry.address6.is_some() {
        let message = "a node needs an IPv4 `address` too: metalstrap builds IPv4 and dual-stack clusters, not IPv6 only";
        findings.key(Code::Ipv6Only, &path.key("address6"), message);
    } else if entry.address.is_none() && view.is_sound_at(&path.key("address")) {
        missing(findings, path, "address", "every node has a constant one in this network");
    }
    if !entry.addresses.is_empty() {
        let message =
            format!("`addresses` is for network = \"other\"; in the {name} give `address` and `address6`");
        findings.key(Code::InterfaceKey, &path.key("addresses"), message);
    }
    if entry.mtu.is_some() {
        let message = format!("the MTU of the {name} is the same everywhere: `mtu` in `[{table}]`");
        findings.key(Code::InterfaceKey, &path.key("mtu"), message);
    }
}

fn in_other(view: &View<'_>, entry: &InterfaceEntry, path: &KeyPath, findings: &mut Findings<'_, '_>) {
    for (key, given) in [("address", entry.address.is_some()), ("address6", entry.address6.is_some())] {
        if given {
            let message = "in a network of its own the prefix length has to be said too: `addresses = [\"10.9.0.21/24\"]`";
            findings.key(Code::InterfaceKey, &path.key(key), message);
        }
    }
    let asked = entry.dhcp.is_some() || entry.address.is_some() || entry.address6.is_some();
    let sound = view.is_sound_at(&path.key("addresses")) && view.is_sound_at(&path.key("dhcp"));
    if entry.addresses.is_empty() && !asked && sound {
        missing(findings, path, "addresses", "give them, or ask for them with `dhcp`");
    }
}

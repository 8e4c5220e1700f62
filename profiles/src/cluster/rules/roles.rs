//! What the roles need of one another, and what an operator should know about them.

use super::findings::Findings;
use super::view::{NodeView, View};
use crate::code::Code;
use crate::node::{ProxyPlacement, Role, Zone};
use crate::path::KeyPath;

/// At least one master, an odd number of them, and an API address when there are several.
pub(super) fn masters(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let masters = view.count(Role::Master);
    let api_vip = KeyPath::of("cluster.api_vip");
    if let Some(cluster) = &view.cluster
        && masters >= 2
        && cluster.api_vip.is_none()
        && view.is_said("cluster.api_vip")
    {
        let message = format!("{masters} masters need an `api_vip`");
        findings.key(Code::VipMissing, &api_vip, message);
    }
    if !view.complete {
        return;
    }
    if masters == 0 {
        findings.key(Code::MastersNone, &KeyPath::of("nodes"), "the cluster has no master");
        return;
    }
    let on_purpose = view.cluster.as_ref().is_none_or(|cluster| cluster.allow_even_masters);
    if masters.is_multiple_of(2) && !on_purpose && view.is_said("cluster.allow_even_masters") {
        let last = view.nodes.iter().rfind(|node| node.is(Role::Master));
        let path = last.map_or_else(|| KeyPath::of("nodes"), |node| node.path.key("role"));
        let message = format!("{masters} masters stand no more failures than {}", masters - 1);
        findings.value(Code::MastersEven, &path, message);
    }
}

/// Proxies say where they stand; others do not.
pub(super) fn placement(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for node in &view.nodes {
        let path = node.path.key("placement");
        match (node.role(), node.entry.placement) {
            (Some(Role::Proxy), None) if !node.partial => {
                let message =
                    format!("the proxy `{}` needs `placement`: internal or dmz", node.entry.hostname);
                findings.key(Code::PlacementMissing, &path, message);
            }
            (Some(role @ (Role::Master | Role::Worker)), Some(_)) => {
                let message = format!("`{}` is a {role}; only a proxy has a placement", node.entry.hostname);
                findings.key(Code::PlacementForbidden, &path, message);
            }
            _ => {}
        }
    }
}

fn is_dmz_proxy(node: &NodeView) -> bool {
    node.is(Role::Proxy) && node.entry.placement == Some(ProxyPlacement::Dmz)
}

/// A DMZ proxy has both legs; every other node has one in the cluster network and none in the DMZ.
pub(super) fn dmz_legs(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for node in &view.nodes {
        let name = &node.entry.hostname;
        let in_cluster = node.legs_in(Zone::Cluster).next().is_some();
        let in_dmz = node.legs_in(Zone::Dmz).next();
        let undecided = node.role().is_none() || (node.is(Role::Proxy) && node.entry.placement.is_none());
        if let Some(leg) = in_dmz {
            let path = leg.path.key("network");
            if !is_dmz_proxy(node) && !undecided {
                let message = format!(
                    "`{name}` may not have a leg in the DMZ: only a proxy with placement = \"dmz\" may"
                );
                findings.value(Code::DmzLegForbidden, &path, message);
            } else if !view.has_dmz {
                findings.value(Code::DmzUndefined, &path, "the file has no `[networks.dmz]`");
            }
        }
        if node.partial {
            continue;
        }
        if is_dmz_proxy(node) {
            for (there, zone) in [(in_cluster, "cluster"), (in_dmz.is_some(), "dmz")] {
                if !there {
                    let message =
                        format!("the DMZ proxy `{name}` needs an interface with network = \"{zone}\"");
                    findings.value(Code::DmzLegMissing, &node.path, message);
                }
            }
        } else if !in_cluster {
            let message = format!("`{name}` has no address on the cluster network");
            findings.value(Code::AddressMissing, &node.path, message);
        }
    }
}

/// Somebody holds the proxy VIP, and somebody stands behind the proxies.
pub(super) fn proxies(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    if !view.complete || view.nodes.iter().any(|node| node.partial && node.is(Role::Proxy)) {
        return;
    }
    let internal =
        view.nodes.iter().filter(|node| node.entry.placement == Some(ProxyPlacement::Internal)).count();
    let path = KeyPath::of("cluster.proxy_vip");
    if view.vips().iter().any(|(key, _)| *key == "proxy_vip") {
        match internal {
            0 => findings.value(Code::VipNoProxy, &path, "no internal proxy could hold it"),
            1 => findings.value(Code::ProxyNoPeer, &path, "one internal proxy alone holds it"),
            _ => {}
        }
    }
    if let Some(node) = view.nodes.iter().find(|node| is_dmz_proxy(node))
        && view.count(Role::Worker) == 0
    {
        let message = format!("the DMZ proxy `{}` has no worker to pass traffic to", node.entry.hostname);
        findings.value(Code::DmzNoWorker, &node.path, message);
    }
}

/// Somebody can log in, from somewhere, but not from everywhere.
pub(super) fn admins(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let Some(admin) = &view.admin else { return };
    let path = KeyPath::of("admin.ssh_authorized_keys");
    if admin.ssh_authorized_keys.is_empty() && view.is_said_at(&path) {
        findings.key(Code::NoSshKeys, &path, "without an SSH key nobody can log in over the network");
    }
    let path = KeyPath::of("admin.sources");
    if admin.sources.is_empty() && view.is_said_at(&path) {
        let message = "without an admin source nobody can reach SSH and the health report from outside";
        findings.key(Code::NoAdminSources, &path, message);
    }
    for (n, _) in admin.sources.iter().enumerate().filter(|(_, source)| source.prefix_len() == 0) {
        findings.value(Code::AdminEverywhere, &path.index(n), "the whole internet may reach SSH");
    }
}

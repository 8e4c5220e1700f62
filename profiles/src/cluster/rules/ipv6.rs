//! What the cluster has of IPv6: its ranges, its gateways, and pods and services with both families.

use super::findings::Findings;
use super::view::View;
use crate::code::Code;
use crate::node::{Role, Zone};
use crate::path::KeyPath;
use ipnet::Ipv6Net;
use std::net::Ipv6Addr;
use std::ops::RangeInclusive;

/// Every node gets a range of this prefix length out of the pod range (`node-cidr-mask-size-ipv6`).
const NODE_POD_PREFIX: u8 = 64;

/// Ranges begin where they say, are unicast, of a size that fits their use, and disjoint.
pub(super) fn ranges(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let ranges = view.ranges6();
    for (n, (path, name, range)) in ranges.iter().enumerate() {
        if range.addr() != range.network() {
            findings.value(Code::RangeHostBits, path, format!("{range} begins at {}", range.trunc()));
        }
        if is_special(range.network()) {
            let message = format!("{range} cannot be the {name}: it is not unicast");
            findings.value(Code::RangeUnusable, path, message);
        }
        // Kubernetes' allocators: at most 2^16 ranges of nodes, at most 2^16 services.
        let prefixes: RangeInclusive<u8> = match *name {
            "pod range" => 48..=NODE_POD_PREFIX,
            "service range" => 112..=123,
            _ => 16..=126,
        };
        if !prefixes.contains(&range.prefix_len()) {
            let (least, most) = prefixes.into_inner();
            let message = format!("the prefix length of the {name} is from {least} to {most} over IPv6");
            findings.value(Code::RangeUnusable, path, message);
        } else if *name == "pod range" {
            room_for_nodes(view, path, *range, findings);
        }
        for (_, first_name, first) in ranges.iter().take(n) {
            if range.contains(first) || first.contains(range) {
                let message = format!("the {name} {range} overlaps the {first_name} {first}");
                findings.value(Code::RangeOverlap, path, message);
            }
        }
    }
}

fn room_for_nodes(view: &View<'_>, path: &KeyPath, range: Ipv6Net, findings: &mut Findings<'_, '_>) {
    let nodes = view.count(Role::Master) + view.count(Role::Worker);
    let room = 1_usize << (NODE_POD_PREFIX - range.prefix_len());
    if nodes > room {
        let message = format!("{range} has room for {room} nodes of a /64 each, the cluster has {nodes}");
        findings.value(Code::RangeUnusable, path, message);
    }
}

fn is_special(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || address.to_ipv4_mapped().is_some()
}

/// A gateway is link-local, or a host of its network.
pub(super) fn gateways(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let cluster = view.network.as_ref().map(|net| ("networks.cluster", net.cidr6, net.gateway6));
    let dmz = view.dmz.as_ref().map(|net| ("networks.dmz", net.cidr6, net.gateway6));
    for (table, range, gateway) in cluster.into_iter().chain(dmz) {
        let Some(gateway) = gateway else { continue };
        let path = KeyPath::of(table).key("gateway6");
        match range {
            None if view.is_said(&format!("{table}.cidr6")) => {
                let message = format!("a `gateway6` needs the range `cidr6` in `[{table}]`");
                findings.key(Code::FamilyMismatch, &path, message);
            }
            Some(range)
                if !gateway.is_unicast_link_local()
                    && (!range.contains(&gateway) || gateway == range.network()) =>
            {
                let message =
                    format!("{gateway} is neither link-local nor a host address of {}", range.trunc());
                findings.value(Code::GatewayInvalid, &path, message);
            }
            _ => {}
        }
    }
}

/// Pods and services with both families: all that k3s needs for it is there.
pub(super) fn dual_stack(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let said = view.is_said("cluster.pod_cidr6") && view.is_said("cluster.service_cidr6");
    let Some(cluster) = view.cluster.as_ref().filter(|_| said) else { return };
    let pods = KeyPath::of("cluster.pod_cidr6");
    let services = KeyPath::of("cluster.service_cidr6");
    match (cluster.pod_cidr6, cluster.service_cidr6) {
        (None, None) => return,
        (Some(_), None) => {
            findings.key(Code::DualStack, &pods, "`pod_cidr6` needs `service_cidr6` beside it")
        }
        (None, Some(_)) => {
            findings.key(Code::DualStack, &services, "`service_cidr6` needs `pod_cidr6` beside it")
        }
        (Some(_), Some(_)) => {}
    }
    let path = if cluster.pod_cidr6.is_some() { pods } else { services };
    if cluster.pod_cidr6.is_some() && cluster.service_cidr6.is_some() {
        let message =
            "pods with both families have not been run yet: leave `pod_cidr6` and `service_cidr6` out";
        findings.key(Code::DualStack, &path, message);
    }
    if !cluster.cni.is_flannel() && view.is_sound("cluster.cni") {
        let message = "dual-stack pods are there with flannel only; with Calico or Cilium leave `pod_cidr6` and `service_cidr6` out";
        findings.key(Code::DualStack, &path, message);
    }
    if view.network.as_ref().is_some_and(|network| network.cidr6.is_none())
        && view.is_said("networks.cluster.cidr6")
    {
        let message = "dual-stack pods need nodes with IPv6: give `[networks.cluster]` a `cidr6`";
        findings.key(Code::DualStack, &path, message);
        return;
    }
    for node in view.nodes.iter().filter(|node| !node.is(Role::Proxy) && !node.partial) {
        for leg in node.legs_in(Zone::Cluster).filter(|leg| leg.address6.is_none()) {
            let message =
                format!("`{}` needs an `address6`: its pods have both families", node.entry.hostname);
            findings.key(Code::DualStack, &leg.path.key("address6"), message);
        }
    }
}

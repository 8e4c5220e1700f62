//! Networks, ranges, gateways and pools.

use super::findings::Findings;
use super::view::View;
use crate::cluster::file::{AddressPool, ClusterNetwork};
use crate::code::Code;
use crate::node::Role;
use crate::path::KeyPath;
use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

/// Every node gets a range of this prefix length out of the pod range.
const NODE_POD_PREFIX: u8 = 24;

/// Every range is written with the address it begins with.
pub(super) fn host_bits(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let sources = view.admin.iter().flat_map(|admin| admin.sources.iter().enumerate());
    let sources = sources.map(|(n, range)| (KeyPath::of("admin.sources").index(n), *range));
    let ranges = view.ranges().into_iter().map(|(path, _, range)| (path, IpNet::V4(range)));
    let flows = view.flows.iter().flat_map(|(path, flow)| {
        flow.sources.iter().enumerate().map(|(n, range)| (path.key("sources").index(n), *range))
    });
    for (path, range) in
        ranges.chain(sources).chain(flows).filter(|(_, range)| range.addr() != range.network())
    {
        findings.value(Code::RangeHostBits, &path, format!("{range} begins at {}", range.trunc()));
    }
}

/// Ranges are unicast and of a size that fits their use.
pub(super) fn usable(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for (path, name, range) in view.ranges() {
        if is_special(range.network()) || is_special(range.broadcast()) {
            findings.value(
                Code::RangeUnusable,
                &path,
                format!("{range} cannot be the {name}: it is not unicast"),
            );
        }
        let prefixes: RangeInclusive<u8> = match name {
            "pod range" => 8..=NODE_POD_PREFIX,
            "service range" => 12..=28,
            _ => 8..=30,
        };
        if !prefixes.contains(&range.prefix_len()) {
            let (least, most) = prefixes.into_inner();
            let message = format!("the prefix length of the {name} is from {least} to {most}");
            findings.value(Code::RangeUnusable, &path, message);
        } else if name == "pod range" {
            let nodes = view.count(Role::Master) + view.count(Role::Worker);
            let room = 1_usize << (NODE_POD_PREFIX - range.prefix_len());
            if nodes > room {
                let message =
                    format!("{range} has room for {room} nodes of a /24 each, the cluster has {nodes}");
                findings.value(Code::RangeUnusable, &path, message);
            }
        }
    }
}

fn is_special(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    address.is_loopback() || address.is_link_local() || first == 0 || first >= 224
}

/// No two ranges overlap.
pub(super) fn disjoint(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let ranges = view.ranges();
    for (n, (_, first_name, first)) in ranges.iter().enumerate() {
        for (path, name, range) in ranges.iter().skip(n + 1) {
            if range.contains(first) || first.contains(range) {
                let message = format!("the {name} {range} overlaps the {first_name} {first}");
                findings.value(Code::RangeOverlap, path, message);
            }
        }
    }
}

/// A gateway is a host of its network.
pub(super) fn gateways(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let cluster =
        view.network.as_ref().map(|network| ("networks.cluster.gateway", network.cidr, network.gateway));
    let dmz = view.dmz.as_ref().map(|dmz| ("networks.dmz.gateway", dmz.cidr, dmz.gateway));
    for (path, network, gateway) in cluster.into_iter().chain(dmz) {
        let Some(gateway) = gateway.filter(|gateway| !is_host_of(network, *gateway)) else { continue };
        let message = format!("{gateway} is not a host address of {}", network.trunc());
        findings.value(Code::GatewayInvalid, &KeyPath::of(path), message);
    }
    if view.is_said("networks.cluster.gateway")
        && view.network.as_ref().is_some_and(|network| network.gateway.is_none())
    {
        let message = "without a gateway the nodes reach nothing outside the cluster network";
        findings.key(Code::NoGateway, &KeyPath::of("networks.cluster.gateway"), message);
    }
}

/// Whether an address is inside a network and neither its own nor its broadcast address.
pub(super) fn is_host_of(network: Ipv4Net, address: Ipv4Addr) -> bool {
    network.contains(&address) && address != network.network() && address != network.broadcast()
}

/// What of a pool is somebody's already: the gateway, a DNS server, or an end of the network.
pub(super) fn taken(network: &ClusterNetwork, pool: &AddressPool) -> Vec<String> {
    let range = network.cidr;
    let gateway = network.gateway.map(|gateway| ("gateway".to_owned(), gateway));
    let servers = network.dns.iter().filter_map(|server| match server {
        IpAddr::V4(server) if network.gateway != Some(*server) => Some(("DNS server".to_owned(), *server)),
        _ => None,
    });
    let ends = [
        (format!("network's own address of {}", range.trunc()), range.network()),
        (format!("broadcast address of {}", range.trunc()), range.broadcast()),
    ];
    let all = gateway.into_iter().chain(servers).chain(ends);
    let inside = all.filter(|(_, address)| pool.contains(*address));
    let mut found: Vec<String> =
        inside.map(|(what, address)| format!("{pool} holds {address}, the {what}")).collect();
    found.dedup();
    found
}

/// Pools are inside the cluster network, run forwards, hold nobody's address, and do not overlap.
pub(super) fn pools(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let Some(network) = &view.network else { return };
    for (n, pool) in network.pools.iter().enumerate() {
        let path = KeyPath::of("networks.cluster.pools").index(n);
        if pool.first > pool.last {
            findings.value(Code::PoolInvalid, &path, format!("{pool} ends before it starts"));
        } else if !network.cidr.contains(&pool.first) || !network.cidr.contains(&pool.last) {
            let message = format!("{pool} is not inside the cluster network {}", network.cidr.trunc());
            findings.value(Code::PoolInvalid, &path, message);
        } else {
            for why in taken(network, pool) {
                findings.value(Code::PoolInvalid, &path, why);
            }
        }
        let mut earlier = network.pools.iter().take(n);
        if let Some(other) = earlier.find(|other| other.first <= pool.last && pool.first <= other.last) {
            findings.value(Code::PoolInvalid, &path, format!("{pool} overlaps the pool {other}"));
        }
    }
}

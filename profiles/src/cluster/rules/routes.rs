//! Routes, MTUs and the addresses of networks of their own.

use super::findings::Findings;
use super::view::{NodeView, View};
use crate::cluster::interface::{InterfaceEntry, InterfaceNetwork, RouteEntry};
use crate::code::Code;
use crate::path::KeyPath;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Least MTU that IPv6 takes (RFC 8200, section 5).
const MTU_IPV6_MIN: u16 = 1280;

fn is_v6(net: IpNet) -> bool {
    matches!(net, IpNet::V6(_))
}

fn overlap(a: IpNet, b: IpNet) -> bool {
    is_v6(a) == is_v6(b) && (a.contains(&b.network()) || b.contains(&a.network()))
}

/// Networks that stand on the wire of an interface; `None` of a family that is only known when it runs.
fn on_link(view: &View<'_>, entry: &InterfaceEntry) -> Vec<IpNet> {
    let zone = |cidr: Option<ipnet::Ipv4Net>, cidr6: Option<ipnet::Ipv6Net>| {
        let six = cidr6.filter(|_| entry.address6.is_some()).map(IpNet::V6);
        cidr.map(IpNet::V4).into_iter().chain(six).collect()
    };
    match entry.network {
        Some(InterfaceNetwork::Cluster) => {
            let network = view.network.as_ref();
            zone(network.map(|network| network.cidr), network.and_then(|network| network.cidr6))
        }
        Some(InterfaceNetwork::Dmz) => {
            let dmz = view.dmz.as_ref();
            zone(dmz.map(|dmz| dmz.cidr), dmz.and_then(|dmz| dmz.cidr6))
        }
        Some(InterfaceNetwork::Other) => entry.addresses.clone(),
        None => vec![],
    }
}

/// Addresses in networks of their own are hosts, and their networks are nobody else's.
pub(super) fn others(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let ranges = view.all_ranges();
    for node in &view.nodes {
        let mut earlier: Vec<(IpNet, KeyPath)> = vec![];
        for (entry, path, _) in node.interfaces() {
            for (n, address) in entry.addresses.iter().enumerate() {
                let path = path.key("addresses").index(n);
                if let Some(why) = no_host(*address) {
                    findings.value(Code::AddressReserved, &path, why);
                }
                if let Some((name, range)) = ranges.iter().find(|(_, range)| overlap(*range, *address)) {
                    let message = format!("{} overlaps the {name} {}", address.trunc(), range.trunc());
                    findings.value(Code::RangeOverlap, &path, message);
                } else if let Some((_, first)) = earlier.iter().find(|(other, _)| overlap(*other, *address)) {
                    let first = view.place(first);
                    let message = format!("{} is on another wire already, at {first}", address.trunc());
                    findings.value(Code::RangeOverlap, &path, message);
                }
            }
            let own = entry.addresses.iter().enumerate();
            earlier.extend(own.map(|(n, net)| (*net, path.key("addresses").index(n))));
        }
    }
}

fn no_host(address: IpNet) -> Option<String> {
    let own = address.addr();
    if is_no_destination(own) {
        return Some(format!("{own} cannot be the address of an interface in a network"));
    }
    let message = || format!("{own} is the network's own or broadcast address of {}", address.trunc());
    is_end_of(address, own).then(message)
}

/// An address that names the network or all of its hosts. A network of two addresses or one has none (RFC 3021, RFC 6164).
fn is_end_of(net: IpNet, address: IpAddr) -> bool {
    let has_ends = net.prefix_len() < net.max_prefix_len() - 1;
    has_ends && (address == net.network() || (address == net.broadcast() && !is_v6(net)))
}

/// Every route has a next hop that the interface can reach, and says something that no other one says.
pub(super) fn routes(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for node in &view.nodes {
        let mut seen: BTreeMap<(IpNet, Option<u32>), KeyPath> = BTreeMap::new();
        for (entry, path, top) in node.interfaces() {
            let addresses_known = view.is_sound_at(&path.key("addresses"));
            for (n, route) in entry.routes.iter().enumerate() {
                let path = path.key("routes").index(n);
                destination(view, route, &path, findings);
                if addresses_known {
                    next_hop(view, entry, route, &path, findings);
                }
                default_route(view, node, route, top, &path, findings);
                let key = (route.to.trunc(), route.metric);
                if let Some(first) = seen.get(&key) {
                    let first = view.place(first);
                    let message = format!(
                        "{} has a route at {first} already; give one of them another `metric`",
                        route.to
                    );
                    findings.value(Code::RouteTwice, &path.key("to"), message);
                } else {
                    seen.insert(key, path);
                }
            }
        }
    }
}

fn destination(view: &View<'_>, route: &RouteEntry, path: &KeyPath, findings: &mut Findings<'_, '_>) {
    let path = path.key("to");
    if route.to.addr() != route.to.network() {
        let message = format!("{} begins at {}", route.to, route.to.trunc());
        findings.value(Code::RangeHostBits, &path, message);
    }
    if route.to.prefix_len() != 0 && is_no_destination(route.to.network()) {
        let message = format!("nothing is routed to {}", route.to);
        findings.value(Code::RangeUnusable, &path, message);
        return;
    }
    let inside = |range: &IpNet| is_v6(*range) == is_v6(route.to) && range.contains(&route.to);
    let ranges = view.all_ranges();
    if let Some((name, range)) = ranges.iter().find(|(name, range)| *name != "DMZ" && inside(range)) {
        let message = format!("{} is inside the {name} {}, which needs no route", route.to, range.trunc());
        findings.value(Code::RangeOverlap, &path, message);
    }
}

/// Addresses of no other network: this host, multicast, and of the wire only.
fn is_no_destination(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let first = address.octets()[0];
            address.is_loopback() || address.is_link_local() || first == 0 || first >= 224
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unicast_link_local()
        }
    }
}

fn next_hop(
    view: &View<'_>,
    entry: &InterfaceEntry,
    route: &RouteEntry,
    path: &KeyPath,
    findings: &mut Findings<'_, '_>,
) {
    let Some(via) = route.via else { return };
    let path = path.key("via");
    let family = if via.is_ipv6() { "IPv6" } else { "IPv4" };
    if via.is_ipv6() != is_v6(route.to) {
        let message = format!("{via} is {family}, the destination {} is not", route.to);
        findings.value(Code::FamilyMismatch, &path, message);
        return;
    }
    let asked = entry.dhcp.is_some_and(|dhcp| if via.is_ipv6() { dhcp.six() } else { dhcp.four() });
    if asked || entry.network.is_none() {
        return;
    }
    let nets: Vec<IpNet> =
        on_link(view, entry).into_iter().filter(|net| is_v6(*net) == via.is_ipv6()).collect();
    if nets.is_empty() {
        // Without the network nothing can be said; the family is then missing for another reason.
        if entry.network == Some(InterfaceNetwork::Other) || via.is_ipv6() {
            let message = format!("the interface has no {family} address that could reach {via}");
            findings.value(Code::FamilyMismatch, &path, message);
        }
        return;
    }
    let link_local = matches!(via, IpAddr::V6(via) if via.is_unicast_link_local());
    let own = [entry.address.map(IpAddr::from), entry.address6.map(IpAddr::from)];
    let is_own = own.contains(&Some(via)) || entry.addresses.iter().any(|address| address.addr() == via);
    if is_own {
        let message = format!("{via} is the interface's own address");
        findings.value(Code::RouteUnreachable, &path, message);
    } else if !link_local && !nets.iter().any(|net| net.contains(&via)) {
        let nets: Vec<String> = nets.iter().map(|net| net.trunc().to_string()).collect();
        let message = format!("{via} is not in the network of the interface ({})", nets.join(", "));
        findings.value(Code::RouteUnreachable, &path, message);
    } else if let Some(net) = nets.iter().find(|net| is_end_of(**net, via)) {
        let message = format!("{via} is the network's own or broadcast address of {}", net.trunc());
        findings.value(Code::RouteUnreachable, &path, message);
    }
}

/// A node has one default gateway of each family.
fn default_route(
    view: &View<'_>,
    node: &NodeView,
    route: &RouteEntry,
    top: &str,
    path: &KeyPath,
    findings: &mut Findings<'_, '_>,
) {
    if route.to.prefix_len() != 0 || route.metric.is_some() {
        return;
    }
    let six = is_v6(route.to);
    let in_dmz = node.legs_in(crate::node::Zone::Dmz).next().is_some();
    let network = view.network.as_ref();
    let dmz = view.dmz.as_ref().filter(|_| in_dmz);
    let gateway = if six {
        let dmz = dmz.and_then(|dmz| dmz.gateway6);
        dmz.or(network.and_then(|network| network.gateway6)).map(IpAddr::from)
    } else {
        let dmz = dmz.and_then(|dmz| dmz.gateway);
        dmz.or(network.and_then(|network| network.gateway)).map(IpAddr::from)
    };
    if let Some(gateway) = gateway {
        let message = format!(
            "everything leaves through the gateway {gateway} already, not through `{top}`; a `metric` makes this the second choice"
        );
        findings.value(Code::RouteDefault, &path.key("to"), message);
    }
}

/// An MTU is not above that of the link below, and large enough for what is spoken.
pub(super) fn mtus(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for node in &view.nodes {
        for (entry, path, top) in node.interfaces() {
            let Some((mtu, place)) = said(view, node, top, path) else { continue };
            if mtu < MTU_IPV6_MIN && speaks_v6_above(node, top) && entry.mtu.is_some() {
                let message = format!("IPv6 needs an MTU of {MTU_IPV6_MIN} or more");
                findings.value(Code::MtuIpv6, &place, message);
            }
            let own = node.stack.drafts.iter().filter(|draft| {
                draft.name == top || node.stack.find(top).is_some_and(|above| above.entry == draft.entry)
            });
            let lower = own.flat_map(|draft| draft.kind.lower());
            let mut limits: Vec<(u16, &str)> = lower
                .filter(|name| name.as_str() != top)
                .filter_map(|name| {
                    let (_, path, _) = node.interfaces().find(|(_, _, other)| other == name)?;
                    Some((said(view, node, name, path)?.0, name.as_str()))
                })
                .collect();
            limits.sort_unstable();
            if let Some((limit, name)) = limits.first().filter(|(limit, _)| *limit < mtu) {
                let message = format!("{mtu} is above the MTU {limit} of `{name}`, which carries it");
                findings.value(Code::MtuAboveParent, &place, message);
            }
        }
    }
}

/// The MTU somebody has written for a link that is an entry of its own, and where it shows.
fn said(view: &View<'_>, node: &NodeView, name: &str, path: &KeyPath) -> Option<(u16, KeyPath)> {
    let (entry, ..) = node.interfaces().find(|(_, _, top)| *top == name)?;
    let zone = match entry.network {
        Some(InterfaceNetwork::Cluster) => view.network.as_ref().and_then(|network| network.mtu),
        Some(InterfaceNetwork::Dmz) => view.dmz.as_ref().and_then(|dmz| dmz.mtu),
        _ => None,
    };
    let own = entry.mtu.map(|mtu| (mtu, path.key("mtu")));
    own.or_else(|| zone.map(|mtu| (mtu, path.key("network"))))
}

/// The link, or one above it, speaks IPv6.
fn speaks_v6_above(node: &NodeView, name: &str) -> bool {
    let mut waiting = vec![name];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if !seen.insert(name) {
            continue;
        }
        let speaks = |entry: &InterfaceEntry| {
            entry.address6.is_some()
                || entry.addresses.iter().any(|net| is_v6(*net))
                || entry.dhcp.is_some_and(crate::cluster::interface::Dhcp::six)
        };
        if node.interfaces().any(|(entry, _, top)| top == name && speaks(entry)) {
            return true;
        }
        let above =
            node.stack.drafts.iter().filter(|draft| draft.kind.lower().iter().any(|lower| lower == name));
        waiting.extend(above.map(|draft| draft.name.as_str()));
    }
    false
}

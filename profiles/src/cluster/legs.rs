//! What the links of a node carry: addresses, gateways, routes, DNS, MTU; and its legs in the zones.

use super::file::{ClusterFileV1, NodeEntry};
use super::interface::{InterfaceEntry, RouteEntry};
use super::stack::{Stack, entries};
use crate::network::{Link, Network, NetworkError, Route};
use crate::node::{Interface, Zone};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the file says of one of its networks.
struct ZoneFacts<'f> {
    cidr: Ipv4Net,
    cidr6: Option<Ipv6Net>,
    gateway: Option<Ipv4Addr>,
    gateway6: Option<Ipv6Addr>,
    dns: &'f [IpAddr],
    mtu_bytes: Option<u16>,
}

/// The network of a zone as this node uses it: it has one default gateway of each family, in the DMZ, where the outside is,
/// if there is one.
fn facts_of<'f>(file: &'f ClusterFileV1, node: &NodeEntry, zone: Zone) -> ZoneFacts<'f> {
    let has_dmz_leg = address_in(node, Zone::Dmz).is_some();
    let dmz = file.networks.dmz.as_ref();
    let dmz_gateway = dmz.and_then(|dmz| dmz.gateway).filter(|_| has_dmz_leg);
    let dmz_gateway6 = dmz.and_then(|dmz| dmz.gateway6).filter(|_| address6_in(node, Zone::Dmz).is_some());
    match (zone, dmz) {
        (Zone::Dmz, Some(dmz)) => ZoneFacts {
            cidr: dmz.cidr,
            cidr6: dmz.cidr6,
            gateway: dmz_gateway,
            gateway6: dmz_gateway6,
            dns: &dmz.dns,
            mtu_bytes: dmz.mtu,
        },
        _ => {
            let cluster = &file.networks.cluster;
            ZoneFacts {
                cidr: cluster.cidr,
                cidr6: cluster.cidr6,
                gateway: cluster.gateway.filter(|_| dmz_gateway.is_none()),
                gateway6: cluster.gateway6.filter(|_| dmz_gateway6.is_none()),
                dns: &cluster.dns,
                mtu_bytes: cluster.mtu,
            }
        }
    }
}

fn zone_of(entry: &InterfaceEntry) -> Option<Zone> {
    entry.network.and_then(super::interface::InterfaceNetwork::zone)
}

/// The address of a node in a zone.
pub(super) fn address_in(node: &NodeEntry, zone: Zone) -> Option<Ipv4Addr> {
    entries(node).iter().find(|entry| zone_of(entry) == Some(zone))?.address
}

/// The IPv6 address of a node in a zone.
pub(super) fn address6_in(node: &NodeEntry, zone: Zone) -> Option<Ipv6Addr> {
    entries(node).iter().find(|entry| zone_of(entry) == Some(zone))?.address6
}

/// All links of a node, with what they carry.
pub(super) fn network(file: &ClusterFileV1, node: &NodeEntry) -> Result<Network, NetworkError> {
    let entries = entries(node);
    let stack = Stack::of(&entries);
    let mut links = stack.links(&entries);
    let domain = file.cluster.domain.clone().unwrap_or_else(|| format!("{}.internal", file.cluster.name));
    for (entry, top) in entries.iter().zip(&stack.tops) {
        let Some(link) = links.iter_mut().find(|link| link.name == *top) else { continue };
        if entry.mtu.is_some() {
            link.mtu_bytes = entry.mtu;
        }
        if let Some(zone) = zone_of(entry) {
            stand_in(link, entry, &facts_of(file, node, zone));
        }
        link.addresses.extend(&entry.addresses);
        link.dhcp4 = entry.dhcp.is_some_and(super::interface::Dhcp::four);
        link.auto6 = entry.dhcp.is_some_and(super::interface::Dhcp::six);
        link.routes.extend(entry.routes.iter().map(route));
        let more = entry.dns.iter().filter(|dns| !link.dns.contains(dns)).copied().collect::<Vec<_>>();
        link.dns.extend(more);
        if link.is_addressed() {
            link.domains = vec![domain.clone()];
        }
    }
    Ok(Network::new(links)?.with_room_for_mtu())
}

fn stand_in(link: &mut Link, entry: &InterfaceEntry, facts: &ZoneFacts<'_>) {
    let four = entry.address.map(|address| IpNet::V4(with_prefix(address, facts.cidr)));
    let six = entry.address6.zip(facts.cidr6).map(|(address, cidr)| IpNet::V6(with_prefix6(address, cidr)));
    link.addresses.extend(four.into_iter().chain(six));
    link.gateway = facts.gateway;
    link.gateway6 = facts.gateway6.filter(|_| six.is_some());
    link.dns = facts.dns.to_vec();
    link.mtu_bytes = facts.mtu_bytes;
}

fn with_prefix(address: Ipv4Addr, cidr: Ipv4Net) -> Ipv4Net {
    Ipv4Net::new(address, cidr.prefix_len()).unwrap_or(cidr)
}

fn with_prefix6(address: Ipv6Addr, cidr: Ipv6Net) -> Ipv6Net {
    Ipv6Net::new(address, cidr.prefix_len()).unwrap_or(cidr)
}

fn route(entry: &RouteEntry) -> Route {
    Route { to: entry.to.trunc(), via: entry.via, metric: entry.metric }
}

/// The legs of a node in the zones, in the order of the file.
pub(super) fn interfaces(file: &ClusterFileV1, node: &NodeEntry, network: &Network) -> Vec<Interface> {
    let entries = entries(node);
    let stack = Stack::of(&entries);
    let leg = |(entry, name): (&InterfaceEntry, &String)| {
        let zone = zone_of(entry)?;
        let facts = facts_of(file, node, zone);
        let link = network.link(name)?;
        Some(Interface {
            name: name.clone(),
            zone,
            mac: network.mac_of(name),
            address: with_prefix(entry.address?, facts.cidr),
            address6: entry.address6.zip(facts.cidr6).map(|(address, cidr)| with_prefix6(address, cidr)),
            gateway: link.gateway,
            gateway6: link.gateway6,
            dns: link.dns.clone(),
            mtu_bytes: link.mtu_bytes,
        })
    };
    entries.iter().zip(&stack.tops).filter_map(leg).collect()
}

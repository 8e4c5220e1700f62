//! Addresses of nodes and virtual addresses.

use super::findings::Findings;
use super::ranges::is_host_of;
use super::view::{Leg, View};
use crate::code::Code;
use crate::node::Zone;
use crate::path::KeyPath;
use std::net::{IpAddr, Ipv4Addr};

/// Every node has one address of a family per network, and nobody else has it.
pub(super) fn legs(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let legs = || view.nodes.iter().flat_map(|node| &node.legs);
    let four = legs().filter_map(|leg| Some((IpAddr::from(leg.address?), leg.path.key("address"))));
    let six = legs().filter_map(|leg| Some((IpAddr::from(leg.address6?), leg.path.key("address6"))));
    findings.unique(Code::AddressDuplicate, four.chain(six).chain(others(view)));
    for leg in legs() {
        four_inside(view, leg, findings);
        six_inside(view, leg, findings);
    }
    for node in &view.nodes {
        let entry = &node.entry;
        let short = entry.mac.is_some() || entry.address.is_some() || entry.address6.is_some();
        if !entry.interfaces.is_empty() && short {
            let message =
                "`mac` and `address` of a node are the short form of `interfaces`: use one of the two";
            findings.key(Code::InterfaceTwice, &node.path.key("interfaces"), message);
            continue;
        }
        for zone in [Zone::Cluster, Zone::Dmz] {
            for leg in node.legs_in(zone).skip(1) {
                let message = format!("`{}` has a leg in this network already", entry.hostname);
                findings.value(Code::InterfaceTwice, &leg.path.key("network"), message);
            }
        }
    }
}

/// Addresses in networks of their own.
fn others(view: &View<'_>) -> impl Iterator<Item = (IpAddr, KeyPath)> {
    let interfaces = view.nodes.iter().flat_map(|node| node.interfaces());
    interfaces.flat_map(|(entry, path, _)| {
        let path = path.key("addresses");
        entry.addresses.iter().enumerate().map(move |(n, address)| (address.addr(), path.index(n)))
    })
}

fn four_inside(view: &View<'_>, leg: &Leg, findings: &mut Findings<'_, '_>) {
    let Some(address) = leg.address else { return };
    let path = leg.path.key("address");
    match leg.zone {
        Zone::Cluster => {
            if let Some(network) = &view.network {
                inside(findings, &path, address, ("cluster network", network.cidr, network.gateway));
            }
            if let Some(pool) = pool_with(view, address) {
                let message = format!("{address} is inside the pool {pool}");
                findings.value(Code::AddressInPool, &path, message);
            }
        }
        Zone::Dmz => {
            if let Some(dmz) = &view.dmz {
                inside(findings, &path, address, ("DMZ", dmz.cidr, dmz.gateway));
            }
        }
    }
}

fn six_inside(view: &View<'_>, leg: &Leg, findings: &mut Findings<'_, '_>) {
    let Some(address) = leg.address6 else { return };
    let path = leg.path.key("address6");
    let (name, key, range, gateway) = match leg.zone {
        Zone::Cluster => {
            let Some(network) = &view.network else { return };
            ("cluster network", "networks.cluster", network.cidr6, network.gateway6)
        }
        Zone::Dmz => {
            let Some(dmz) = &view.dmz else { return };
            ("DMZ", "networks.dmz", dmz.cidr6, dmz.gateway6)
        }
    };
    let Some(range) = range else {
        if view.is_said(&format!("{key}.cidr6")) {
            let message = format!("the {name} has no IPv6 range; give it one with `cidr6` in `[{key}]`");
            findings.value(Code::FamilyMismatch, &path, message);
        }
        return;
    };
    if !range.contains(&address) {
        let message = format!("{address} is not inside the {name} {}", range.trunc());
        findings.value(Code::AddressOutside, &path, message);
    } else if address == range.network() {
        let message = format!("{address} is the routers' own address of {}", range.trunc());
        findings.value(Code::AddressReserved, &path, message);
    } else if gateway == Some(address) {
        findings.value(Code::AddressReserved, &path, format!("{address} is the gateway of the {name}"));
    }
}

fn inside(
    findings: &mut Findings<'_, '_>,
    path: &KeyPath,
    address: Ipv4Addr,
    (name, range, gateway): (&str, ipnet::Ipv4Net, Option<Ipv4Addr>),
) {
    if !range.contains(&address) {
        let message = format!("{address} is not inside the {name} {}", range.trunc());
        findings.value(Code::AddressOutside, path, message);
    } else if !is_host_of(range, address) {
        let message = format!("{address} is the network's own or broadcast address of {}", range.trunc());
        findings.value(Code::AddressReserved, path, message);
    } else if gateway == Some(address) {
        findings.value(Code::AddressReserved, path, format!("{address} is the gateway of the {name}"));
    }
}

fn pool_with(view: &View<'_>, address: Ipv4Addr) -> Option<String> {
    let pools = view.network.iter().flat_map(|network| &network.pools);
    pools.into_iter().find(|pool| pool.contains(address)).map(ToString::to_string)
}

/// Virtual addresses are in the cluster network, and nobody else has them.
pub(super) fn virtual_ones(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let vips = view.vips();
    for (key, vip) in &vips {
        let path = KeyPath::of("cluster").key(key);
        if let Some(network) = &view.network {
            let range = network.cidr.trunc();
            if !range.contains(vip) {
                let message = format!("{vip} is not inside the cluster network {range}");
                findings.value(Code::VipOutside, &path, message);
            } else if !is_host_of(range, *vip) {
                let message = format!("{vip} is the network's own or broadcast address of {range}");
                findings.value(Code::VipReserved, &path, message);
            } else if network.gateway == Some(*vip) {
                findings.value(
                    Code::VipReserved,
                    &path,
                    format!("{vip} is the gateway of the cluster network"),
                );
            }
        }
        for node in view.nodes.iter().filter(|node| node.has_address(*vip)) {
            let message = format!("{vip} is the address of the node `{}`", node.entry.hostname);
            findings.value(Code::VipIsNode, &path, message);
        }
        if let Some(pool) = pool_with(view, *vip) {
            findings.value(Code::VipInPool, &path, format!("{vip} is inside the pool {pool}"));
        }
    }
    if let [(_, api), (_, proxy)] = vips.as_slice()
        && api == proxy
    {
        let path = KeyPath::of("cluster.proxy_vip");
        findings.value(Code::VipDuplicate, &path, format!("{proxy} is also the `api_vip`"));
    }
}

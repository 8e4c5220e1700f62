//! Addresses of nodes and virtual addresses.

use super::findings::Findings;
use super::ranges::is_host_of;
use super::view::View;
use crate::code::Code;
use crate::node::Zone;
use crate::path::KeyPath;
use std::net::Ipv4Addr;

/// Every node has one address per network, and nobody else has it.
pub(super) fn legs(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let legs = || view.nodes.iter().flat_map(|node| &node.legs);
    findings.unique(Code::AddressDuplicate, legs().map(|leg| (leg.address, leg.path.key("address"))));
    for leg in legs() {
        let path = leg.path.key("address");
        match leg.zone {
            Zone::Cluster => {
                if let Some(network) = &view.network {
                    inside(findings, &path, leg.address, ("cluster network", network.cidr, network.gateway));
                }
                if let Some(pool) = pool_with(view, leg.address) {
                    let message = format!("{} is inside the pool {pool}", leg.address);
                    findings.value(Code::AddressInPool, &path, message);
                }
            }
            Zone::Dmz => {
                if let Some(dmz) = &view.dmz {
                    inside(findings, &path, leg.address, ("DMZ", dmz.cidr, dmz.gateway));
                }
            }
        }
    }
    for node in &view.nodes {
        let entry = &node.entry;
        if !entry.interfaces.is_empty() && (entry.mac.is_some() || entry.address.is_some()) {
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
        for node in view.nodes.iter().filter(|node| node.legs.iter().any(|leg| leg.address == *vip)) {
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

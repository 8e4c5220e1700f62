//! Which addresses a group stands for.

use super::model::{Group, NodeKind};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use profiles::node::{ClusterFacts, NodeConfig, Peer, RoleConfig};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that are of one link only.
pub(super) const LINK_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);

pub(super) fn services(facts: &ClusterFacts) -> Vec<IpNet> {
    let six = facts.ipv6.kubernetes.as_ref().map(|both| both.service_cidr);
    of_both(facts.service_cidr, six).collect()
}

/// A range in each family it has.
fn of_both(four: impl Into<Option<Ipv4Net>>, six: Option<Ipv6Net>) -> impl Iterator<Item = IpNet> {
    four.into().map(IpNet::V4).into_iter().chain(six.map(IpNet::V6))
}

/// The addresses of a group, sorted, IPv4 first; of a zone without a fixed range everything.
pub(super) fn members(node: &NodeConfig, group: Group) -> Vec<IpNet> {
    let facts = &node.cluster;
    let six = &facts.ipv6;
    let peers = |wanted: &dyn Fn(NodeKind) -> bool| -> Vec<IpNet> {
        let peers = node.peers.iter().filter(|peer| wanted(NodeKind::of_peer(peer)));
        peers.flat_map(cluster_addresses).map(IpNet::from).collect()
    };
    let hosts = |addresses: &[Ipv4Addr]| -> Vec<IpNet> {
        addresses.iter().map(|address| IpNet::from(IpAddr::V4(*address))).collect()
    };
    let features = &facts.firewall.features;
    let mut members: Vec<IpNet> = match group {
        Group::Masters => peers(&|kind| kind == NodeKind::Master),
        Group::Workers => peers(&|kind| kind == NodeKind::Worker),
        Group::Nodes => peers(&NodeKind::runs_pods),
        Group::InternalProxies => peers(&|kind| kind == NodeKind::InternalProxy),
        Group::DmzProxies => peers(&|kind| kind == NodeKind::DmzProxy),
        Group::VrrpPeers => match &node.role {
            RoleConfig::Proxy(proxy) => proxy.vrrp.iter().flat_map(|vrrp| hosts(&vrrp.peers)).collect(),
            RoleConfig::Master { .. } | RoleConfig::Worker {} => vec![],
        },
        Group::Admin => facts.admin_sources.clone(),
        Group::Cluster => of_both(facts.cluster_network, six.cluster_network).collect(),
        Group::Dmz => of_both(facts.dmz_network, six.dmz_network).collect(),
        Group::Wan => {
            let speaks_six = six.cluster_network.is_some() || six.dmz_network.is_some();
            of_both(Ipv4Net::default(), speaks_six.then(Ipv6Net::default)).collect()
        }
        Group::Pods => of_both(facts.pod_cidr, six.kubernetes.as_ref().map(|both| both.pod_cidr)).collect(),
        Group::RemoteNodes => features.clustermesh.iter().flat_map(|mesh| hosts(&mesh.nodes)).collect(),
        Group::BgpRouters => hosts(&features.bgp_routers),
        Group::ApiRouters => features.kube_vip_bgp.iter().flat_map(|bgp| hosts(&bgp.routers)).collect(),
    };
    members.sort();
    members.dedup();
    members
}

/// The addresses of a node on the cluster network.
pub(super) fn cluster_addresses(peer: &Peer) -> impl Iterator<Item = IpAddr> + use<> {
    [IpAddr::V4(peer.cluster_address)].into_iter().chain(peer.cluster_address6.map(IpAddr::V6))
}

/// Nobody of these although the group has them: a DMZ proxy is trusted with nothing but its own flows, and what is
/// inside is not outside; a link-local address is on the wire itself.
pub(super) fn exceptions(node: &NodeConfig, group: Group) -> Vec<IpNet> {
    match group {
        Group::Admin | Group::Cluster => members(node, Group::DmzProxies),
        Group::Wan => {
            let zones = [Group::Cluster, Group::Dmz, Group::Pods].map(|zone| members(node, zone));
            let mut inside: Vec<IpNet> = zones.concat();
            inside.extend(services(&node.cluster));
            if inside.iter().any(|range| matches!(range, IpNet::V6(_))) {
                inside.push(IpNet::V6(LINK_LOCAL));
            }
            inside.sort();
            inside
        }
        _ => vec![],
    }
}

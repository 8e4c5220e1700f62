//! What a node itself may open: the other side of the flows of the other nodes, names and time. Always for a DMZ proxy,
//! elsewhere when the operator asks for it.

use super::groups::{cluster_addresses, members};
use super::model::{Egress, Flow, Group, Leg, NodeKind, Service, Target};
use super::{builtin, operator};
use ipnet::{IpNet, Ipv4Subnets};
use profiles::firewall::PortSpec;
use profiles::node::NodeConfig;
use std::collections::BTreeSet;
use std::net::IpAddr;

const DNS_PORT: u16 = 53;
const NTP_PORT: u16 = 123;
const BGP_PORT: u16 = 179;

/// By id. `None`: the node may open anything.
pub(super) fn flows(node: &NodeConfig, kind: NodeKind) -> Option<Vec<Egress>> {
    if kind != NodeKind::DmzProxy && !node.cluster.firewall.egress {
        return None;
    }
    let mut list: Vec<Egress> = NodeKind::ALL.into_iter().flat_map(|peer| to_peers(node, peer)).collect();
    list.extend(names_and_time(node));
    if kind == NodeKind::InternalProxy {
        add(
            &mut list,
            "vrrp-to-peers",
            members(node, Group::VrrpPeers),
            Service::Vrrp,
            "keepalived agrees who holds the proxy VIP",
        );
    }
    if kind.runs_pods() {
        for (id, routers) in
            [("bgp-to-routers", Group::BgpRouters), ("bgp-to-api-routers", Group::ApiRouters)]
        {
            let wanted = routers == Group::BgpRouters || kind == NodeKind::Master;
            let routers = if wanted { members(node, routers) } else { vec![] };
            add(&mut list, id, routers, Service::tcp(&[BGP_PORT]), "nodes announce addresses to the routers");
        }
        let mesh = node.cluster.firewall.features.clustermesh.is_some();
        let remote = if mesh { members(node, Group::RemoteNodes) } else { vec![] };
        let any = |first: PortSpec| PortSpec { last: u16::MAX, ..first };
        let service = Service::Ports(vec![any(PortSpec::tcp(1)), any(PortSpec::udp(1))]);
        add(
            &mut list,
            "clustermesh-to-remote-nodes",
            remote,
            service,
            "the ports of the other cluster are its own to say",
        );
    }
    list.sort_by(|a, b| a.id.cmp(&b.id));
    Some(list)
}

fn add(list: &mut Vec<Egress>, id: &str, destinations: Vec<IpNet>, service: Service, why: &str) {
    if !destinations.is_empty() {
        list.push(Egress { id: id.to_owned(), destinations, service, why: why.to_owned() });
    }
}

/// What nodes of that kind let in from this one, over each family in which they let it in.
fn to_peers(node: &NodeConfig, kind: NodeKind) -> Vec<Egress> {
    let Some(leg) = node.cluster_interface() else { return vec![] };
    let mut flows = builtin::flows(node, kind);
    flows.extend(operator::flows(node, kind));
    let lets_in = |flow: &Flow, own: IpAddr| {
        let listed = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&own));
        flow.leg == Leg::Cluster && listed(&flow.sources) && !listed(&flow.except)
    };
    let egress = |flow: &Flow| Egress {
        id: format!("{kind}-{}", flow.id),
        destinations: leg
            .addresses()
            .filter(|own| lets_in(flow, *own))
            .flat_map(|own| destinations(node, kind, flow, own))
            .collect(),
        service: flow.service.clone(),
        why: flow.why.clone(),
    };
    flows.iter().map(egress).filter(|egress| !egress.destinations.is_empty()).collect()
}

/// Where such nodes answer, in the family of our own address.
fn destinations(node: &NodeConfig, kind: NodeKind, flow: &Flow, own: IpAddr) -> Vec<IpNet> {
    if flow.target == Target::LoadBalancer {
        let pools = node.cluster.firewall.features.metallb.iter().flat_map(|lb| &lb.pools);
        return pools
            .filter(|_| own.is_ipv4())
            .flat_map(|pool| Ipv4Subnets::new(pool.first, pool.last, 0))
            .map(IpNet::V4)
            .collect();
    }
    let peers = node.peers.iter().filter(|peer| NodeKind::of_peer(peer) == kind);
    let theirs = peers.flat_map(cluster_addresses).filter(|address| *address != own);
    let virtual_one = match kind {
        NodeKind::Master => node.cluster.api_vip,
        NodeKind::InternalProxy => node.cluster.proxy_vip,
        NodeKind::Worker | NodeKind::DmzProxy => None,
    };
    let all = theirs.chain(virtual_one.map(IpAddr::V4));
    let found: BTreeSet<IpNet> = all.filter(|to| to.is_ipv4() == own.is_ipv4()).map(IpNet::from).collect();
    found.into_iter().collect()
}

fn names_and_time(node: &NodeConfig) -> Vec<Egress> {
    let mut list = vec![];
    let dns: BTreeSet<IpNet> =
        node.network.links().iter().flat_map(|link| &link.dns).map(|server| IpNet::from(*server)).collect();
    let both = Service::Ports(vec![PortSpec::tcp(DNS_PORT), PortSpec::udp(DNS_PORT)]);
    add(&mut list, "dns", dns.into_iter().collect(), both, "names, from the servers of the cluster file");
    // A server known by name only, or Debian's pool, can be anywhere.
    let servers: Option<BTreeSet<IpNet>> = node
        .cluster
        .ntp_servers
        .iter()
        .map(|server| server.parse::<IpAddr>().ok().map(IpNet::from))
        .collect();
    let servers = servers.filter(|servers| !servers.is_empty());
    let servers = servers.map_or_else(|| members(node, Group::Wan), |servers| servers.into_iter().collect());
    let ntp = Service::Ports(vec![PortSpec::udp(NTP_PORT)]);
    add(&mut list, "ntp", servers, ntp, "time, from the servers of the cluster file or from Debian's pool");
    list
}

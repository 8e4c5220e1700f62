//! What a node itself may open: the other side of the flows of the other nodes, names and time. Always for a DMZ proxy,
//! elsewhere when the operator asks for it.

use super::model::{Egress, Flow, Group, Leg, NodeKind, Service, Target, members};
use super::{builtin, operator};
use ipnet::{Ipv4Net, Ipv4Subnets};
use profiles::firewall::PortSpec;
use profiles::node::NodeConfig;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

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

fn add(list: &mut Vec<Egress>, id: &str, destinations: Vec<Ipv4Net>, service: Service, why: &str) {
    if !destinations.is_empty() {
        list.push(Egress { id: id.to_owned(), destinations, service, why: why.to_owned() });
    }
}

/// What nodes of that kind let in from this one.
fn to_peers(node: &NodeConfig, kind: NodeKind) -> Vec<Egress> {
    let Some(own) = node.cluster_interface().map(|interface| interface.address.addr()) else { return vec![] };
    let mut flows = builtin::flows(node, kind);
    flows.extend(operator::flows(node, kind));
    let lets_us_in = |flow: &&Flow| {
        let listed = |nets: &[Ipv4Net]| nets.iter().any(|net| net.contains(&own));
        flow.leg == Leg::Cluster && listed(&flow.sources) && !listed(&flow.except)
    };
    let egress = |flow: &Flow| Egress {
        id: format!("{kind}-{}", flow.id),
        destinations: destinations(node, kind, flow, own),
        service: flow.service.clone(),
        why: flow.why.clone(),
    };
    flows.iter().filter(lets_us_in).map(egress).filter(|egress| !egress.destinations.is_empty()).collect()
}

fn destinations(node: &NodeConfig, kind: NodeKind, flow: &Flow, own: Ipv4Addr) -> Vec<Ipv4Net> {
    if flow.target == Target::LoadBalancer {
        let metallb = node.cluster.firewall.features.metallb.iter();
        return metallb
            .flat_map(|lb| &lb.pools)
            .flat_map(|pool| Ipv4Subnets::new(pool.first, pool.last, 0))
            .collect();
    }
    let peers = node.peers.iter().filter(|peer| NodeKind::of_peer(peer) == kind);
    let mut found: BTreeSet<Ipv4Net> =
        peers.map(|peer| peer.cluster_address).filter(|address| *address != own).map(Ipv4Net::from).collect();
    let virtual_one = match kind {
        NodeKind::Master => node.cluster.api_vip,
        NodeKind::InternalProxy => node.cluster.proxy_vip,
        NodeKind::Worker | NodeKind::DmzProxy => None,
    };
    found.extend(virtual_one.map(Ipv4Net::from));
    found.into_iter().collect()
}

fn names_and_time(node: &NodeConfig) -> Vec<Egress> {
    let mut list = vec![];
    let dns = node.interfaces.iter().flat_map(|leg| &leg.dns);
    let dns: BTreeSet<Ipv4Net> = dns
        .filter_map(|dns| match dns {
            IpAddr::V4(dns) => Some(Ipv4Net::from(*dns)),
            IpAddr::V6(_) => None,
        })
        .collect();
    let both = Service::Ports(vec![PortSpec::tcp(DNS_PORT), PortSpec::udp(DNS_PORT)]);
    add(&mut list, "dns", dns.into_iter().collect(), both, "names, from the servers of the cluster file");
    // A server known by name only, or Debian's pool, can be anywhere.
    let servers: Option<BTreeSet<Ipv4Net>> = node
        .cluster
        .ntp_servers
        .iter()
        .map(|server| server.parse::<Ipv4Addr>().ok().map(Ipv4Net::from))
        .collect();
    let servers = servers.filter(|servers| !servers.is_empty());
    let servers = servers.map_or_else(|| vec![Ipv4Net::default()], |servers| servers.into_iter().collect());
    let ntp = Service::Ports(vec![PortSpec::udp(NTP_PORT)]);
    add(&mut list, "ntp", servers, ntp, "time, from the servers of the cluster file or from Debian's pool");
    list
}

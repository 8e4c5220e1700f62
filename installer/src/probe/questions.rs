//! What is asked for a node: pure, from the node config.

use ipnet::IpNet;
use profiles::node::{Interface, NodeConfig, ProxyPlacement, Role, RoleConfig, Zone};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// An Ethernet leg without a setting of its own.
const DEFAULT_MTU_BYTES: u16 = 1500;

/// What an address on the cluster network is, of which this node is not the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchedRole {
    /// Held by one of the masters once the cluster runs.
    ApiVip,
    /// Held by one of the internal proxies.
    ProxyVip,
    /// Another master.
    Master,
    /// Another internal proxy.
    InternalProxy,
}

/// An address somebody else may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The address.
    pub address: IpAddr,
    /// What it is.
    pub role: WatchedRole,
    /// Host name of its owner, where it has one.
    pub hostname: Option<String>,
}

/// What is asked at one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegQuestions {
    /// Name of the leg on the installed node.
    pub leg: String,
    /// True for the leg on the cluster network.
    pub is_cluster: bool,
    /// Addresses of this node there, with their networks; none for DHCP.
    pub own: Vec<IpNet>,
    /// Gateways of this leg.
    pub gateways: Vec<IpAddr>,
    /// DNS servers of this leg.
    pub dns: Vec<IpAddr>,
    /// Size of the packets that must reach the gateway.
    pub mtu_bytes: u16,
    /// VIPs, and who may hold them.
    pub watched: Vec<Watched>,
}

impl LegQuestions {
    /// Addresses of this node.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.own.iter().map(IpNet::addr)
    }

    /// True when no gateway is needed to reach it.
    pub fn is_on_link(&self, address: IpAddr) -> bool {
        self.own.iter().any(|network| network.contains(&address))
    }

    /// Everybody who can be asked for without a gateway.
    pub(super) fn all_on_link(&self) -> BTreeSet<IpAddr> {
        let watched = self.watched.iter().map(|w| w.address);
        let dns = self.dns.iter().copied().filter(|server| self.is_on_link(*server));
        self.own_addresses().chain(watched).chain(self.gateways.iter().copied()).chain(dns).collect()
    }
}

/// The questions of a node, one entry for each leg in the order of the node config.
pub fn questions_of(node: &NodeConfig) -> Vec<LegQuestions> {
    let cluster = node.cluster_interface().map(|leg| leg.name.as_str());
    node.interfaces
        .iter()
        .map(|interface| {
            let is_cluster = Some(interface.name.as_str()) == cluster;
            let watched = if is_cluster { watched_by(node) } else { Vec::new() };
            leg_questions(interface, is_cluster, watched)
        })
        .collect()
}

fn leg_questions(interface: &Interface, is_cluster: bool, watched: Vec<Watched>) -> LegQuestions {
    LegQuestions {
        leg: interface.name.clone(),
        is_cluster: is_cluster && interface.zone == Zone::Cluster,
        own: [IpNet::V4(interface.address)].into_iter().chain(interface.address6.map(IpNet::V6)).collect(),
        gateways: interface.gateways().collect(),
        dns: interface.dns.clone(),
        mtu_bytes: interface.mtu_bytes.unwrap_or(DEFAULT_MTU_BYTES),
        watched,
    }
}

/// The VIPs with the nodes that may hold them. A VIP is told from a stranger's by its Ethernet address: kube-vip and keepalived
/// answer with that of the card, the same as for the node's own address.
fn watched_by(node: &NodeConfig) -> Vec<Watched> {
    let cluster = &node.cluster;
    let vip = |address: Option<std::net::Ipv4Addr>, role| {
        address.map(|address| Watched { address: address.into(), role, hostname: None })
    };
    let mut watched: Vec<Watched> = Vec::new();
    watched.extend(vip(cluster.api_vip, WatchedRole::ApiVip));
    watched.extend(vip(cluster.proxy_vip, WatchedRole::ProxyVip));
    for peer in node.peers.iter().filter(|peer| peer.hostname != node.hostname) {
        let role = match (peer.role, peer.placement) {
            (Role::Master, _) => WatchedRole::Master,
            (Role::Proxy, Some(ProxyPlacement::Internal)) => WatchedRole::InternalProxy,
            _ => continue,
        };
        watched.push(Watched {
            address: peer.cluster_address.into(),
            role,
            hostname: Some(peer.hostname.clone()),
        });
    }
    watched
}

/// True for a node that needs the running cluster: it joins, it does not form it.
pub(super) fn joins(node: &NodeConfig) -> bool {
    !matches!(node.role, RoleConfig::Master { forms_cluster: true } | RoleConfig::Proxy(_))
}

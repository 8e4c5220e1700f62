//! The types of the model, and how a node config becomes one.

use super::routing::Routes;
use super::{builtin, egress, operator};
use crate::render::RenderError;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use profiles::cluster::file::AddressPool;
use profiles::firewall::{FlowFrom, FlowTo, PortSpec};
use profiles::node::{
    ClusterFacts, Cni, Interface, NodeConfig, Peer, ProxyPlacement, Role, RoleConfig, Zone,
};
use serde::Serialize;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that are of one link only.
pub(super) const LINK_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);

/// What a node is to the firewall: its role, and for a proxy where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// k3s server.
    Master,
    /// k3s agent.
    Worker,
    /// Proxy on the cluster network.
    InternalProxy,
    /// Proxy in the DMZ.
    DmzProxy,
}

impl NodeKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Master, Self::Worker, Self::InternalProxy, Self::DmzProxy];

    /// The kind of a node of the cluster.
    pub fn of_peer(peer: &Peer) -> Self {
        match (peer.role, peer.placement) {
            (Role::Master, _) => Self::Master,
            (Role::Worker, _) => Self::Worker,
            (Role::Proxy, Some(ProxyPlacement::Dmz)) => Self::DmzProxy,
            (Role::Proxy, _) => Self::InternalProxy,
        }
    }

    /// The kind of this node.
    pub fn of(node: &NodeConfig) -> Self {
        match &node.role {
            RoleConfig::Master { .. } => Self::Master,
            RoleConfig::Worker {} => Self::Worker,
            RoleConfig::Proxy(proxy) if proxy.placement == ProxyPlacement::Dmz => Self::DmzProxy,
            RoleConfig::Proxy(_) => Self::InternalProxy,
        }
    }

    /// Masters and workers run pods; proxies do not.
    pub fn runs_pods(self) -> bool {
        matches!(self, Self::Master | Self::Worker)
    }

    /// Whether a flow of the cluster file is to nodes of this kind.
    pub fn is(self, to: FlowTo) -> bool {
        match to {
            FlowTo::Master => self == Self::Master,
            FlowTo::Worker => self == Self::Worker,
            FlowTo::InternalProxy => self == Self::InternalProxy,
            FlowTo::DmzProxy => self == Self::DmzProxy,
            // Any node that runs pods can come to hold the address.
            FlowTo::LoadBalancer => self.runs_pods(),
        }
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Worker => "worker",
            Self::InternalProxy => "internal-proxy",
            Self::DmzProxy => "dmz-proxy",
        })
    }
}

/// Where a packet comes from or goes to on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leg {
    /// The interface on the cluster network.
    Cluster,
    /// The interface in the DMZ.
    Dmz,
    /// The interfaces of the container network.
    Pods,
    /// Any other interface, in a network of its own: no flow lets anything in there.
    Other,
}

/// A group of sources with a name. All nodes of a cluster agree on who is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Masters.
    Masters,
    /// Workers.
    Workers,
    /// Masters and workers.
    Nodes,
    /// Internal proxies.
    InternalProxies,
    /// DMZ proxies, on the cluster network.
    DmzProxies,
    /// The other internal proxies.
    VrrpPeers,
    /// Where operators come from.
    Admin,
    /// The cluster network.
    Cluster,
    /// The DMZ network.
    Dmz,
    /// Everything outside.
    Wan,
    /// Pods.
    Pods,
    /// The nodes of the other cluster of a ClusterMesh.
    RemoteNodes,
    /// Routers that speak BGP with the container network.
    BgpRouters,
    /// Routers that learn the API address by BGP.
    ApiRouters,
}

impl Group {
    /// Name of its set in the table, and its name in what is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Masters => "masters",
            Self::Workers => "workers",
            Self::Nodes => "nodes",
            Self::InternalProxies => "internal_proxies",
            Self::DmzProxies => "dmz_proxies",
            Self::VrrpPeers => "vrrp_peers",
            Self::Admin => "admin",
            Self::Cluster => "cluster",
            Self::Dmz => "dmz",
            Self::Wan => "wan",
            Self::Pods => "pods",
            Self::RemoteNodes => "remote_nodes",
            Self::BgpRouters => "bgp_routers",
            Self::ApiRouters => "api_routers",
        }
    }
}

impl From<FlowFrom> for Group {
    fn from(from: FlowFrom) -> Self {
        match from {
            FlowFrom::Cluster => Self::Cluster,
            FlowFrom::Dmz => Self::Dmz,
            FlowFrom::Wan => Self::Wan,
            FlowFrom::Admin => Self::Admin,
            FlowFrom::Pods => Self::Pods,
            FlowFrom::Master => Self::Masters,
            FlowFrom::Worker => Self::Workers,
            FlowFrom::InternalProxy => Self::InternalProxies,
            FlowFrom::DmzProxy => Self::DmzProxies,
        }
    }
}

/// What is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Ports, sorted.
    Ports(Vec<PortSpec>),
    /// VRRP, an IP protocol of its own (112).
    Vrrp,
}

impl Service {
    /// TCP ports.
    pub fn tcp(ports: &[u16]) -> Self {
        Self::Ports(ports.iter().map(|port| PortSpec::tcp(*port)).collect())
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vrrp => f.write_str("vrrp"),
            Self::Ports(ports) => {
                let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
                f.write_str(&ports.join(", "))
            }
        }
    }
}

/// Which of the node's addresses is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Any address of the node.
    Local,
    /// This one address of each family only.
    Address(Ipv4Addr, Option<Ipv6Addr>),
    /// The addresses MetalLB hands out, which no interface has.
    LoadBalancer,
}

/// Who wants a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It follows from role, container network and services.
    Builtin,
    /// The operator added it: number in `[[firewall.flows]]`, from 1.
    Operator(usize),
}

/// New connections that may come in, over each family of which there are sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// Name, unique on the node, of a-z, 0-9 and `-`.
    pub id: String,
    /// Where they arrive.
    pub leg: Leg,
    /// Who may.
    pub group: Group,
    /// The addresses of `group`, or those of them that the operator named.
    pub sources: Vec<IpNet>,
    /// `sources` is the whole group.
    pub whole_group: bool,
    /// Not these, although they are in `sources`.
    pub except: Vec<IpNet>,
    /// At which address.
    pub target: Target,
    /// What they reach.
    pub service: Service,
    /// Why.
    pub why: String,
    /// Who wants it.
    pub origin: Origin,
    /// Why its danger is accepted.
    pub accept_risk: Option<String>,
}

/// New connections that the node itself may open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Egress {
    /// Name, unique on the node among these.
    pub id: String,
    /// Where to.
    pub destinations: Vec<IpNet>,
    /// What is reached.
    pub service: Service,
    /// Why.
    pub why: String,
}

/// One interface on a wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LegFacts {
    /// Interface name.
    pub name: String,
    /// Address with the prefix length of its network.
    pub address: Ipv4Net,
    /// The default route leaves here.
    pub has_default_route: bool,
    /// IPv6 address with the prefix length of its network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address6: Option<Ipv6Net>,
    /// The default route of IPv6 leaves here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_default_route6: bool,
}

/// The container network on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PodNetwork {
    /// Patterns of the interfaces that pods are behind.
    pub devices: Vec<&'static str>,
    /// Pod addresses are on the wire between the nodes, without a tunnel.
    pub routed: bool,
    /// It answers services itself (eBPF), in the place of kube-proxy.
    pub replaces_kube_proxy: bool,
}

/// The firewall of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Model {
    /// Host name.
    pub hostname: String,
    /// What the node is.
    pub kind: NodeKind,
    /// Its leg on the cluster network.
    pub cluster_leg: LegFacts,
    /// Its leg in the DMZ.
    pub dmz_leg: Option<LegFacts>,
    /// Addresses it has or, for virtual ones, may come to have.
    pub addresses: Vec<IpAddr>,
    /// The cluster network, in each family it has.
    pub cluster_network: Vec<IpNet>,
    /// The DMZ network, in each family it has; empty without one.
    pub dmz_network: Vec<IpNet>,
    /// Pod range, in each family pods have.
    pub pod_cidr: Vec<IpNet>,
    /// Service range, in each family services have.
    pub service_cidr: Vec<IpNet>,
    /// The container network; `None` on a proxy.
    pub pods: Option<PodNetwork>,
    /// Masters and workers by address.
    pub nodes: Vec<IpAddr>,
    /// Links in networks of their own that take IPv6 addresses from the routers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub learning: Vec<String>,
    /// What MetalLB hands out.
    #[serde(serialize_with = "texts")]
    pub load_balancers: Vec<AddressPool>,
    /// Which interface leads where.
    #[serde(skip)]
    pub routes: Routes,
    /// What may come in, by id.
    pub flows: Vec<Flow>,
    /// What the node may open; `None`: anything.
    pub egress: Option<Vec<Egress>>,
    /// Where this firewall cannot protect, in words.
    pub gaps: Vec<String>,
}

fn texts<S: serde::Serializer>(pools: &[AddressPool], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(pools.iter().map(ToString::to_string))
}

impl Model {
    /// The model of a node.
    ///
    /// # Errors
    /// When the node config lacks a leg that its role needs.
    pub fn of(node: &NodeConfig) -> Result<Self, RenderError> {
        let kind = NodeKind::of(node);
        let facts = &node.cluster;
        let missing = || RenderError::NoClusterInterface { hostname: node.hostname.clone() };
        let cluster_leg = leg(node.cluster_interface().ok_or_else(missing)?);
        let dmz_leg = node.interfaces.iter().find(|i| i.zone == Zone::Dmz).map(leg);
        if kind == NodeKind::DmzProxy && dmz_leg.is_none() {
            return Err(RenderError::NoDmzInterface { hostname: node.hostname.clone() });
        }
        let mut flows = builtin::flows(node, kind);
        flows.extend(operator::flows(node, kind));
        flows.sort_by(|a, b| a.id.cmp(&b.id));
        let load_balancers = match (&facts.firewall.features.metallb, kind.runs_pods()) {
            (Some(metallb), true) => metallb.pools.clone(),
            _ => vec![],
        };
        let leg_of = |name: &str| match &dmz_leg {
            _ if name == cluster_leg.name => Leg::Cluster,
            Some(dmz) if name == dmz.name => Leg::Dmz,
            _ => Leg::Other,
        };
        Ok(Self {
            hostname: node.hostname.clone(),
            kind,
            addresses: addresses(node, kind),
            routes: Routes::of(&node.network, leg_of),
            cluster_leg,
            dmz_leg,
            cluster_network: members(node, Group::Cluster),
            dmz_network: members(node, Group::Dmz),
            pod_cidr: members(node, Group::Pods),
            service_cidr: services(facts),
            pods: kind.runs_pods().then(|| pod_network(facts.cni, facts.ipv6.kubernetes.is_some())),
            learning: node.network.links().iter().filter(|l| l.auto6).map(|l| l.name.clone()).collect(),
            nodes: members(node, Group::Nodes).iter().map(IpNet::addr).collect(),
            load_balancers,
            flows,
            egress: egress::flows(node, kind),
            gaps: gaps(node, kind),
        })
    }
}

fn leg(interface: &Interface) -> LegFacts {
    LegFacts {
        name: interface.name.clone(),
        address: interface.address,
        has_default_route: interface.gateway.is_some(),
        address6: interface.address6,
        has_default_route6: interface.gateway6.is_some(),
    }
}

fn addresses(node: &NodeConfig, kind: NodeKind) -> Vec<IpAddr> {
    let own = node.interfaces.iter().flat_map(Interface::addresses);
    let virtual_one = match kind {
        NodeKind::Master => node.cluster.api_vip,
        NodeKind::InternalProxy => node.cluster.proxy_vip,
        NodeKind::Worker | NodeKind::DmzProxy => None,
    };
    own.chain(virtual_one.map(IpAddr::from)).collect()
}

fn pod_network(cni: Cni, both_families: bool) -> PodNetwork {
    let devices = match (cni, both_families) {
        // flannel has one tunnel for each family.
        (Cni::FlannelVxlan, false) => vec!["cni0", "flannel.1"],
        (Cni::FlannelVxlan, true) => vec!["cni0", "flannel.1", "flannel-v6.1"],
        (Cni::FlannelWireguard, false) => vec!["cni0", "flannel-wg"],
        (Cni::FlannelWireguard, true) => vec!["cni0", "flannel-wg", "flannel-wg-v6"],
        (Cni::CalicoVxlan, _) => vec!["cali*", "vxlan.calico"],
        (Cni::CalicoBgp, _) => vec!["cali*"],
        (Cni::CiliumVxlan, _) => vec!["cilium_host", "cilium_net", "cilium_vxlan", "lxc*"],
        // What was decrypted comes out of a device of its own.
        (Cni::CiliumWireguard, _) => {
            vec!["cilium_host", "cilium_net", "cilium_vxlan", "cilium_wg0", "lxc*"]
        }
    };
    PodNetwork { devices, routed: cni == Cni::CalicoBgp, replaces_kube_proxy: cni.is_cilium() }
}

fn services(facts: &ClusterFacts) -> Vec<IpNet> {
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

/// What this firewall cannot do, said where it counts.
fn gaps(node: &NodeConfig, kind: NodeKind) -> Vec<String> {
    if !kind.runs_pods() || !node.cluster.cni.is_cilium() {
        return vec![];
    }
    vec![
        "Cilium answers NodePorts, hostPorts and load balancer addresses in eBPF before nftables sees a packet: this \
         firewall does not cover them. Cilium's value `devices` keeps them to the cluster interface; there, \
         /etc/metalstrap/cilium-policies.yaml of the masters, once applied, keeps out the DMZ and the outside as far as \
         their addresses are seen, and the rest is for loadBalancerSourceRanges to say"
            .to_owned(),
    ]
}

//! The types of the model.

use super::routing::Routes;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use profiles::cluster::file::AddressPool;
use profiles::firewall::{FlowFrom, FlowTo, PortSpec};
use profiles::node::{NodeConfig, Peer, ProxyPlacement, Role, RoleConfig};
use serde::Serialize;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

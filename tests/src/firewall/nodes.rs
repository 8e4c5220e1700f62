//! The nodes under test: one of each kind in a cluster with every kind of peer, each with a leg in the DMZ, because that
//! is where a hole is a breach.

use anyhow::{Context, Result};
use installer::render::{RenderContext, render_node};
use profiles::firewall::{FirewallFacts, FlowFrom, FlowTo, OperatorFlow, PortSpec};
use profiles::network::{Link, LinkKind, Network, NicMatch};
use profiles::node::{
    ClusterFacts, Cni, DiskSelector, Identity, Interface, Ipv6Facts, KubernetesConfig, KubernetesIpv6,
    NODE_CONFIG_SCHEMA, NodeConfig, NodeSecrets, Peer, ProxyConfig, ProxyPlacement, Requirements, Role,
    RoleConfig, Vrrp, Zone,
};
use profiles::secret::Secret;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the node under test is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// k3s server.
    Master,
    /// k3s agent.
    Worker,
    /// Balances the API on the cluster network.
    InternalProxy,
    /// Takes traffic from outside.
    DmzProxy,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Master, Self::Worker, Self::InternalProxy, Self::DmzProxy];

    /// Last byte of its addresses.
    pub fn number(self) -> u8 {
        match self {
            Self::Master => 11,
            Self::Worker => 21,
            Self::InternalProxy => 5,
            Self::DmzProxy => 7,
        }
    }

    /// Whether pods run on it.
    pub fn runs_pods(self) -> bool {
        matches!(self, Self::Master | Self::Worker)
    }

    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Worker => "worker",
            Self::InternalProxy => "proxy internal",
            Self::DmzProxy => "proxy dmz",
        }
    }
}

/// NodePorts of the ingress.
pub const INGRESS_PORTS: [u16; 2] = [30080, 30443];

const PEERS: [(&str, Role, Option<ProxyPlacement>, u8); 9] = [
    ("master-1", Role::Master, None, 11),
    ("master-2", Role::Master, None, 12),
    ("master-3", Role::Master, None, 13),
    ("worker-1", Role::Worker, None, 21),
    ("worker-2", Role::Worker, None, 22),
    ("proxy-1", Role::Proxy, Some(ProxyPlacement::Internal), 5),
    ("proxy-2", Role::Proxy, Some(ProxyPlacement::Internal), 6),
    ("edge-1", Role::Proxy, Some(ProxyPlacement::Dmz), 7),
    ("edge-2", Role::Proxy, Some(ProxyPlacement::Dmz), 8),
];

/// One flow of an operator for each kind but the internal proxy, each to a port that nothing else opens.
fn operator_flows() -> Vec<OperatorFlow> {
    let flow = |from, to, port| OperatorFlow {
        from,
        sources: Vec::new(),
        to,
        port: PortSpec::tcp(port),
        why: "proof of the operator's own flows".to_owned(),
        accept_risk: None,
    };
    vec![
        flow(FlowFrom::Cluster, FlowTo::Master, 31999),
        flow(FlowFrom::Admin, FlowTo::Worker, 32767),
        flow(FlowFrom::Dmz, FlowTo::DmzProxy, 8404),
    ]
}

fn facts() -> Result<ClusterFacts> {
    Ok(ClusterFacts {
        name: "alpha".to_owned(),
        domain: "alpha.lan".to_owned(),
        api_vip: Some(Ipv4Addr::new(10, 0, 0, 10)),
        api_names: Vec::new(),
        proxy_vip: Some(Ipv4Addr::new(10, 0, 0, 9)),
        pod_cidr: "10.42.0.0/16".parse()?,
        service_cidr: "10.43.0.0/16".parse()?,
        cluster_dns: Ipv4Addr::new(10, 43, 0, 10),
        cni: Cni::FlannelVxlan,
        cluster_network: "10.0.0.0/22".parse()?,
        dmz_network: Some("192.168.1.0/24".parse()?),
        ipv6: Ipv6Facts {
            cluster_network: Some("fd00:10::/64".parse()?),
            dmz_network: Some("fd00:168::/64".parse()?),
            kubernetes: Some(KubernetesIpv6 {
                pod_cidr: "fd00:42::/44".parse()?,
                service_cidr: "fd00:43::/112".parse()?,
                cluster_dns: "fd00:43::a".parse()?,
            }),
        },
        ingress_node_ports: INGRESS_PORTS.to_vec(),
        admin_sources: vec!["10.0.2.0/24".parse()?, "fd00:10::200/120".parse()?],
        ssh_authorized_keys: Vec::new(),
        ntp_servers: vec!["10.0.0.77".to_owned(), "fd00:10::4d".to_owned()],
        timezone: "UTC".to_owned(),
        firewall: FirewallFacts { flows: operator_flows(), ..FirewallFacts::default() },
    })
}

fn cluster6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, number.into())
}

fn dmz6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x168, 0, 0, 0, 0, 0, number.into())
}

fn interfaces(kind: Kind) -> Result<Vec<Interface>> {
    let number = kind.number();
    let leg = |name: &str, zone, address: String, (gateway, gateway6), last| {
        let six = if zone == Zone::Dmz { dmz6(number) } else { cluster6(number) };
        anyhow::Ok(Interface {
            name: name.to_owned(),
            zone,
            mac: Some(format!("52:54:00:00:{last:02x}:{number:02x}").parse()?),
            address: address.parse()?,
            address6: Some(format!("{six}/64").parse()?),
            gateway,
            gateway6,
            dns: vec![Ipv4Addr::new(10, 0, 0, 77).into(), cluster6(77).into()],
            mtu_bytes: None,
        })
    };
    let edge = kind == Kind::DmzProxy;
    let (inside, inside6) = (Ipv4Addr::new(10, 0, 0, 1), cluster6(1));
    let (outside, outside6) = (Ipv4Addr::new(192, 168, 1, 1), dmz6(1));
    let inside = ((!edge).then_some(inside), (!edge).then_some(inside6));
    let outside = (edge.then_some(outside), edge.then_some(outside6));
    Ok(vec![
        leg("cluster0", Zone::Cluster, format!("10.0.0.{number}/22"), inside, 1)?,
        leg("dmz0", Zone::Dmz, format!("192.168.1.{number}/24"), outside, 2)?,
    ])
}

/// The network of a node whose legs are plain cards.
fn cards(interfaces: &[Interface]) -> Result<Network> {
    let links = interfaces.iter().map(|leg| {
        let nic = leg.mac.map_or(NicMatch::Only, NicMatch::Mac);
        let mut link = Link::new(leg.name.clone(), LinkKind::Physical { nic });
        link.addresses = [leg.address.into()].into_iter().chain(leg.address6.map(Into::into)).collect();
        link.gateway = leg.gateway;
        link.dns.clone_from(&leg.dns);
        link
    });
    Ok(Network::new(links.collect())?)
}

fn role(kind: Kind) -> RoleConfig {
    let proxy = |placement, vrrp| {
        RoleConfig::Proxy(ProxyConfig {
            placement,
            vrrp,
            ingress_http_node_port: INGRESS_PORTS[0],
            ingress_https_node_port: INGRESS_PORTS[1],
        })
    };
    match kind {
        Kind::Master => RoleConfig::Master { forms_cluster: true },
        Kind::Worker => RoleConfig::Worker {},
        Kind::InternalProxy => {
            let peers = vec![Ipv4Addr::new(10, 0, 0, 6)];
            proxy(ProxyPlacement::Internal, Some(Vrrp { router_id: 61, priority: 150, peers }))
        }
        Kind::DmzProxy => proxy(ProxyPlacement::Dmz, None),
    }
}

/// The resolved config of the node under test in a cluster of that many nodes: the named ones, then workers.
///
/// # Errors
/// Only if a literal above is wrong.
pub fn node_among(kind: Kind, nodes: u16) -> Result<NodeConfig> {
    let mut node = node(kind)?;
    let more = (PEERS.len() as u16..nodes).map(|number| Peer {
        hostname: format!("worker-{number}"),
        role: Role::Worker,
        placement: None,
        cluster_address: Ipv4Addr::new(10, 0, 1 + (number / 250) as u8, (number % 250) as u8),
        dmz_address: None,
        cluster_address6: None,
        dmz_address6: None,
    });
    node.peers.extend(more);
    Ok(node)
}

/// The same node in the same cluster with no IPv6 anywhere in its file.
///
/// # Errors
/// As [`node`].
pub fn node_without_ipv6(kind: Kind) -> Result<NodeConfig> {
    let mut node = node(kind)?;
    let facts = &mut node.cluster;
    facts.ipv6 = Ipv6Facts::default();
    facts.admin_sources.retain(|range| range.addr().is_ipv4());
    facts.ntp_servers.retain(|server| server.parse::<IpAddr>().is_ok_and(|server| server.is_ipv4()));
    for leg in &mut node.interfaces {
        (leg.address6, leg.gateway6) = (None, None);
        leg.dns.retain(IpAddr::is_ipv4);
    }
    for peer in &mut node.peers {
        (peer.cluster_address6, peer.dmz_address6) = (None, None);
    }
    node.network = cards(&node.interfaces)?;
    Ok(node)
}

/// The resolved config of the node under test.
///
/// # Errors
/// Only if a literal above is wrong.
pub fn node(kind: Kind) -> Result<NodeConfig> {
    let peers: Vec<Peer> = PEERS
        .iter()
        .map(|(hostname, role, placement, number)| Peer {
            hostname: (*hostname).to_owned(),
            role: *role,
            placement: *placement,
            cluster_address: Ipv4Addr::new(10, 0, 0, *number),
            dmz_address: (*placement == Some(ProxyPlacement::Dmz))
                .then_some(Ipv4Addr::new(192, 168, 1, *number)),
            cluster_address6: Some(cluster6(*number)),
            dmz_address6: (*placement == Some(ProxyPlacement::Dmz)).then(|| dmz6(*number)),
        })
        .collect();
    let own = peers.iter().find(|p| p.cluster_address.octets()[3] == kind.number());
    let hostname = own.context("the node under test is among the peers")?.hostname.clone();
    let interfaces = interfaces(kind)?;
    let kubernetes = kind.runs_pods().then(|| KubernetesConfig {
        labels: BTreeMap::new(),
        taints: Vec::new(),
        kubelet_args: Vec::new(),
        disable: vec!["servicelb".to_owned()],
        secrets_encryption: true,
        etcd_snapshot_retention: 5,
    });
    Ok(NodeConfig {
        data_disks: vec![],
        schema: NODE_CONFIG_SCHEMA.to_owned(),
        cluster: facts()?,
        hostname,
        role: role(kind),
        identity: Identity {
            macs: interfaces.iter().filter_map(|i| i.mac).collect(),
            serial: None,
            uuid: None,
        },
        network: cards(&interfaces)?,
        interfaces,
        disk: DiskSelector::default(),
        requirements: Requirements { memory_min_mib: 2048, disk_min_mib: 20480 },
        kernel_modules: Vec::new(),
        sysctls: BTreeMap::new(),
        kubernetes,
        peers,
    })
}

/// The rule file that the installer writes for this node.
///
/// # Errors
/// The node cannot be rendered, or has no rule file.
pub fn rules(kind: Kind) -> Result<String> {
    rules_of(&node(kind)?, kind)
}

/// The same for any config of a node of that kind.
///
/// # Errors
/// As [`rules`].
pub fn rules_of(node: &NodeConfig, kind: Kind) -> Result<String> {
    let token = |who: &str| Some(Secret::new(format!("K10{}::{who}:proof", "a".repeat(64))));
    let (server_token, agent_token) = match kind {
        Kind::Master => (token("server"), token("node")),
        Kind::Worker => (None, token("node")),
        Kind::InternalProxy | Kind::DmzProxy => (None, None),
    };
    let secrets = NodeSecrets { server_token, agent_token, ..NodeSecrets::default() };
    let rendered = render_node(node, &secrets, &RenderContext::default()).context("rendering the node")?;
    let file = rendered.file("/etc/metalstrap/firewall.nft").context("the node has no rule file")?;
    Ok(file.contents.expose().to_owned())
}

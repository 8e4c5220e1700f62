//! Node configs built by hand: a cluster with every kind of node, and a single machine.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    dead_code,
    reason = "shared by several test programs"
)]

use installer::render::{RenderContext, RenderedNode, render_node};
use ipnet::IpNet;
use profiles::firewall::FirewallFacts;
use profiles::network::{Link, LinkKind, Network, NicMatch};
use profiles::node::{
    ClusterFacts, Cni, DiskSelector, Identity, Interface, Ipv6Facts, KubernetesConfig, KubernetesIpv6,
    NODE_CONFIG_SCHEMA, NodeConfig, NodeSecrets, Peer, ProxyConfig, ProxyPlacement, Requirements, Role,
    RoleConfig, Vrrp, Zone,
};
use profiles::secret::Secret;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Planted in the tokens; must be in no file that is not secret.
pub const CANARY: &str = "canary-5f1c";

/// Name of each case and its node.
pub fn cases() -> Vec<(&'static str, NodeConfig)> {
    vec![
        ("master-forming", ha("master-1")),
        ("master-joining", ha("master-2")),
        ("worker", ha("worker-1")),
        ("proxy-internal", ha("proxy-1")),
        ("proxy-dmz", ha("edge-1")),
        ("single", single()),
    ]
}

/// What a node of that role is given.
pub fn secrets(role: Role) -> NodeSecrets {
    let server = Secret::new(format!("K10{}::server:{CANARY}", "a".repeat(64)));
    let agent = Secret::new(format!("K10{}::node:{CANARY}", "a".repeat(64)));
    match role {
        Role::Master => {
            NodeSecrets { server_token: Some(server), agent_token: Some(agent), ..NodeSecrets::default() }
        }
        Role::Worker => NodeSecrets { agent_token: Some(agent), ..NodeSecrets::default() },
        Role::Proxy => NodeSecrets::default(),
    }
}

/// The node rendered with what it should get.
pub fn render(node: &NodeConfig) -> RenderedNode {
    render_node(node, &secrets(node.role.role()), &context()).unwrap()
}

pub fn context() -> RenderContext {
    let mac = "52:54:00:00:00:99".parse().unwrap();
    RenderContext { chosen_macs: BTreeMap::from([("cluster0".to_owned(), mac)]), ..RenderContext::default() }
}

fn peer(hostname: &str, role: Role, last: u8) -> Peer {
    let placement = match hostname.split('-').next() {
        Some("proxy") => Some(ProxyPlacement::Internal),
        Some("edge") => Some(ProxyPlacement::Dmz),
        _ => None,
    };
    let dmz_address = (placement == Some(ProxyPlacement::Dmz)).then(|| Ipv4Addr::new(192, 168, 1, last));
    Peer {
        hostname: hostname.to_owned(),
        role,
        placement,
        cluster_address: Ipv4Addr::new(10, 0, 0, last),
        dmz_address,
        cluster_address6: None,
        dmz_address6: None,
    }
}

/// One node of a cluster with three masters, three workers, two internal proxies and one in the DMZ.
pub fn ha(hostname: &str) -> NodeConfig {
    let peers: Vec<Peer> = [
        ("master-1", Role::Master, 11),
        ("master-2", Role::Master, 12),
        ("master-3", Role::Master, 13),
        ("worker-1", Role::Worker, 21),
        ("worker-2", Role::Worker, 22),
        ("worker-3", Role::Worker, 23),
        ("proxy-1", Role::Proxy, 5),
        ("proxy-2", Role::Proxy, 6),
        ("edge-1", Role::Proxy, 7),
    ]
    .map(|(name, role, last)| peer(name, role, last))
    .to_vec();
    let own = peers.iter().find(|p| p.hostname == hostname).unwrap().clone();
    let cluster = ClusterFacts {
        name: "alpha".to_owned(),
        domain: "alpha.lan".to_owned(),
        api_vip: Some(Ipv4Addr::new(10, 0, 0, 10)),
        api_names: vec!["api.alpha.lan".to_owned(), "203.0.113.7".to_owned()],
        proxy_vip: Some(Ipv4Addr::new(10, 0, 0, 9)),
        pod_cidr: "10.42.0.0/16".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        cluster_dns: Ipv4Addr::new(10, 43, 0, 10),
        cni: Cni::FlannelVxlan,
        cluster_network: "10.0.0.0/22".parse().unwrap(),
        dmz_network: Some("192.168.1.0/24".parse().unwrap()),
        ipv6: Ipv6Facts::default(),
        ingress_node_ports: vec![30080, 30443],
        admin_sources: vec!["10.0.2.0/24".parse().unwrap(), "10.0.2.16/28".parse().unwrap()],
        ssh_authorized_keys: vec![
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGOiXk7oT8tXhNkcJ4yEJm0a8H0nmfXTM4cSHVoJ1Kc8 admin@example"
                .to_owned(),
        ],
        ntp_servers: vec!["10.0.0.1".to_owned(), "time.alpha.lan".to_owned()],
        timezone: "Europe/Berlin".to_owned(),
        firewall: FirewallFacts::default(),
    };
    let interfaces = interfaces(&own);
    node(cluster, peers, own, interfaces)
}

/// The same node in a cluster whose nodes, operators and, where `pods`, pods have IPv6 beside IPv4.
pub fn dual_stack(hostname: &str, pods: bool) -> NodeConfig {
    let mut node = ha(hostname);
    let six = |net: u16, last: u8| Ipv6Addr::new(0xfd00, net, 0, 0, 0, 0, 0, last.into());
    let facts = &mut node.cluster;
    facts.admin_sources.push("fd00:10::200/120".parse().unwrap());
    facts.ntp_servers = vec!["10.0.0.1".to_owned(), "fd00:10::1".to_owned()];
    facts.ipv6 = Ipv6Facts {
        cluster_network: Some("fd00:10::/64".parse().unwrap()),
        dmz_network: Some("fd00:168::/64".parse().unwrap()),
        kubernetes: pods.then(|| KubernetesIpv6 {
            pod_cidr: "fd00:42::/56".parse().unwrap(),
            service_cidr: "fd00:43::/112".parse().unwrap(),
            cluster_dns: "fd00:43::a".parse().unwrap(),
        }),
    };
    for peer in &mut node.peers {
        peer.cluster_address6 = Some(six(0x10, peer.cluster_address.octets()[3]));
        peer.dmz_address6 = peer.dmz_address.map(|address| six(0x168, address.octets()[3]));
    }
    for leg in &mut node.interfaces {
        let net = if leg.zone == Zone::Dmz { 0x168 } else { 0x10 };
        leg.address6 = Some(format!("{}/64", six(net, leg.address.addr().octets()[3])).parse().unwrap());
        leg.gateway6 = leg.gateway.map(|_| six(net, 1));
        leg.dns = vec![Ipv4Addr::new(10, 0, 0, 1).into(), six(0x10, 1).into()];
    }
    node.network = cards(&node.interfaces, &node.cluster.domain);
    node
}

fn interfaces(own: &Peer) -> Vec<Interface> {
    let last = own.cluster_address.octets()[3];
    let leg = |name: &str, zone, kind: u8, address: String| Interface {
        name: name.to_owned(),
        zone,
        mac: Some(format!("52:54:00:00:{kind:02x}:{last:02x}").parse().unwrap()),
        address: address.parse().unwrap(),
        address6: None,
        gateway: None,
        gateway6: None,
        dns: vec![Ipv4Addr::new(10, 0, 0, 1).into(), Ipv4Addr::new(10, 0, 0, 2).into()],
        mtu_bytes: None,
    };
    let mut cluster = leg("cluster0", Zone::Cluster, 1, format!("10.0.0.{last}/22"));
    let Some(address) = own.dmz_address else {
        cluster.gateway = Some(Ipv4Addr::new(10, 0, 0, 1));
        return vec![cluster];
    };
    let mut dmz = leg("dmz0", Zone::Dmz, 2, format!("{address}/24"));
    dmz.gateway = Some(Ipv4Addr::new(192, 168, 1, 1));
    dmz.mtu_bytes = Some(1400);
    vec![cluster, dmz]
}

/// One machine that is the whole cluster: no VIP, no names, no NTP server, any network card.
pub fn single() -> NodeConfig {
    let mut config = ha("master-1");
    config.peers.truncate(1);
    config.hostname = "solo".to_owned();
    config.peers[0].hostname = "solo".to_owned();
    config.interfaces[0].mac = None;
    config.network = cards(&config.interfaces, "alpha.lan");
    config.identity = Identity::default();
    let facts = &mut config.cluster;
    facts.api_vip = None;
    facts.proxy_vip = None;
    facts.dmz_network = None;
    facts.api_names = Vec::new();
    facts.ingress_node_ports = Vec::new();
    facts.admin_sources = Vec::new();
    facts.ssh_authorized_keys = Vec::new();
    facts.ntp_servers = Vec::new();
    facts.cni = Cni::FlannelWireguard;
    facts.timezone = "UTC".to_owned();
    config
}

fn node(cluster: ClusterFacts, peers: Vec<Peer>, own: Peer, interfaces: Vec<Interface>) -> NodeConfig {
    let role = match (own.role, own.placement) {
        (Role::Master, _) => RoleConfig::Master { forms_cluster: own.hostname == "master-1" },
        (Role::Worker, _) => RoleConfig::Worker {},
        (Role::Proxy, placement) => RoleConfig::Proxy(ProxyConfig {
            placement: placement.unwrap(),
            vrrp: (placement == Some(ProxyPlacement::Internal)).then(|| Vrrp {
                router_id: 61,
                priority: 150,
                peers: vec![Ipv4Addr::new(10, 0, 0, 6)],
            }),
            ingress_http_node_port: 30080,
            ingress_https_node_port: 30443,
        }),
    };
    let kubernetes = (own.role != Role::Proxy).then(|| KubernetesConfig {
        labels: BTreeMap::from([("topology.kubernetes.io/zone".to_owned(), "rack1".to_owned())]),
        taints: match own.role {
            Role::Master => vec!["node-role.kubernetes.io/control-plane=true:NoSchedule".to_owned()],
            _ => Vec::new(),
        },
        kubelet_args: vec!["max-pods=110".to_owned()],
        disable: vec!["servicelb".to_owned()],
        secrets_encryption: true,
        etcd_snapshot_retention: 10,
    });
    NodeConfig {
        data_disks: vec![],
        schema: NODE_CONFIG_SCHEMA.to_owned(),
        hostname: own.hostname,
        role,
        identity: Identity {
            macs: interfaces.iter().filter_map(|i| i.mac).collect(),
            serial: None,
            uuid: None,
        },
        network: cards(&interfaces, &cluster.domain),
        interfaces,
        disk: DiskSelector::default(),
        requirements: Requirements { memory_min_mib: 2048, disk_min_mib: 20480 },
        kernel_modules: vec!["br_netfilter".to_owned(), "overlay".to_owned()],
        sysctls: BTreeMap::from([(
            "net.ipv4.ip_forward".to_owned(),
            u8::from(own.role != Role::Proxy).to_string(),
        )]),
        kubernetes,
        peers,
        cluster,
    }
}

/// The network of a node whose legs are plain cards.
pub fn cards(interfaces: &[Interface], domain: &str) -> Network {
    let link = |leg: &Interface| {
        let nic = leg.mac.map_or(NicMatch::Only, NicMatch::Mac);
        let mut link = Link::new(leg.name.clone(), LinkKind::Physical { nic });
        link.addresses =
            [IpNet::from(leg.address)].into_iter().chain(leg.address6.map(IpNet::from)).collect();
        (link.gateway, link.gateway6) = (leg.gateway, leg.gateway6);
        (link.dns, link.domains) = (leg.dns.clone(), vec![domain.to_owned()]);
        link.mtu_bytes = leg.mtu_bytes;
        link
    };
    Network::new(interfaces.iter().map(link).collect()).unwrap()
}

/// Runs a command to its end with this input, in the test's own words when it cannot be run.
pub fn run(argv: &[&str], stdin: &str) -> std::process::Output {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let [program, args @ ..] = argv else { panic!("an empty command") };
    let spawned = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned
        .unwrap_or_else(|error| panic!("{program} cannot be run ({error}); `cargo xtask setup` installs it"));
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// The same in a network and mount namespace of its own, as root there; with `sudo` when the test is not root.
pub fn run_in_namespace(argv: &[&str], stdin: &str) -> std::process::Output {
    use std::os::unix::fs::MetadataExt;
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let enter: &[&str] = if root { &["unshare"] } else { &["sudo", "-n", "unshare"] };
    run(&[enter, &["--net", "--mount"], argv].concat(), stdin)
}

/// Standard output and error, for messages and comparisons.
pub fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Writes the rendered files below a folder, as they would lie on the node.
pub fn write_node(node: &RenderedNode, root: &std::path::Path) {
    for file in &node.files {
        let path = root.join(file.path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file.contents.expose()).unwrap();
    }
}

//! `/etc/metalstrap/firewall.nft`: one `table inet metalstrap`, replaced as a whole, made from zones and roles.
//!
//! The table never touches another one. Three guards: *guard* sees packets from the wire before kube-proxy's DNAT (a
//! NodePort or hostPort never reaches the input hook), *input* is closed but for the same list of services, *forward*
//! keeps the node from being a router between networks. Every rule that lets somebody in names an interface, a set of
//! IPv4 sources and a port, so over IPv6 nothing is open but neighbour discovery. All values are typed (addresses,
//! networks, ports, checked interface names): no text from the cluster file gets into the rules.

use super::Input;
use super::error::RenderError;
use super::k3s_config::API_PORT;
use super::output::Output;
use super::text::{HEADER, interface_name};
use profiles::node::{Cni, NodeConfig, Peer, ProxyConfig, ProxyPlacement, Role, RoleConfig, Zone};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::Ipv4Addr;

/// What `metalstrap-firewall.service` loads.
const RULES: &str = "/etc/metalstrap/firewall.nft";

const SSH_PORT: u16 = 22;
const KUBELET_PORT: u16 = 10250;
/// etcd, client and peer.
const ETCD_PORTS: &str = "2379-2380";
/// flannel's VXLAN and WireGuard ports and devices.
const VXLAN: (u16, &str) = (8472, "flannel.1");
const WIREGUARD: (u16, &str) = (51820, "flannel-wg");

/// Logs at most this much, so that a flood from outside fills no disk.
const REFUSE: &str = "    chain refuse {
        limit rate 5/second burst 10 packets log prefix \"metalstrap drop: \" level info
        drop
    }
";

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    let legs = Legs::of(input)?;
    let mut text = format!("#!/usr/sbin/nft -f\n{HEADER}\n");
    // Declared first so that the deletion cannot fail; the three together are one transaction.
    text.push_str("table inet metalstrap\ndelete table inet metalstrap\ntable inet metalstrap {\n");
    for counter in ["drop_forward", "drop_guard", "drop_input", "drop_invalid", "drop_spoofed"] {
        text.push_str(&format!("    counter {counter} {{ }}\n"));
    }
    text.push_str(&sets(input.node));
    text.push_str(&guard(input.node, &legs));
    text.push_str(&spoofing(input.node, &legs));
    text.push_str(&icmp(&legs));
    text.push_str(&chain("services", &services(input, &legs)?));
    text.push_str(&input_chain(input.node));
    text.push_str(&forward(input.node, &legs));
    text.push_str(REFUSE);
    text.push_str("}\n");
    output.file(RULES, text);
    Ok(())
}

/// Checked interface names.
struct Legs<'a> {
    cluster: &'a str,
    dmz: Option<&'a str>,
}

impl<'a> Legs<'a> {
    fn of(input: &'a Input<'_>) -> Result<Self, RenderError> {
        let cluster = interface_name(&input.cluster_interface()?.name)?;
        let dmz = input.node.interfaces.iter().find(|i| i.zone == Zone::Dmz);
        Ok(Self { cluster, dmz: dmz.map(|i| interface_name(&i.name)).transpose()? })
    }

    fn all(&self) -> String {
        list(std::iter::once(self.cluster).chain(self.dmz).map(|name| format!("\"{name}\"")))
    }
}

/// `{ a, b }`.
fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    format!("{{ {} }}", items.join(", "))
}

fn chain(name: &str, rules: &[String]) -> String {
    let rules: String = rules.iter().map(|rule| format!("        {rule}\n")).collect();
    format!("    chain {name} {{\n{rules}    }}\n")
}

/// Who is who, by cluster address. All nodes of a cluster have the same sets.
fn sets(node: &NodeConfig) -> String {
    let placed = |placement| move |p: &Peer| p.placement == Some(placement);
    let mut text = set("admin", true, node.cluster.admin_sources.iter().collect::<BTreeSet<_>>());
    let groups: [(&str, BTreeSet<Ipv4Addr>); 4] = [
        ("masters", addresses(node, |p| p.role == Role::Master)),
        ("nodes", addresses(node, |p| p.role != Role::Proxy)),
        ("internal_proxies", addresses(node, placed(ProxyPlacement::Internal))),
        ("dmz_proxies", addresses(node, placed(ProxyPlacement::Dmz))),
    ];
    for (name, members) in groups {
        text.push_str(&set(name, false, members));
    }
    text
}

fn addresses(node: &NodeConfig, wanted: impl Fn(&Peer) -> bool) -> BTreeSet<Ipv4Addr> {
    node.peers.iter().filter(|p| wanted(p)).map(|p| p.cluster_address).collect()
}

fn set<T: Display>(name: &str, ranges: bool, members: BTreeSet<T>) -> String {
    let flags = if ranges { "        flags interval\n        auto-merge\n" } else { "" };
    let elements =
        if members.is_empty() { String::new() } else { format!("        elements = {}\n", list(members)) };
    format!("    set {name} {{\n        type ipv4_addr\n{flags}{elements}    }}\n")
}

/// Before DNAT (priority -100): a new packet from the wire for this machine must be for a service.
fn guard(node: &NodeConfig, legs: &Legs<'_>) -> String {
    let mut rules = vec![
        "type filter hook prerouting priority dstnat - 10; policy accept;".to_owned(),
        format!("iifname != {} accept", legs.all()),
        "ct state { established, related } accept".to_owned(),
        "jump spoofing".to_owned(),
    ];
    if runs_pods(node) {
        // Nobody outside talks to pods or service addresses by routing through a node.
        let inside = list([node.cluster.pod_cidr, node.cluster.service_cidr]);
        rules.push(format!("ip daddr {inside} counter name \"drop_guard\" goto refuse"));
    }
    rules.push("fib daddr type != local accept".to_owned());
    rules.push("jump control".to_owned());
    rules.push("jump services".to_owned());
    rules.push("counter name \"drop_guard\" goto refuse".to_owned());
    chain("guard", &rules)
}

/// A packet from the wire with a source that cannot come from there.
fn spoofing(node: &NodeConfig, legs: &Legs<'_>) -> String {
    let facts = &node.cluster;
    let end = "counter name \"drop_spoofed\" goto refuse";
    let mut rules = vec![format!("fib saddr type local {end}")];
    if runs_pods(node) {
        rules.push(format!("ip saddr {} {end}", list([facts.pod_cidr, facts.service_cidr])));
    }
    if let (Some(dmz), Some(network)) = (legs.dmz, facts.dmz_network) {
        rules.push(format!("iifname \"{dmz}\" ip saddr {} {end}", facts.cluster_network));
        rules.push(format!("iifname \"{}\" ip saddr {network} {end}", legs.cluster));
    }
    chain("spoofing", &rules)
}

/// Errors (path MTU) and neighbour discovery from everywhere, echo from everywhere but the DMZ.
fn icmp(legs: &Legs<'_>) -> String {
    let limit = "limit rate 100/second burst 200 packets accept";
    let inside = legs.dmz.map(|dmz| format!("iifname != \"{dmz}\" ")).unwrap_or_default();
    chain(
        "control",
        &[
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept".to_owned(),
            format!("icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} {limit}"),
            format!(
                "icmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} {limit}"
            ),
            format!("{inside}icmp type echo-request {limit}"),
            format!("{inside}icmpv6 type echo-request {limit}"),
        ],
    )
}

/// What this role lets in from the wire, and from whom.
fn services(input: &Input<'_>, legs: &Legs<'_>) -> Result<Vec<String>, RenderError> {
    let allow =
        |from: &str, what: &str| format!("iifname \"{}\" ip saddr @{from} {what} accept", legs.cluster);
    let api = format!("tcp dport {API_PORT}");
    let health = format!("tcp dport {}", report::AGENT_PORT);
    // Operators, and the other nodes for the view of the whole fleet; a DMZ proxy asks nobody.
    let mut rules = vec![
        allow("admin", &format!("tcp dport {}", list([SSH_PORT, report::AGENT_PORT]))),
        allow("nodes", &health),
        allow("internal_proxies", &health),
    ];
    let node = input.node;
    if runs_pods(node) {
        rules.push(allow("nodes", &format!("tcp dport {KUBELET_PORT}")));
        rules.push(allow("nodes", &format!("udp dport {}", flannel(node).0)));
    }
    match &node.role {
        RoleConfig::Master { .. } => {
            rules.extend(["nodes", "internal_proxies", "admin"].map(|from| allow(from, &api)));
            rules.push(allow("masters", &format!("tcp dport {ETCD_PORTS}")));
        }
        RoleConfig::Worker {} if node.cluster.ingress_node_ports.is_empty() => {}
        RoleConfig::Worker {} => {
            let ports: BTreeSet<u16> = node.cluster.ingress_node_ports.iter().copied().collect();
            rules.push(allow("dmz_proxies", &format!("tcp dport {}", list(ports))));
        }
        RoleConfig::Proxy(proxy) => rules.extend(proxy_services(input, legs, proxy, &allow)?),
    }
    Ok(rules)
}

fn proxy_services(
    input: &Input<'_>,
    legs: &Legs<'_>,
    proxy: &ProxyConfig,
    allow: &dyn Fn(&str, &str) -> String,
) -> Result<Vec<String>, RenderError> {
    if proxy.placement == ProxyPlacement::Dmz {
        let missing = || RenderError::NoDmzInterface { hostname: input.node.hostname.clone() };
        let own = input.node.dmz_interface().ok_or_else(missing)?.address.addr();
        let leg = legs.dmz.ok_or_else(missing)?;
        return Ok(vec![format!("iifname \"{leg}\" ip daddr {own} tcp dport {{ 80, 443 }} accept")]);
    }
    let api = format!("tcp dport {API_PORT}");
    let mut rules: Vec<String> =
        ["nodes", "internal_proxies", "admin"].map(|from| allow(from, &api)).to_vec();
    let peers: BTreeSet<Ipv4Addr> = proxy.vrrp.iter().flat_map(|vrrp| vrrp.peers.iter().copied()).collect();
    if !peers.is_empty() {
        // VRRP is an IP protocol of its own.
        rules.push(format!("iifname \"{}\" ip saddr {} meta l4proto 112 accept", legs.cluster, list(peers)));
    }
    Ok(rules)
}

fn input_chain(node: &NodeConfig) -> String {
    let mut rules = vec![
        "type filter hook input priority filter - 5; policy drop;".to_owned(),
        "ct state { established, related } accept".to_owned(),
        "iifname \"lo\" accept".to_owned(),
        "ct state invalid counter name \"drop_invalid\" drop".to_owned(),
        "jump control".to_owned(),
        "jump services".to_owned(),
    ];
    if runs_pods(node) {
        let ports = match node.role.role() {
            Role::Master => list([API_PORT, KUBELET_PORT]),
            _ => list([KUBELET_PORT]),
        };
        let devices = list(["\"cni0\"".to_owned(), format!("\"{}\"", flannel(node).1)]);
        rules.push(format!("iifname {devices} ip saddr {} tcp dport {ports} accept", node.cluster.pod_cidr));
        // kube-proxy has rewritten it: it came from a pod, or the guard has let it pass under its first address.
        rules.push("ct status dnat accept".to_owned());
    }
    rules.push("counter name \"drop_input\" goto refuse".to_owned());
    chain("input", &rules)
}

/// A node with pods forwards for them, but is no router between its networks; a proxy forwards nothing.
fn forward(node: &NodeConfig, legs: &Legs<'_>) -> String {
    let refuse = "counter name \"drop_forward\" goto refuse";
    let rules = if runs_pods(node) {
        vec![
            "type filter hook forward priority filter - 5; policy accept;".to_owned(),
            "ct state { established, related } accept".to_owned(),
            "ct status dnat accept".to_owned(),
            format!("iifname {0} oifname {0} {refuse}", legs.all()),
        ]
    } else {
        vec!["type filter hook forward priority filter - 5; policy drop;".to_owned(), refuse.to_owned()]
    };
    chain("forward", &rules)
}

fn runs_pods(node: &NodeConfig) -> bool {
    node.role.role() != Role::Proxy
}

fn flannel(node: &NodeConfig) -> (u16, &'static str) {
    match node.cluster.cni {
        Cni::FlannelVxlan => VXLAN,
        Cni::FlannelWireguard => WIREGUARD,
    }
}

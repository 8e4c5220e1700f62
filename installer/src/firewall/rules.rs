//! The text of the table. All values are typed (addresses, networks, ports, checked interface names): no text of the
//! cluster file gets into the rules.
//!
//! *guard* sees packets from the wire before kube-proxy's DNAT: a NodePort or hostPort never reaches the input hook. *input*
//! is closed but for the same flows, *forward* keeps the node from being a router, *output* keeps it from being a bridgehead.

use super::model::{Egress, Flow, Group, Leg, Model, Service, Target};
use crate::render::{RenderError, interface_name};
use ipnet::IpNet;
use profiles::firewall::{PortSpec, Transport};
use std::collections::BTreeMap;
use std::fmt::Display;

/// Counters of what is dropped, by reason.
pub const DROP_COUNTERS: [&str; 6] =
    ["drop_forward", "drop_guard", "drop_input", "drop_invalid", "drop_output", "drop_spoofed"];

/// Logs at most this much, so that a flood from outside does not push everything else out of the journal, which keeps the only record of
/// what happened to the node; at a level that the console does not show. What a network says to everybody is dropped without a word:
/// every switch, printer and DHCP client does it all day.
const REFUSE: &str = "    chain refuse {
        meta pkttype host limit rate 20/minute burst 20 packets log prefix \"metalstrap drop: \" level debug
        drop
    }
";

const DMZ_PROXIES: &str = "dmz_proxies";
const ICMP_LIMIT: &str = "limit rate 100/second burst 200 packets accept";

/// Name of the counter of a flow.
pub fn counter_of(flow: &Flow) -> String {
    format!("flow_{}", flow.id.replace('-', "_"))
}

/// Name of the counter of an outgoing flow.
pub fn egress_counter_of(flow: &Egress) -> String {
    format!("out_{}", flow.id.replace('-', "_"))
}

impl Model {
    /// The declaration, deletion and new definition of `table inet metalstrap`: one transaction, no other table touched.
    ///
    /// # Errors
    /// When an interface name could change the meaning of the rules.
    pub fn render(&self) -> Result<String, RenderError> {
        for leg in [Some(&self.cluster_leg), self.dmz_leg.as_ref()].into_iter().flatten() {
            interface_name(&leg.name)?;
        }
        for name in &self.learning {
            interface_name(name)?;
        }
        // Declared first so that the deletion cannot fail.
        let mut text =
            "table inet metalstrap\ndelete table inet metalstrap\ntable inet metalstrap {\n".to_owned();
        for counter in self.counters() {
            text.push_str(&format!("    counter {counter} {{ }}\n"));
        }
        text.push_str(&self.sets());
        text.push_str(&self.guard());
        text.push_str(&self.spoofing());
        text.push_str(&chain("neighbours", &[NEIGHBOURS.to_owned(), LISTENERS.to_owned()]));
        text.push_str(&self.control());
        text.push_str(&chain("services", &self.wire_flows(true)));
        if !self.load_balancers.is_empty() {
            text.push_str(&chain("balanced", &self.balanced()));
        }
        text.push_str(&chain("admitted", &self.wire_flows(false)));
        text.push_str(&self.input());
        text.push_str(&self.forward());
        text.push_str(&self.output());
        text.push_str(REFUSE);
        text.push_str("}\n");
        Ok(text)
    }

    fn counters(&self) -> Vec<String> {
        let drops = DROP_COUNTERS.iter().filter(|name| self.egress.is_some() || **name != "drop_output");
        let outgoing = self.egress.iter().flatten().map(egress_counter_of);
        drops
            .map(|name| (*name).to_owned())
            .chain(self.flows.iter().map(counter_of))
            .chain(outgoing)
            .collect()
    }

    /// Who is who; the sets that a rule speaks of, one for each family.
    fn sets(&self) -> String {
        let mut sets: BTreeMap<(&str, Family), Vec<String>> = BTreeMap::new();
        let mut note = |name: &'static str, nets: &[IpNet]| {
            for (family, nets) in by_family(nets) {
                sets.entry((name, family)).or_insert_with(|| strings(&nets));
            }
        };
        for flow in &self.flows {
            if let Some(name) = named_set(flow) {
                note(name, &flow.sources);
            }
            if let Some(proxies) = dmz_proxies(flow) {
                note(DMZ_PROXIES, proxies);
            }
        }
        if self.routes_pods() {
            note("nodes", &self.nodes.iter().copied().map(IpNet::from).collect::<Vec<_>>());
        }
        if !self.load_balancers.is_empty() {
            let pools = self.load_balancers.iter().map(ToString::to_string).collect();
            sets.insert(("load_balancers", Family::Four), pools);
        }
        let set = |((name, family), elements): ((&str, Family), Vec<String>)| {
            let ranges = matches!(name, "admin" | "load_balancers");
            let flags = if ranges { "        flags interval\n        auto-merge\n" } else { "" };
            format!(
                "    set {} {{\n        type {}\n{flags}        elements = {}\n    }}\n",
                family.set(name),
                family.set_type(),
                list(elements)
            )
        };
        sets.into_iter().map(set).collect()
    }

    fn wires(&self) -> String {
        list(self.wire_names())
    }

    /// Interfaces on a wire, quoted.
    fn wire_names(&self) -> impl Iterator<Item = String> + '_ {
        let legs = [Some(&self.cluster_leg), self.dmz_leg.as_ref()];
        legs.into_iter().flatten().map(|leg| format!("\"{}\"", leg.name))
    }

    fn name_of(&self, leg: Leg) -> &str {
        self.interface(leg).map(|leg| leg.name.as_str()).unwrap_or_default()
    }

    /// Before DNAT (priority -100): a new packet from the wire must be for this machine, and for a service of it.
    fn guard(&self) -> String {
        let mut rules = vec![
            "type filter hook prerouting priority dstnat - 10; policy accept;".to_owned(),
            format!("iifname != {} accept", self.wires()),
            "ct state { established, related } accept".to_owned(),
            "jump neighbours".to_owned(),
            "jump spoofing".to_owned(),
        ];
        for (family, pods) in by_family(&self.pod_cidr) {
            let (ip, pods) = (family.header(), one_or_list(&pods));
            if self.routes_pods() {
                let (leg, nodes) = (&self.cluster_leg.name, family.set("nodes"));
                rules.push(format!("iifname \"{leg}\" {ip} saddr @{nodes} {ip} daddr {pods} accept"));
                rules.push(format!("iifname \"{leg}\" {ip} saddr {pods} {ip} daddr {pods} accept"));
            } else if self.pods.is_some() {
                // The node has an address among its pods, which is local and still nobody's business outside.
                rules.push(format!("{ip} daddr {pods} counter name \"drop_guard\" goto refuse"));
            }
        }
        rules.push("fib daddr type local jump control".to_owned());
        rules.push("fib daddr type local jump services".to_owned());
        if !self.load_balancers.is_empty() {
            rules.push("ip daddr @load_balancers jump balanced".to_owned());
        }
        rules.push("counter name \"drop_guard\" goto refuse".to_owned());
        chain("guard", &rules)
    }

    /// A packet from the wire with a source that cannot come from there: an answer would leave elsewhere, or nowhere.
    fn spoofing(&self) -> String {
        let end = "counter name \"drop_spoofed\" goto refuse";
        let mut rules = vec![format!("fib saddr . iif oif missing {end}")];
        if self.pods.is_some() {
            let mut inside = self.service_cidr.clone();
            if !self.routes_pods() {
                inside.splice(0..0, self.pod_cidr.iter().copied());
            }
            for (family, inside) in by_family(&inside) {
                rules.push(format!("{} saddr {} {end}", family.header(), list(inside)));
            }
        }
        chain("spoofing", &rules)
    }

    /// Echo from the cluster network and from pods. Errors (path MTU) about our own connections are `related`; others are
    /// about nothing.
    fn control(&self) -> String {
        let inside = self.pod_devices().into_iter().chain([format!("\"{}\"", self.cluster_leg.name)]);
        let inside = list(inside);
        chain(
            "control",
            &[
                format!("iifname {inside} icmp type echo-request {ICMP_LIMIT}"),
                format!("iifname {inside} icmpv6 type echo-request {ICMP_LIMIT}"),
            ],
        )
    }

    /// Patterns of the interfaces that pods are behind, quoted.
    fn pod_devices(&self) -> Vec<String> {
        self.pods.iter().flat_map(|pods| &pods.devices).map(|device| format!("\"{device}\"")).collect()
    }

    /// The flows from the wire: counted in the guard, where every one of them passes once, and not again in input.
    fn wire_flows(&self, counted: bool) -> Vec<String> {
        let flows =
            self.flows.iter().filter(|flow| flow.leg != Leg::Pods && flow.target != Target::LoadBalancer);
        flows.flat_map(|flow| self.rules_of(flow, counted)).collect()
    }

    fn balanced(&self) -> Vec<String> {
        let flows = self.flows.iter().filter(|flow| flow.target == Target::LoadBalancer);
        flows.flat_map(|flow| self.rules_of(flow, true)).collect()
    }

    fn rules_of(&self, flow: &Flow, counted: bool) -> Vec<String> {
        let from = match (flow.leg, &self.pods) {
            (Leg::Pods, Some(pods)) => {
                format!("iifname {}", list(pods.devices.iter().map(|d| format!("\"{d}\""))))
            }
            (leg, _) => format!("iifname \"{}\"", self.name_of(leg)),
        };
        let count = if counted { format!(" counter name \"{}\"", counter_of(flow)) } else { String::new() };
        let mut rules = vec![];
        for (family, sources) in by_family(&flow.sources) {
            let Some(at) = at_of(flow.target, family) else { continue };
            let who = who_of(flow, family, &sources);
            let rule = |what: String| format!("{from}{who}{at} {what}{count} accept");
            rules.extend(matches_of(&flow.service).into_iter().map(rule));
        }
        rules
    }

    fn input(&self) -> String {
        let mut rules = vec![
            "type filter hook input priority filter - 5; policy drop;".to_owned(),
            "ct state { established, related } accept".to_owned(),
            "iifname \"lo\" accept".to_owned(),
            "jump neighbours".to_owned(),
        ];
        rules.extend(self.learning());
        rules.extend([
            "ct state invalid counter name \"drop_invalid\" drop".to_owned(),
            "jump control".to_owned(),
            "jump admitted".to_owned(),
        ]);
        if self.pods.is_some() {
            let flows =
                self.flows.iter().filter(|flow| flow.leg == Leg::Pods && flow.target != Target::LoadBalancer);
            rules.extend(flows.flat_map(|flow| self.rules_of(flow, true)));
            // kube-proxy has rewritten it: it came from a pod, or the guard has let it pass under its first address.
            // Not from an interface that nobody configured, which the guard does not look at.
            let known = list(self.pod_devices().into_iter().chain(self.wire_names()));
            rules.push(format!("iifname {known} ct status dnat accept"));
        }
        rules.push("counter name \"drop_input\" goto refuse".to_owned());
        chain("input", &rules)
    }

    /// What routers say to a link that asks them for IPv6 addresses: advertisements, never through a router, and the answers of
    /// their DHCPv6 server, which no connection has asked for as the question goes to everybody.
    fn learning(&self) -> Vec<String> {
        if self.learning.is_empty() {
            return vec![];
        }
        let links = list(self.learning.iter().map(|name| format!("\"{name}\"")));
        vec![
            format!(
                "iifname {links} icmpv6 type nd-router-advert ip6 hoplimit 255 ip6 saddr fe80::/10 accept"
            ),
            format!("iifname {links} ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept"),
        ]
    }

    /// A node with pods forwards for them, but is no router between its networks, nor for an interface that nobody
    /// configured; a proxy forwards nothing.
    fn forward(&self) -> String {
        let mut rules = vec!["type filter hook forward priority filter - 5; policy drop;".to_owned()];
        if self.pods.is_some() {
            rules.push("ct state { established, related } accept".to_owned());
            rules.push(format!("iifname {} accept", list(self.pod_devices())));
            // The guard has let it pass under its first address.
            rules.push(format!("iifname {} ct status dnat accept", self.wires()));
        }
        if self.routes_pods() {
            for (family, pods) in by_family(&self.pod_cidr) {
                let (leg, ip) = (&self.cluster_leg.name, family.header());
                rules.push(format!("iifname \"{leg}\" {ip} daddr {} accept", one_or_list(&pods)));
            }
        }
        rules.push("counter name \"drop_forward\" goto refuse".to_owned());
        chain("forward", &rules)
    }

    /// What the node itself may open; nothing when it may open anything.
    fn output(&self) -> String {
        let Some(egress) = &self.egress else { return String::new() };
        let mut rules = vec![
            "type filter hook output priority filter - 5; policy drop;".to_owned(),
            "ct state { established, related } accept".to_owned(),
            "oifname \"lo\" accept".to_owned(),
            "meta l4proto { icmp, ipv6-icmp } accept".to_owned(),
        ];
        if !self.learning.is_empty() {
            // DHCPv6 servers are asked by a group's address; IPv4 is asked by a socket below these rules.
            let links = list(self.learning.iter().map(|name| format!("\"{name}\"")));
            rules.push(format!("oifname {links} ip6 daddr ff02::1:2 udp sport 546 udp dport 547 accept"));
        }
        if let Some(pods) = &self.pods {
            // Where eBPF rewrites services, it does so after this chain.
            let services = if pods.replaces_kube_proxy { self.service_cidr.as_slice() } else { &[] };
            for (family, inside) in by_family(&[&self.pod_cidr, services].concat()) {
                rules.push(format!("{} daddr {} accept", family.header(), one_or_list(&inside)));
            }
            if !pods.replaces_kube_proxy {
                // kube-proxy has rewritten it: a service, wherever its answerer is.
                rules.push("ct status dnat accept".to_owned());
            }
        }
        for flow in egress {
            let count = egress_counter_of(flow);
            for (family, nets) in by_family(&flow.destinations) {
                let to = match nets.as_slice() {
                    [all] if all.prefix_len() == 0 => family.any().to_owned(),
                    some => format!("{} daddr {}", family.header(), list(strings(some))),
                };
                let rule = |what: String| format!("{to} {what} counter name \"{count}\" accept");
                rules.extend(matches_of(&flow.service).into_iter().map(rule));
            }
        }
        rules.push("counter name \"drop_output\" goto refuse".to_owned());
        chain("output", &rules)
    }
}

/// An address family, as rules speak of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Four,
    Six,
}

impl Family {
    fn header(self) -> &'static str {
        match self {
            Self::Four => "ip",
            Self::Six => "ip6",
        }
    }

    fn any(self) -> &'static str {
        match self {
            Self::Four => "meta nfproto ipv4",
            Self::Six => "meta nfproto ipv6",
        }
    }

    fn set_type(self) -> &'static str {
        match self {
            Self::Four => "ipv4_addr",
            Self::Six => "ipv6_addr",
        }
    }

    /// Name of the set of a group.
    fn set(self, group: &str) -> String {
        match self {
            Self::Four => group.to_owned(),
            Self::Six => format!("{group}_v6"),
        }
    }
}

/// The ranges of each family that has any, in their order.
fn by_family(nets: &[IpNet]) -> impl Iterator<Item = (Family, Vec<IpNet>)> + use<> {
    let (four, six): (Vec<IpNet>, Vec<IpNet>) = nets.iter().partition(|net| matches!(net, IpNet::V4(_)));
    [(Family::Four, four), (Family::Six, six)].into_iter().filter(|(_, nets)| !nets.is_empty())
}

/// Who may, in one family.
fn who_of(flow: &Flow, family: Family, sources: &[IpNet]) -> String {
    let ip = family.header();
    let is_everybody = matches!(sources, [all] if all.prefix_len() == 0);
    let mut who = match (named_set(flow), flow.target) {
        (Some(name), _) => format!(" {ip} saddr @{}", family.set(name)),
        // The destination says already which family it is.
        (None, Target::Address(..)) if is_everybody => String::new(),
        (None, _) if is_everybody => format!(" {}", family.any()),
        (None, _) => format!(" {ip} saddr {}", list(strings(sources))),
    };
    let except = by_family(&flow.except).find(|(of, _)| *of == family);
    if let Some((_, except)) = except {
        let not = match dmz_proxies(flow) {
            Some(_) => format!("@{}", family.set(DMZ_PROXIES)),
            None => list(strings(&except)),
        };
        who.push_str(&format!(" {ip} saddr != {not}"));
    }
    who
}

/// At which address, in one family; `None` when the node has none of it there.
fn at_of(target: Target, family: Family) -> Option<String> {
    match (target, family) {
        (Target::Local, _) | (Target::LoadBalancer, Family::Four) => Some(String::new()),
        (Target::LoadBalancer, Family::Six) => None,
        (Target::Address(four, _), Family::Four) => Some(format!(" ip daddr {four}")),
        (Target::Address(_, six), Family::Six) => six.map(|six| format!(" ip6 daddr {six}")),
    }
}

/// Neighbour discovery, which IPv6 needs before anything else; never through a router (hop limit 255).
const NEIGHBOURS: &str = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 limit rate 1000/second burst 2000 packets accept";

/// Switches that watch who listens to which group ask so; who does not answer is cut off from its neighbours' questions.
const LISTENERS: &str = "icmpv6 type mld-listener-query ip6 hoplimit 1 ip6 saddr fe80::/10 limit rate 20/second burst 40 packets accept";

/// The set that holds exactly the sources of a flow, when its group has one.
fn named_set(flow: &Flow) -> Option<&'static str> {
    let ranges = matches!(flow.group, Group::Cluster | Group::Dmz | Group::Wan | Group::Pods);
    (!ranges && flow.whole_group).then(|| flow.group.name())
}

/// The exceptions of a flow, when they are the DMZ proxies.
fn dmz_proxies(flow: &Flow) -> Option<&[IpNet]> {
    let proxies = matches!(flow.group, Group::Admin | Group::Cluster) && !flow.except.is_empty();
    proxies.then_some(flow.except.as_slice())
}

/// One rule for each protocol.
fn matches_of(service: &Service) -> Vec<String> {
    let Service::Ports(ports) = service else { return vec!["meta l4proto 112".to_owned()] };
    let of = |transport: Transport| {
        let ports: Vec<&PortSpec> = ports.iter().filter(|spec| spec.transport == transport).collect();
        let ranges = ports.iter().map(|spec| range(spec));
        match ports.as_slice() {
            [] => None,
            [one] => Some(format!("{transport} dport {}", range(one))),
            _ => Some(format!("{transport} dport {}", list(ranges))),
        }
    };
    [Transport::Tcp, Transport::Udp].into_iter().filter_map(of).collect()
}

fn range(spec: &PortSpec) -> String {
    if spec.first == spec.last { spec.first.to_string() } else { format!("{}-{}", spec.first, spec.last) }
}

/// Hosts without their prefix length.
fn strings(nets: &[IpNet]) -> Vec<String> {
    let is_host = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
    let text = |net: &IpNet| if is_host(net) { net.addr().to_string() } else { net.to_string() };
    nets.iter().map(text).collect()
}

/// One range as it is, more of them as `{ a, b }`.
fn one_or_list(nets: &[IpNet]) -> String {
    match nets {
        [one] => one.to_string(),
        some => list(some),
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

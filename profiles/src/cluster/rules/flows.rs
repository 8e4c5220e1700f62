//! Flows of the operator: both ends exist, sources are where they say, and what is dangerous was meant.

use super::findings::Findings;
use super::view::{NodeView, View};
use crate::code::Code;
use crate::firewall::{FlowFrom, FlowTo, OperatorFlow, PortSpec, Transport};
use crate::node::{ProxyPlacement, Role, Zone};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;

/// What must not be opened by accident.
struct Danger {
    what: &'static str,
    ports: PortSpec,
    /// Where it answers.
    to: &'static [FlowTo],
    /// From where opening it is a danger.
    from: fn(FlowFrom) -> bool,
}

const fn tcp(first: u16, last: u16) -> PortSpec {
    PortSpec { transport: Transport::Tcp, first, last }
}

const fn udp(port: u16) -> PortSpec {
    PortSpec::udp(port)
}

const NODES: &[FlowTo] = &[FlowTo::Master, FlowTo::Worker];
const ALL: &[FlowTo] = &[FlowTo::Master, FlowTo::Worker, FlowTo::InternalProxy, FlowTo::DmzProxy];

/// etcd holds every secret and trusts whoever reaches it with a certificate: masters only. Who can send to a tunnel's port is
/// inside the pod network: nodes only. The others are for the inside.
const DANGERS: &[Danger] = &[
    Danger {
        what: "etcd",
        ports: tcp(2379, 2382),
        to: &[FlowTo::Master],
        from: |from| from != FlowFrom::Master,
    },
    Danger {
        what: "the Kubernetes API",
        ports: tcp(6443, 6444),
        to: &[FlowTo::Master, FlowTo::InternalProxy],
        from: FlowFrom::is_hostile,
    },
    Danger { what: "the kubelet", ports: tcp(10248, 10259), to: NODES, from: FlowFrom::is_hostile },
    Danger { what: "the pod network (VXLAN)", ports: udp(8472), to: NODES, from: is_no_node },
    Danger { what: "the pod network (VXLAN)", ports: udp(4789), to: NODES, from: is_no_node },
    Danger { what: "routes to pods (BGP)", ports: tcp(179, 179), to: NODES, from: is_no_node },
    Danger { what: "SSH", ports: tcp(22, 22), to: ALL, from: FlowFrom::is_hostile },
    Danger { what: "the health report", ports: tcp(9940, 9940), to: ALL, from: FlowFrom::is_hostile },
];

fn is_no_node(from: FlowFrom) -> bool {
    !matches!(from, FlowFrom::Master | FlowFrom::Worker)
}

fn kind_of(node: &NodeView) -> Option<FlowTo> {
    match (node.role()?, node.entry.placement) {
        (Role::Master, _) => Some(FlowTo::Master),
        (Role::Worker, _) => Some(FlowTo::Worker),
        (Role::Proxy, Some(ProxyPlacement::Internal)) => Some(FlowTo::InternalProxy),
        (Role::Proxy, Some(ProxyPlacement::Dmz)) => Some(FlowTo::DmzProxy),
        (Role::Proxy, None) => None,
    }
}

fn role_of(from: FlowFrom) -> Option<FlowTo> {
    match from {
        FlowFrom::Master => Some(FlowTo::Master),
        FlowFrom::Worker => Some(FlowTo::Worker),
        FlowFrom::InternalProxy => Some(FlowTo::InternalProxy),
        FlowFrom::DmzProxy => Some(FlowTo::DmzProxy),
        FlowFrom::Cluster | FlowFrom::Dmz | FlowFrom::Wan | FlowFrom::Admin | FlowFrom::Pods => None,
    }
}

/// Both ends exist, and the ports run forwards.
pub(super) fn ends(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for (path, flow) in &view.flows {
        if flow.port.first > flow.port.last {
            let message = format!("{} ends before it starts", flow.port);
            findings.value(Code::FlowPorts, &path.key("port"), message);
        }
        if flow.from == FlowFrom::Dmz && !view.has_dmz {
            let message = "the file has no `[networks.dmz]`";
            findings.value(Code::FlowZone, &path.key("from"), message);
        }
        if flow.from == FlowFrom::Pods && matches!(flow.to, FlowTo::InternalProxy | FlowTo::DmzProxy) {
            let message =
                "a proxy sees pods under the addresses of their nodes; name `master` or `worker` instead";
            findings.value(Code::FlowZone, &path.key("from"), message);
        }
        let metallb = view.features.as_ref().is_some_and(|features| features.metallb.is_some());
        if flow.to == FlowTo::LoadBalancer && !metallb && view.is_said("features.metallb") {
            findings.value(Code::FlowZone, &path.key("to"), "the file has no `[features.metallb]`");
        }
        if !view.complete {
            continue;
        }
        let there = |kind: FlowTo| view.nodes.iter().any(|node| kind_of(node) == Some(kind));
        let to = Some(flow.to).filter(|to| *to != FlowTo::LoadBalancer);
        for (key, kind) in [("from", role_of(flow.from)), ("to", to)] {
            if let Some(kind) = kind.filter(|kind| !there(*kind)) {
                findings.value(Code::FlowNoNode, &path.key(key), format!("no node has the role `{kind}`"));
            }
        }
    }
}

/// Every source is inside its zone, or a node of its role.
pub(super) fn sources(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for (path, flow) in &view.flows {
        for (n, source) in flow.sources.iter().enumerate() {
            if let Some(reason) = outside(view, flow.from, *source) {
                let message = format!("{source} is not a source of `{}`: {reason}", flow.from);
                findings.value(Code::FlowSource, &path.key("sources").index(n), message);
            }
        }
    }
}

/// Why a source cannot be in that zone or role; `None` when it can, or when the zone itself is refused.
fn outside(view: &View<'_>, from: FlowFrom, source: IpNet) -> Option<String> {
    let is_six = matches!(source, IpNet::V6(_));
    let beyond = |name: &str, four: Option<Ipv4Net>, six: Option<Ipv6Net>| {
        // The zone itself is refused, or not there at all.
        let four = IpNet::V4(four?);
        match six.map(IpNet::V6).filter(|_| is_six) {
            None if is_six => Some(format!("the {name} is of IPv4 only")),
            six => {
                let range = six.unwrap_or(four);
                (!range.contains(&source)).then(|| format!("the {name} is {}", range.trunc()))
            }
        }
    };
    let (network, dmz, cluster) = (view.network.as_ref(), view.dmz.as_ref(), view.cluster.as_ref());
    match from {
        FlowFrom::Cluster => {
            beyond("cluster network", network.map(|net| net.cidr), network.and_then(|net| net.cidr6))
        }
        FlowFrom::Dmz => beyond("DMZ", dmz.map(|net| net.cidr), dmz.and_then(|net| net.cidr6)),
        FlowFrom::Pods => beyond("pod range", cluster.map(|c| c.pod_cidr), cluster.and_then(|c| c.pod_cidr6)),
        FlowFrom::Admin => {
            let admin = view.admin.as_ref()?;
            let inside = admin.sources.iter().any(|range| range.contains(&source));
            (!inside && view.is_said("admin.sources")).then(|| "it is in none of `admin.sources`".to_owned())
        }
        FlowFrom::Wan => {
            let ranges = view.all_ranges();
            let (name, range) = ranges.iter().find(|(_, range)| range.contains(&source))?;
            Some(format!("it is inside the {name} {}", range.trunc()))
        }
        FlowFrom::Master | FlowFrom::Worker | FlowFrom::InternalProxy | FlowFrom::DmzProxy => {
            let known = view.nodes.iter().filter(|node| kind_of(node) == role_of(from));
            let own = known.flat_map(|node| node.legs_in(Zone::Cluster));
            let own = own.flat_map(|leg| {
                [leg.address.map(IpAddr::from), leg.address6.map(IpAddr::from)].into_iter().flatten()
            });
            let whole = view.complete && view.nodes.iter().all(|node| !node.partial);
            let is_no_node = whole && !own.into_iter().any(|own| IpNet::from(own) == source);
            is_no_node.then(|| "no such node has this address on the cluster network".to_owned())
        }
    }
}

/// What opens something dangerous says why that is accepted.
pub(super) fn risks(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for (path, flow) in view.flows.iter().filter(|(_, flow)| flow.port.first <= flow.port.last) {
        let opened = opened(flow);
        match (&flow.accept_risk, opened.is_empty()) {
            (None, false) => {
                let message = format!(
                    "it opens {} of every {} to `{}`; if that has to be, say why in `accept_risk`",
                    opened.join(" and "),
                    flow.to,
                    flow.from
                );
                findings.value(Code::FlowRisk, &path.key("port"), message);
            }
            (Some(_), true) => {
                let message = "this flow opens nothing dangerous; leave `accept_risk` out";
                findings.key(Code::FlowRiskNeedless, &path.key("accept_risk"), message);
            }
            _ => {}
        }
    }
}

fn opened(flow: &OperatorFlow) -> Vec<&'static str> {
    let meant = |danger: &&Danger| {
        danger.to.contains(&flow.to) && danger.ports.overlaps(flow.port) && (danger.from)(flow.from)
    };
    let mut found: Vec<&str> = DANGERS.iter().filter(meant).map(|danger| danger.what).collect();
    found.dedup();
    found
}

//! `metalstrap firewall explain`: a question in words, answered from the flows.

use super::evaluate::{Chain, Packet, PacketKind, Verdict};
use super::groups::{cluster_addresses, members};
use super::model::{Flow, Group, Leg, Model, NodeKind, Origin, Target};
use ipnet::IpNet;
use profiles::firewall::{FlowFrom, PortSpec, Transport};
use profiles::node::{NodeConfig, Peer};
use serde::Serialize;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address outside, for answers about the internet (TEST-NET-2, which nobody has).
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The same for IPv6, of the range for documentation.
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Addresses of a zone that are looked at for one that nobody has: more than nodes that a cluster may have.
const HOSTS_TRIED: usize = 4096;

/// Ports that Kubernetes gives out as NodePorts.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

/// Who asks to get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// A zone or role.
    Group(FlowFrom),
    /// One address.
    Address(IpAddr),
    /// A node, by its host name.
    Node(String),
}

impl std::str::FromStr for From {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(group) = FlowFrom::ALL.into_iter().find(|group| group.as_str() == text) {
            return Ok(Self::Group(group));
        }
        Ok(text.parse().map_or_else(|_| Self::Node(text.to_owned()), Self::Address))
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// Not a port, `ping` or `vrrp`.
    #[error("`{0}` is not a port (as in tcp/30080), `ping` or `vrrp`")]
    What(String),
    /// Neither a zone, a role, an address nor a node.
    #[error(
        "`{name}` is not a zone (cluster, dmz, wan, admin, pods), a role (master, worker, internal-proxy, dmz-proxy), an address or a node of this cluster"
    )]
    Who {
        /// What was asked for.
        name: String,
    },
    /// A zone or role without a host in this cluster, or none with IPv6.
    #[error("this cluster has nobody in `{who}`{}", if *.six { " with an IPv6 address" } else { "" })]
    Nobody {
        /// Zone, role or node.
        who: String,
        /// It was asked over IPv6.
        six: bool,
    },
    /// The node has no IPv6 address there.
    #[error("{0} has no IPv6 address there, so nothing can reach it over IPv6")]
    NoIpv6(String),
    /// No load balancer here.
    #[error("no load balancer address is answered by {0}")]
    NoLoadBalancer(String),
}

/// What is asked for: `tcp/30080`, `ping` or `vrrp`.
///
/// # Errors
/// [`ExplainError::What`].
pub fn parse_what(text: &str) -> Result<PacketKind, ExplainError> {
    let wrong = || ExplainError::What(text.to_owned());
    match text {
        "ping" => Ok(PacketKind::Echo),
        "vrrp" => Ok(PacketKind::Vrrp),
        _ => {
            let port: PortSpec = text.parse().map_err(|_| wrong())?;
            match port.transport {
                _ if port.first != port.last => Err(wrong()),
                Transport::Tcp => Ok(PacketKind::Tcp(port.first)),
                Transport::Udp => Ok(PacketKind::Udp(port.first)),
            }
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The node that was asked about.
    pub node: String,
    /// Who asks, in the words of the question.
    pub from: String,
    /// The packet the answer is about; for a zone one that stands for the zone.
    pub packet: Packet,
    /// What happens to it.
    pub verdict: Verdict,
    /// Who wants the flow that lets it in.
    pub origin: Option<Origin>,
    /// The reason its risk is accepted with.
    pub accept_risk: Option<String>,
    /// Parts of the zone that may, although the zone as a whole may not: flow and ranges.
    pub others: Vec<(String, Vec<IpNet>)>,
    /// Why this firewall has not the last word.
    pub gap: Option<String>,
}

/// Where the question leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct To {
    /// To an address of MetalLB, not of the node.
    pub load_balancer: bool,
    /// Over IPv6. An address that asks has its own family.
    pub six: bool,
}

/// Answers a question about one node.
///
/// # Errors
/// [`ExplainError`]: the question names somebody this cluster does not have.
pub fn explain(
    node: &NodeConfig,
    model: &Model,
    kind: PacketKind,
    from: &From,
    to: To,
) -> Result<Answer, ExplainError> {
    let (group, source) = source_of(node, model, from, to.six)?;
    let leg = leg_of(model, group, source);
    let destination = match (to.load_balancer, model.load_balancers.first()) {
        (true, Some(pool)) if source.is_ipv4() => pool.first.into(),
        (true, _) => return Err(ExplainError::NoLoadBalancer(model.hostname.clone())),
        (false, _) => {
            let own = model.interface(leg).unwrap_or(&model.cluster_leg);
            let six = own.address6.map(|address| address.addr().into());
            if source.is_ipv4() { Some(own.address.addr().into()) } else { six }
                .ok_or_else(|| ExplainError::NoIpv6(model.hostname.clone()))?
        }
    };
    let packet = Packet { leg, source, destination, kind };
    let verdict = if asks_itself(model, group, from, source) {
        let why = "the node reaches itself over loopback".to_owned();
        Verdict::Allowed { chain: Chain::Input, flow: None, why }
    } else {
        model.evaluate(&packet)
    };
    let flow = verdict.flow().and_then(|id| model.flows.iter().find(|flow| flow.id == id));
    let from = match from {
        From::Group(group) => group.to_string(),
        From::Address(address) => address.to_string(),
        From::Node(name) => name.clone(),
    };
    let others = match group {
        Some(group) if !verdict.is_allowed() => narrower(model, Group::from(group), leg, &packet),
        _ => vec![],
    };
    Ok(Answer {
        node: model.hostname.clone(),
        from,
        origin: flow.map(|flow| flow.origin.clone()),
        accept_risk: flow.and_then(|flow| flow.accept_risk.clone()),
        others,
        gap: gap(model, &packet, to.load_balancer),
        packet,
        verdict,
    })
}

/// The group, if one was named, and an address of it.
fn source_of(
    node: &NodeConfig,
    model: &Model,
    from: &From,
    six: bool,
) -> Result<(Option<FlowFrom>, IpAddr), ExplainError> {
    let nobody = |who: &dyn fmt::Display| ExplainError::Nobody { who: who.to_string(), six };
    match from {
        From::Address(address) => Ok((None, *address)),
        From::Node(name) => {
            let peer = node.peers.iter().find(|peer| peer.hostname == *name);
            let peer = peer.ok_or_else(|| ExplainError::Who { name: name.clone() })?;
            let found = cluster_addresses(peer).find(|address| address.is_ipv6() == six);
            Ok((None, found.ok_or_else(|| nobody(name))?))
        }
        From::Group(FlowFrom::Wan) if six => Ok((Some(FlowFrom::Wan), OUTSIDE6.into())),
        From::Group(FlowFrom::Wan) => Ok((Some(FlowFrom::Wan), OUTSIDE.into())),
        From::Group(group) => {
            let taken = |address: &IpAddr| {
                let of_peer = |peer: &Peer| {
                    let dmz = [peer.dmz_address.map(IpAddr::V4), peer.dmz_address6.map(IpAddr::V6)];
                    cluster_addresses(peer).chain(dmz.into_iter().flatten()).any(|own| own == *address)
                };
                model.addresses.contains(address) || node.peers.iter().any(of_peer)
            };
            let is_role =
                !matches!(group, FlowFrom::Cluster | FlowFrom::Dmz | FlowFrom::Admin | FlowFrom::Pods);
            let ranges = members(node, Group::from(*group));
            let ranges = ranges.iter().filter(|range| matches!(range, IpNet::V6(_)) == six);
            let mut hosts = ranges.clone().flat_map(|range| range.hosts().take(HOSTS_TRIED));
            let mut all = ranges.flat_map(|range| range.hosts().take(1));
            let found = if is_role {
                // Another node than the one that is asked about, if there is one.
                let all: Vec<IpAddr> = hosts.collect();
                all.iter().copied().find(|host| !model.addresses.contains(host)).or(all.first().copied())
            } else {
                // Administrators may all be nodes.
                hosts.find(|host| !taken(host)).or_else(|| all.next().filter(|_| *group == FlowFrom::Admin))
            };
            Ok((Some(*group), found.ok_or_else(|| nobody(group))?))
        }
    }
}

/// True when a node is asked about itself, or a role that it alone has. Its address as such is another question: on a wire that is forged.
fn asks_itself(model: &Model, group: Option<FlowFrom>, from: &From, source: IpAddr) -> bool {
    let by_name = matches!(from, From::Node(name) if *name == model.hostname);
    by_name || (group.is_some() && model.addresses.contains(&source))
}

/// Where a packet of that group, or of that address, arrives.
fn leg_of(model: &Model, group: Option<FlowFrom>, source: IpAddr) -> Leg {
    let inside = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&source));
    let from_pods = group.map_or_else(|| inside(&model.pod_cidr), |group| group == FlowFrom::Pods);
    // A zone stands where the cluster file puts it; whoever else asks comes the way that answers to him take.
    let by_route = matches!(group, None | Some(FlowFrom::Admin)) && !from_pods;
    if let Some(leg) = model.routes.way_to(source).filter(|_| by_route) {
        return leg;
    }
    let outside = match group {
        Some(group) => matches!(group, FlowFrom::Dmz | FlowFrom::Wan),
        None => !inside(&model.cluster_network),
    };
    match (from_pods && model.pods.is_some(), outside && model.dmz_leg.is_some()) {
        (true, _) => Leg::Pods,
        (false, true) => Leg::Dmz,
        (false, false) => Leg::Cluster,
    }
}

/// Flows that let in a part of the group.
fn narrower(model: &Model, group: Group, leg: Leg, packet: &Packet) -> Vec<(String, Vec<IpNet>)> {
    let part = |flow: &&Flow| flow.leg == leg && flow.group == group && !flow.whole_group;
    let flows = model.flows.iter().filter(part);
    let lets_in = |flow: &&Flow| {
        let of_family = |net: &&IpNet| net.addr().is_ipv4() == packet.source.is_ipv4();
        let source = flow.sources.iter().find(of_family).map(|net| net.hosts().next().unwrap_or(net.addr()));
        source.is_some_and(|source| model.evaluate(&Packet { source, ..*packet }).flow() == Some(&flow.id))
    };
    flows.filter(lets_in).map(|flow| (flow.id.clone(), flow.sources.clone())).collect()
}

/// Why the answer is not the whole truth on this node.
fn gap(model: &Model, packet: &Packet, to_load_balancer: bool) -> Option<String> {
    let node_port = match packet.kind {
        PacketKind::Tcp(port) | PacketKind::Udp(port) => NODE_PORTS.contains(&port),
        PacketKind::Vrrp | PacketKind::Echo | PacketKind::Neighbour => false,
    };
    model.gaps.first().filter(|_| packet.leg != Leg::Pods && (node_port || to_load_balancer)).cloned()
}

impl fmt::Display for Answer {
    /// One line, and one more for each thing to know.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.packet.source.to_string();
        let as_whom = if source == self.from { String::new() } else { format!(" (as {source})") };
        let Packet { kind, destination, .. } = &self.packet;
        write!(f, "{kind} from {}{as_whom} to {} ({destination}): ", self.from, self.node)?;
        match &self.verdict {
            Verdict::Denied { chain, why } => write!(f, "denied in chain {}: {why}", chain.name())?,
            Verdict::Allowed { chain, flow: None, why } => {
                write!(f, "allowed in chain {}: {why}", chain.name())?
            }
            Verdict::Allowed { chain, flow: Some(flow), why } => {
                let by = match &self.origin {
                    Some(Origin::Operator(number)) => format!("number {number} of the cluster file"),
                    _ => "builtin".to_owned(),
                };
                write!(f, "allowed in chain {} by flow {flow} ({by}): {why}", chain.name())?;
            }
        }
        if let Some(reason) = &self.accept_risk {
            write!(f, "\n  risk accepted: {reason}")?;
        }
        for (flow, ranges) in &self.others {
            let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
            write!(f, "\n  but {} may, by flow {flow}", ranges.join(", "))?;
        }
        self.gap.iter().try_for_each(|gap| write!(f, "\n  not enforced here: {gap}"))
    }
}

/// The line of a flow in `firewall show`: who, what, where, why.
pub fn describe(flow: &Flow) -> String {
    let who = if flow.whole_group {
        flow.group.name().to_owned()
    } else {
        let ranges: Vec<String> = flow.sources.iter().map(ToString::to_string).collect();
        format!("{} ({})", flow.group.name(), ranges.join(", "))
    };
    let target = match flow.target {
        Target::Local => String::new(),
        Target::Address(four, None) => format!(" at {four}"),
        Target::Address(four, Some(six)) => format!(" at {four} and {six}"),
        Target::LoadBalancer => " at the load balancer addresses".to_owned(),
    };
    format!("{} from {who}{target}: {}", flow.service, flow.why)
}

/// Whether a node is what `to` names: its host name, its kind, or nothing.
pub fn is_target(hostname: &str, kind: NodeKind, to: Option<&str>) -> bool {
    to.is_none_or(|to| {
        to == hostname || to == kind.to_string() || (to == "load-balancer" && kind.runs_pods())
    })
}

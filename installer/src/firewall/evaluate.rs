//! What happens to a packet, worked out from the flows alone: nothing here reads the rendered rules, so that the two can be
//! held against each other.

use super::groups::LINK_LOCAL;
use super::model::{Egress, Flow, Leg, Model, Service, Target};
use ipnet::IpNet;
use profiles::firewall::Transport;
use serde::Serialize;
use std::fmt;
use std::net::IpAddr;

/// Kind of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PacketKind {
    /// First packet of a TCP connection, to this port.
    Tcp(u16),
    /// First packet of a UDP exchange, to this port.
    Udp(u16),
    /// VRRP (IP protocol 112).
    Vrrp,
    /// ICMP or ICMPv6 echo request.
    Echo,
    /// Neighbour solicitation or advertisement (IPv6), with hop limit 255.
    Neighbour,
}

impl fmt::Display for PacketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "tcp/{port}"),
            Self::Udp(port) => write!(f, "udp/{port}"),
            Self::Vrrp => f.write_str("vrrp"),
            Self::Echo => f.write_str("ping"),
            Self::Neighbour => f.write_str("neighbour discovery"),
        }
    }
}

/// A packet that belongs to no connection yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Packet {
    /// Where it arrives.
    pub leg: Leg,
    /// Its source address.
    pub source: IpAddr,
    /// Its destination address, before any rewriting.
    pub destination: IpAddr,
    /// What it is.
    pub kind: PacketKind,
}

/// The chain that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chain {
    /// Reverse-path check of the guard.
    Spoofing,
    /// Before kube-proxy's rewriting.
    Guard,
    /// For the node itself.
    Input,
    /// Through the node.
    Forward,
    /// From the node itself.
    Output,
}

impl Chain {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spoofing => "spoofing",
            Self::Guard => "guard",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
        }
    }
}

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It passes.
    Allowed {
        /// Which chain decided.
        chain: Chain,
        /// By which flow; `None` when it passes without one (neighbour discovery, ping, what pods send elsewhere).
        flow: Option<String>,
        /// Why.
        why: String,
    },
    /// It is dropped, counted and, within a limit, logged.
    Denied {
        /// Which chain drops it.
        chain: Chain,
        /// Why.
        why: String,
    },
}

impl Verdict {
    /// True when the packet passes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    /// Id of the flow that lets it pass.
    pub fn flow(&self) -> Option<&str> {
        match self {
            Self::Allowed { flow, .. } => flow.as_deref(),
            Self::Denied { .. } => None,
        }
    }
}

const LINK_LOCAL_NET: IpNet = IpNet::V6(LINK_LOCAL);
const NO_ROUTER: &str = "this node is no router between networks";

fn passes(chain: Chain, why: &str) -> Verdict {
    Verdict::Allowed { chain, flow: None, why: why.to_owned() }
}

fn denied(chain: Chain, why: impl Into<String>) -> Verdict {
    Verdict::Denied { chain, why: why.into() }
}

impl Model {
    /// What happens to a packet that arrives at the node.
    pub fn evaluate(&self, packet: &Packet) -> Verdict {
        if packet.kind == PacketKind::Neighbour {
            return passes(Chain::Input, "IPv6 needs to find its neighbours");
        }
        let (source, destination) = (packet.source, packet.destination);
        match packet.leg {
            Leg::Pods => self.judge_pods(source, destination, packet.kind),
            Leg::Other => {
                denied(Chain::Input, "it arrives in a network of its own, where no flow lets anything in")
            }
            leg if self.interface(leg).is_none() => denied(Chain::Guard, "the node has no such interface"),
            leg => self.judge_wire(leg, source, destination, packet.kind),
        }
    }

    /// What happens to a packet that the node itself sends.
    pub fn evaluate_output(&self, destination: IpAddr, kind: PacketKind) -> Verdict {
        let Some(egress) = &self.egress else {
            return passes(Chain::Output, "this node may open anything");
        };
        if matches!(kind, PacketKind::Neighbour | PacketKind::Echo) {
            return passes(Chain::Output, "the node may look whether others are there");
        }
        if self.pods.is_some()
            && (listed(&self.pod_cidr, destination) || listed(&self.service_cidr, destination))
        {
            return passes(Chain::Output, "the node talks to its pods and to services");
        }
        let found = egress.iter().find(|flow| goes(flow, destination, kind));
        found.map_or_else(
            || denied(Chain::Output, "no flow lets this node open it"),
            |flow| Verdict::Allowed {
                chain: Chain::Output,
                flow: Some(flow.id.clone()),
                why: flow.why.clone(),
            },
        )
    }

    fn judge_wire(&self, leg: Leg, source: IpAddr, destination: IpAddr, kind: PacketKind) -> Verdict {
        if let Some(why) = self.spoofed(leg, source) {
            return denied(Chain::Spoofing, why);
        }
        let is_node = self.nodes.contains(&source) || listed(&self.pod_cidr, source);
        if self.routes_pods() && leg == Leg::Cluster && is_node && listed(&self.pod_cidr, destination) {
            return passes(Chain::Forward, "pods and nodes talk to pods, without a tunnel");
        }
        let local = self.addresses.contains(&destination);
        if kind == PacketKind::Echo && leg == Leg::Cluster {
            return match local {
                true => passes(Chain::Input, "hosts of the cluster network may ping"),
                false => denied(Chain::Guard, NO_ROUTER),
            };
        }
        let balanced = match destination {
            IpAddr::V4(address) => self.load_balancers.iter().any(|pool| pool.contains(address)),
            IpAddr::V6(_) => false,
        };
        let reaches = |flow: &Flow| match flow.target {
            Target::Local => local,
            Target::Address(four, six) => {
                destination == IpAddr::V4(four) || six.is_some_and(|six| destination == IpAddr::V6(six))
            }
            Target::LoadBalancer => balanced && !local,
        };
        match self.flows.iter().find(|flow| flow.leg == leg && reaches(flow) && comes(flow, source, kind)) {
            Some(flow) => {
                let chain = if flow.target == Target::LoadBalancer { Chain::Guard } else { Chain::Input };
                Verdict::Allowed { chain, flow: Some(flow.id.clone()), why: flow.why.clone() }
            }
            None if local || balanced => denied(Chain::Guard, "no flow lets it in"),
            None => denied(Chain::Guard, NO_ROUTER),
        }
    }

    fn judge_pods(&self, source: IpAddr, destination: IpAddr, kind: PacketKind) -> Verdict {
        if self.pods.is_none() {
            return denied(Chain::Input, "a proxy has no pods");
        }
        if !self.addresses.contains(&destination) {
            return passes(Chain::Forward, "pods may talk to others; network policies say which");
        }
        if kind == PacketKind::Echo {
            return passes(Chain::Input, "pods may ping their node");
        }
        let found = self.flows.iter().find(|flow| flow.leg == Leg::Pods && comes(flow, source, kind));
        found.map_or_else(
            || denied(Chain::Input, "no flow lets pods reach it"),
            |flow| Verdict::Allowed {
                chain: Chain::Input,
                flow: Some(flow.id.clone()),
                why: flow.why.clone(),
            },
        )
    }

    /// Why a source cannot be on this wire.
    fn spoofed(&self, leg: Leg, source: IpAddr) -> Option<String> {
        let inside = self.pods.is_some()
            && (listed(&self.service_cidr, source)
                || (listed(&self.pod_cidr, source) && !self.routed_on(leg)));
        if inside {
            return Some(format!("{source} is a pod or service address, and those are never on this wire"));
        }
        if self.addresses.contains(&source) {
            return Some(format!("{source} is an address of this node itself"));
        }
        (self.way_back(leg, source) != Some(leg))
            .then(|| format!("the way back to {source} is not where it came from"))
    }

    /// Pod addresses are on the wire between the nodes.
    pub(super) fn routes_pods(&self) -> bool {
        self.pods.as_ref().is_some_and(|pods| pods.routed)
    }

    fn routed_on(&self, leg: Leg) -> bool {
        self.routes_pods() && leg == Leg::Cluster
    }

    /// The wire that an answer to what arrived on `leg` would leave by.
    fn way_back(&self, leg: Leg, address: IpAddr) -> Option<Leg> {
        if LINK_LOCAL_NET.contains(&address) {
            return Some(leg);
        }
        if self.routes_pods() && listed(&self.pod_cidr, address) {
            return Some(Leg::Cluster);
        }
        self.routes.way_to(address)
    }

    /// The interface of a wire.
    pub fn interface(&self, leg: Leg) -> Option<&super::model::LegFacts> {
        match leg {
            Leg::Cluster => Some(&self.cluster_leg),
            Leg::Dmz => self.dmz_leg.as_ref(),
            Leg::Pods | Leg::Other => None,
        }
    }
}

fn listed(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&address))
}

fn comes(flow: &Flow, source: IpAddr, kind: PacketKind) -> bool {
    listed(&flow.sources, source) && !listed(&flow.except, source) && serves(&flow.service, kind)
}

fn goes(flow: &Egress, destination: IpAddr, kind: PacketKind) -> bool {
    listed(&flow.destinations, destination) && serves(&flow.service, kind)
}

fn serves(service: &Service, kind: PacketKind) -> bool {
    let (transport, port) = match (service, kind) {
        (Service::Vrrp, kind) => return kind == PacketKind::Vrrp,
        (Service::Ports(_), PacketKind::Tcp(port)) => (Transport::Tcp, port),
        (Service::Ports(_), PacketKind::Udp(port)) => (Transport::Udp, port),
        (Service::Ports(_), _) => return false,
    };
    let Service::Ports(ports) = service else { return false };
    ports.iter().any(|spec| spec.transport == transport && spec.ports().contains(&port))
}

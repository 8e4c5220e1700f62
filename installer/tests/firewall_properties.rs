//! What must hold for any packet and any flow, not only for those somebody thought of.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod render_support;

use installer::firewall::{Leg, Model, Packet, PacketKind, Verdict};
use profiles::firewall::{FlowFrom, FlowTo, OperatorFlow, PortSpec, Transport};
use profiles::node::{Cni, NodeConfig};
use proptest::prelude::*;
use render_support::{dual_stack, ha};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HOSTS: [&str; 4] = ["master-1", "worker-1", "proxy-1", "edge-1"];

fn operator_flow() -> impl Strategy<Value = OperatorFlow> {
    let tos = [FlowTo::Master, FlowTo::Worker, FlowTo::InternalProxy, FlowTo::DmzProxy];
    (0..FlowFrom::ALL.len(), 0..tos.len(), any::<bool>(), 1_u16..40_000, 0_u16..3000).prop_map(
        move |(from, to, tcp, first, more)| OperatorFlow {
            from: FlowFrom::ALL[from],
            sources: vec![],
            to: tos[to],
            port: PortSpec {
                transport: if tcp { Transport::Tcp } else { Transport::Udp },
                first,
                last: first + more,
            },
            why: "a random flow".to_owned(),
            accept_risk: None,
        },
    )
}

fn node() -> impl Strategy<Value = NodeConfig> {
    let cnis = [Cni::FlannelVxlan, Cni::CalicoVxlan, Cni::CalicoBgp, Cni::CiliumWireguard];
    let flows = proptest::collection::vec(operator_flow(), 0..6);
    let six = prop_oneof![Just(None), any::<bool>().prop_map(Some)];
    (0..HOSTS.len(), 0..cnis.len(), any::<bool>(), six, flows).prop_map(
        move |(host, cni, egress, six, flows)| {
            let mut node = six.map_or_else(|| ha(HOSTS[host]), |pods| dual_stack(HOSTS[host], pods));
            node.cluster.cni = cnis[cni];
            node.cluster.firewall.egress = egress;
            node.cluster.firewall.flows = flows;
            node
        },
    )
}

/// Addresses that mean something in this cluster, and any other.
fn address() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        (0_u8..30).prop_map(|last| Ipv4Addr::new(10, 0, 0, last)),
        (0_u8..60).prop_map(|last| Ipv4Addr::new(10, 0, 2, last)),
        (0_u8..60).prop_map(|last| Ipv4Addr::new(192, 168, 1, last)),
        (0_u8..9).prop_map(|last| Ipv4Addr::new(10, 42, 0, last)),
        (0_u8..20).prop_map(|last| Ipv4Addr::new(10, 43, 0, last)),
        any::<u32>().prop_map(Ipv4Addr::from),
    ]
}

/// The same over IPv6, with link-local ones.
fn address6() -> impl Strategy<Value = Ipv6Addr> {
    let at = |a: u16, b: u16, last: u16| Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, last);
    prop_oneof![
        (0_u16..30).prop_map(move |last| at(0xfd00, 0x10, last)),
        (0x200_u16..0x230).prop_map(move |last| at(0xfd00, 0x10, last)),
        (0_u16..60).prop_map(move |last| at(0xfd00, 0x168, last)),
        (0_u16..9).prop_map(move |last| at(0xfd00, 0x42, last)),
        (0_u16..20).prop_map(move |last| at(0xfd00, 0x43, last)),
        (0_u16..20).prop_map(move |last| at(0xfe80, 0, last)),
        any::<u128>().prop_map(Ipv6Addr::from),
    ]
}

/// Source and destination of one family.
fn ends() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        (address(), address()).prop_map(|(from, to)| (IpAddr::V4(from), IpAddr::V4(to))),
        (address6(), address6()).prop_map(|(from, to)| (IpAddr::V6(from), IpAddr::V6(to))),
    ]
}

fn kind() -> impl Strategy<Value = PacketKind> {
    let port = prop_oneof![
        proptest::sample::select(vec![
            22, 53, 80, 179, 443, 2379, 2380, 6443, 8472, 9940, 10250, 30080, 30443, 51871
        ]),
        any::<u16>().prop_map(|port| port.max(1)),
    ];
    (port, 0..5_u8).prop_map(|(port, kind)| match kind {
        0 | 1 => PacketKind::Tcp(port),
        2 => PacketKind::Udp(port),
        3 => PacketKind::Vrrp,
        _ => PacketKind::Echo,
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let legs = [Leg::Cluster, Leg::Dmz, Leg::Pods];
    (0..legs.len(), ends(), kind()).prop_map(move |(leg, (source, destination), kind)| Packet {
        leg: legs[leg],
        source,
        destination,
        kind,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn removing_a_flow_never_opens_anything(node in node(), packet in packet(), which in any::<prop::sample::Index>()) {
        let model = Model::of(&node).unwrap();
        let mut less = model.clone();
        less.flows.remove(which.index(model.flows.len()));
        prop_assert!(model.evaluate(&packet).is_allowed() || !less.evaluate(&packet).is_allowed());
        let mut none = model.clone();
        none.flows.clear();
        prop_assert!(none.evaluate(&packet).flow().is_none());
    }

    #[test]
    fn what_is_allowed_does_not_depend_on_the_order(node in node(), packet in packet(), seed in any::<u64>()) {
        let model = Model::of(&node).unwrap();
        let mut other = model.clone();
        other.flows.sort_by_key(|flow| flow.id.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31) ^ u64::from(byte)));
        prop_assert_eq!(model.evaluate(&packet).is_allowed(), other.evaluate(&packet).is_allowed());
    }

    #[test]
    fn the_order_of_peers_changes_no_rule(node in node()) {
        let mut other = node.clone();
        other.peers.reverse();
        let flows = |node: &NodeConfig| Model::of(node).unwrap().render().unwrap();
        let sorted = |text: String| { let mut words: Vec<String> = text.split([' ', ',']).map(str::to_owned).collect(); words.sort(); words };
        prop_assert_eq!(sorted(flows(&node)), sorted(flows(&other)));
    }

    #[test]
    fn every_packet_gets_an_answer_and_one_flow_at_most_one_way(node in node(), packet in packet()) {
        let model = Model::of(&node).unwrap();
        if let Verdict::Allowed { flow: Some(id), .. } = model.evaluate(&packet) {
            let flow = model.flows.iter().find(|flow| flow.id == id).unwrap();
            prop_assert_eq!(flow.leg, packet.leg);
        }
    }

    /// Without the operator's consent nobody in the DMZ reaches a master, a worker or an internal proxy.
    #[test]
    fn the_dmz_reaches_no_node_of_the_cluster_by_itself(host in 0..3_usize, last in 1_u8..255, packet in packet()) {
        let model = Model::of(&dual_stack(HOSTS[host], true)).unwrap();
        let source = match packet.destination {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 168, 1, last)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0xfd00, 0x168, 0, 0, 0, 0, 0, last.into())),
        };
        let verdict = model.evaluate(&Packet { leg: Leg::Cluster, source, ..packet });
        prop_assert!(!verdict.is_allowed() || packet.kind == PacketKind::Echo, "{:?}", verdict);
    }

    /// A flow from A to B that B lets in is one that A may open, when A may open only what it needs.
    #[test]
    fn what_the_other_side_lets_in_may_be_opened(node in node(), kind in kind()) {
        let mut from = node.clone();
        from.cluster.firewall.egress = true;
        let model = Model::of(&from).unwrap();
        let has_six = from.cluster.ipv6.cluster_network.is_some();
        for host in HOSTS.iter().filter(|host| **host != from.hostname) {
            let mut to = if has_six { dual_stack(host, true) } else { ha(host) };
            to.cluster = from.cluster.clone();
            let (own, theirs) = (from.cluster_interface().unwrap(), to.cluster_interface().unwrap());
            for (source, destination) in own.addresses().zip(theirs.addresses()) {
                let packet = Packet { leg: Leg::Cluster, source, destination, kind };
                if Model::of(&to).unwrap().evaluate(&packet).flow().is_some() {
                    prop_assert!(model.evaluate_output(destination, kind).is_allowed(), "{} {:?}", host, kind);
                }
            }
        }
    }
}

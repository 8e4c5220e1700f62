//! The probes against a segment of imagined machines, with a clock that costs nothing.

use super::talk::{Us, Wire};
use super::{
    Answer, Carrier, DnsAnswer, Heard, LegFindings, MtuAnswer, Weight, ask_leg, judge, questions_of,
};
use super::{parse_frame, render_answer, render_echo, runs_already};
use profiles::node::{MacAddr, NodeConfig};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

const US: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const OUR_OTHER_CARD: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A segment: who has which address, which frames pass, who answers echo and DNS.
#[derive(Default)]
struct Segment {
    has: Vec<(IpAddr, MacAddr)>,
    passes_bytes: usize,
    echo: BTreeSet<IpAddr>,
    dns: BTreeMap<IpAddr, u8>,
    /// Frames that come at their own time.
    incoming: VecDeque<(Duration, Vec<u8>)>,
    /// The first frames are swallowed, as by a port of a switch that is not forwarding yet.
    deaf_until: Duration,
    clock: Duration,
    sent: Vec<Vec<u8>>,
}

impl Wire for Segment {
    fn send(&mut self, frame: &[u8]) -> Result<(), String> {
        self.sent.push(frame.to_vec());
        if self.clock < self.deaf_until || frame.len() > 14 + self.passes_bytes {
            return Ok(());
        }
        for heard in parse_frame(frame) {
            if let Heard::Candidate { address, mac: asker } = heard {
                let asker_address = if address.is_ipv4() { ip("0.0.0.0") } else { ip("::") };
                for (_, holder) in self.has.iter().filter(|(has, _)| *has == address) {
                    let answer = render_answer(*holder, address, asker_address, asker).unwrap();
                    self.incoming.push_back((self.clock + Duration::from_millis(1), answer));
                }
            }
        }
        self.answer_packets(frame);
        Ok(())
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, String> {
        let end = self.clock + patience;
        match self.incoming.front() {
            Some((at, _)) if *at <= end => {
                self.clock = self.clock.max(*at);
                Ok(self.incoming.pop_front().map(|(_, frame)| frame))
            }
            _ => {
                self.clock = end;
                Ok(None)
            }
        }
    }

    fn now(&self) -> Duration {
        self.clock
    }
}

impl Segment {
    /// Echo requests and DNS questions come back with the ends exchanged.
    fn answer_packets(&mut self, frame: &[u8]) {
        let Ok(packet) = etherparse::SlicedPacket::from_ethernet(frame) else { return };
        let Some(etherparse::NetSlice::Ipv4(packet_ip)) = &packet.net else { return };
        let to = IpAddr::V4(packet_ip.header().destination_addr());
        let mut back = frame.to_vec();
        back.copy_within(26..30, 30);
        back[26..30].copy_from_slice(&frame[30..34]);
        match &packet.transport {
            Some(etherparse::TransportSlice::Icmpv4(_)) if self.echo.contains(&to) => back[34] = 0,
            Some(etherparse::TransportSlice::Udp(_)) if self.dns.contains_key(&to) => {
                back.copy_within(34..36, 36);
                back[34..36].copy_from_slice(&frame[36..38]);
                back[44] |= 0x80;
                back[45] |= self.dns[&to];
            }
            _ => return,
        }
        self.incoming.push_back((self.clock + Duration::from_millis(1), back));
    }
}

fn us() -> Us {
    Us { mac: US, machine: BTreeSet::from([US, OUR_OTHER_CARD]), id: 0x4d53, fresh: true }
}

/// A node of the example with three masters, a worker and two internal proxies: 10.0.0.0/22, gateway and DNS at .1.
fn node(name: &str) -> NodeConfig {
    let text = include_str!("../../../profiles/examples/ha.toml");
    let loaded = profiles::load("cluster.toml", text.as_bytes(), None);
    loaded.cluster.unwrap().resolve(name).unwrap()
}

/// A segment with a healthy gateway and DNS servers for this node.
fn healthy(node: &NodeConfig) -> Segment {
    let mut segment = Segment { passes_bytes: 1500, ..Segment::default() };
    for interface in &node.interfaces {
        if let Some(gateway) = interface.gateway {
            segment.has.push((gateway.into(), mac(254)));
            segment.echo.insert(gateway.into());
        }
        for server in &interface.dns {
            if interface.gateways().all(|gateway| gateway != *server) {
                segment.has.push((*server, mac(253)));
            }
            segment.dns.insert(*server, 0);
        }
    }
    segment
}

fn look(node: &NodeConfig, segment: &mut Segment) -> Vec<LegFindings> {
    questions_of(node).iter().map(|questions| ask_leg(questions, segment, &us())).collect()
}

/// Codes and messages of what is judged, weightiest first.
fn judged(node: &NodeConfig, segment: &mut Segment) -> Vec<(Weight, String)> {
    let findings = look(node, segment);
    let found = judge(node, &findings);
    found.into_iter().map(|j| (j.weight, format!("{}: {}", j.code, j.message))).collect()
}

fn own(node: &NodeConfig) -> IpAddr {
    node.cluster_interface().unwrap().address.addr().into()
}

fn peer(node: &NodeConfig, name: &str) -> IpAddr {
    node.peers.iter().find(|p| p.hostname == name).unwrap().cluster_address.into()
}

#[test]
fn a_healthy_segment_says_nothing() {
    let node = node("master-1");
    let mut segment = healthy(&node);
    assert_eq!(judged(&node, &mut segment), []);
    let leg = &look(&node, &mut healthy(&node))[0];
    assert_eq!(leg.own[&own(&node)], Answer::Silent);
    assert!(leg.mtu.values().all(|answer| *answer == MtuAnswer::Fits { bytes: 1500 }), "{leg:?}");
    assert!(leg.dns.values().all(|answer| *answer == DnsAnswer::Answered { rcode: 0 }), "{leg:?}");
    assert!(!leg.dns.is_empty() && !leg.mtu.is_empty());
}

#[test]
fn a_taken_address_is_refused_with_the_other_mac_and_never_used_to_ask_further() {
    let node = node("worker-1");
    let mut segment = healthy(&node);
    segment.has.push((own(&node), mac(9)));
    let found = judged(&node, &mut segment);
    let address = own(&node);
    assert_eq!(
        found[0],
        (
            Weight::Refuse,
            format!(
                "E_ADDRESS_IN_USE: {address}, which this node shall have at cluster0, is in use by 02:00:00:00:00:09; give this \
                 node another address in the cluster file, or take it from that machine"
            )
        )
    );
    // Not one packet was sent from the address of the other machine.
    let probes_only = segment.sent.iter().all(|frame| {
        parse_frame(frame).iter().all(|heard| matches!(heard, Heard::Candidate { .. }))
            && !parse_frame(frame).is_empty()
    });
    assert!(probes_only);
}

#[test]
fn another_card_of_this_machine_is_no_stranger() {
    let node = node("worker-1");
    let mut segment = healthy(&node);
    segment.has.push((own(&node), OUR_OTHER_CARD));
    assert_eq!(judged(&node, &mut segment), []);
}

#[test]
fn two_machines_that_want_the_same_address_at_once_both_find_out() {
    let node = node("worker-1");
    let mut segment = healthy(&node);
    let probe = super::render_probe(mac(8), own(&node));
    segment.incoming.push_back((Duration::from_millis(4500), probe));
    let found = judged(&node, &mut segment);
    assert!(found[0].1.contains("is in use by 02:00:00:00:00:08;"), "{found:?}");
}

#[test]
fn a_gateway_that_answers_for_everybody_is_named() {
    let node = node("worker-1");
    let mut segment = healthy(&node);
    segment.has.push((own(&node), mac(254)));
    let found = judged(&node, &mut segment);
    assert!(found[0].1.contains("answers for others (proxy ARP), which must be switched off"), "{found:?}");
}

#[test]
fn the_vip_of_a_running_cluster_is_no_strangers() {
    for name in ["master-2", "worker-1"] {
        let node = node(name);
        let vip = node.cluster.api_vip.unwrap().into();
        let mut segment = healthy(&node);
        segment.has.extend([(vip, mac(11)), (peer(&node, "master-1"), mac(11))]);
        let note = format!("N_VIP_HELD: {vip}, the API VIP, is held by master-1");
        assert_eq!(judged(&node, &mut segment), [(Weight::Note, note)]);
    }
}

#[test]
fn a_vip_held_by_a_stranger_is_refused_by_those_who_need_it_and_told_by_others() {
    for (name, weight, code) in [
        ("master-1", Weight::Refuse, "E_ADDRESS_IN_USE"),
        ("master-2", Weight::Refuse, "E_ADDRESS_IN_USE"),
        ("worker-1", Weight::Refuse, "E_ADDRESS_IN_USE"),
        ("proxy-1", Weight::Warn, "W_ADDRESS_IN_USE"),
    ] {
        let node = node(name);
        let vip = node.cluster.api_vip.unwrap().into();
        let mut segment = healthy(&node);
        segment.has.extend([(vip, mac(66)), (peer(&node, "master-3"), mac(13))]);
        let expected = format!(
            "{code}: {vip}, the API VIP, is in use by 02:00:00:00:00:42, which is no master of this cluster; choose another VIP in \
             the cluster file, or take it from that machine"
        );
        assert_eq!(judged(&node, &mut segment), [(weight, expected)], "{name}");
    }
}

#[test]
fn a_vip_held_by_a_master_and_a_stranger_names_only_the_stranger() {
    let node = node("worker-1");
    let vip = node.cluster.api_vip.unwrap().into();
    let mut segment = healthy(&node);
    segment.has.extend([(vip, mac(11)), (vip, mac(66)), (peer(&node, "master-1"), mac(11))]);
    let found = judged(&node, &mut segment);
    assert!(found[0].1.contains("is in use by 02:00:00:00:00:42, which is no master"), "{found:?}");
}

#[test]
fn the_first_master_joins_a_cluster_that_runs() {
    let node = node("master-1");
    let vip = node.cluster.api_vip.unwrap().into();
    let mut segment = healthy(&node);
    assert!(!runs_already(&node, &look(&node, &mut segment)));
    segment.has.extend([(vip, mac(12)), (peer(&node, "master-2"), mac(12))]);
    let findings = look(&node, &mut segment);
    assert!(runs_already(&node, &findings));
    let found = judge(&node, &findings);
    assert_eq!((found[0].code, found[0].weight), ("W_CLUSTER_EXISTS", Weight::Warn));
    // Another master that is up without the VIP waits itself: no cluster runs.
    let mut segment = healthy(&node);
    segment.has.push((peer(&node, "master-2"), mac(12)));
    assert!(!runs_already(&node, &look(&node, &mut segment)));
}

#[test]
fn silence_is_a_warning_with_what_to_check() {
    let node = node("worker-1");
    let mut segment = Segment { passes_bytes: 1500, ..Segment::default() };
    let found = judged(&node, &mut segment);
    assert!(found.iter().all(|(weight, _)| *weight < Weight::Refuse), "{found:?}");
    let gateway = node.cluster_interface().unwrap().gateway.unwrap();
    let silent = format!(
        "W_GATEWAY_SILENT: the gateway {gateway} of cluster0 does not answer: nothing outside of that network will be reached; \
         check gateway, VLAN and cable"
    );
    assert!(found.contains(&(Weight::Warn, silent)), "{found:?}");
}

#[test]
fn a_port_that_does_not_forward_yet_is_waited_for() {
    let node = node("worker-1");
    let mut segment = healthy(&node);
    segment.has.push((own(&node), mac(9)));
    segment.deaf_until = Duration::from_secs(10);
    assert_eq!(judged(&node, &mut segment)[0].0, Weight::Refuse);
}

#[test]
fn a_path_for_smaller_packets_only_is_measured_to_the_byte() {
    let node = node("worker-1");
    let gateway = IpAddr::V4(node.cluster_interface().unwrap().gateway.unwrap());
    for (passes, fits) in [(1400, 1400), (1499, 1499), (1280, 1280), (1000, 1000), (576, 576)] {
        let mut segment = healthy(&node);
        segment.passes_bytes = passes;
        let leg = &look(&node, &mut segment)[0];
        assert_eq!(leg.mtu[&gateway], MtuAnswer::Smaller { wanted: 1500, fits }, "{passes}");
    }
    let mut segment = healthy(&node);
    segment.echo.clear();
    assert_eq!(look(&node, &mut segment)[0].mtu[&gateway], MtuAnswer::NoEcho);
}

#[test]
fn the_gateway_can_find_us_while_we_talk_to_it() {
    let node = node("worker-1");
    let mut segment = healthy(&node);
    segment.echo.clear();
    let gateway = IpAddr::V4(node.cluster_interface().unwrap().gateway.unwrap());
    let questions = questions_of(&node);
    let pair = super::talk::Pair { own: own(&node), other: gateway, via: mac(254) };
    // A request for our address, as the gateway makes one before it answers.
    let request = {
        let mut frame = super::render_probe(mac(254), own(&node));
        let IpAddr::V4(gateway) = gateway else { unreachable!() };
        frame[28..32].copy_from_slice(&gateway.octets());
        frame
    };
    segment.incoming.push_back((Duration::from_millis(10), request));
    super::talk::measure_mtu(&mut segment, &us(), pair, questions[0].mtu_bytes).unwrap();
    let answer = Heard::Holder { address: own(&node), mac: US };
    assert!(segment.sent.iter().any(|frame| parse_frame(frame) == [answer.clone()]));
    assert!(render_echo((US, own(&node)), (mac(1), ip("::1")), (1, 1), 100).is_none());
}

#[test]
fn a_leg_without_signal_stops_a_node_that_joins_and_nobody_else() {
    for (name, weight, code) in [
        ("worker-1", Weight::Refuse, "E_NO_CARRIER"),
        ("master-2", Weight::Refuse, "E_NO_CARRIER"),
        ("master-1", Weight::Warn, "W_NO_CARRIER"),
        ("proxy-1", Weight::Warn, "W_NO_CARRIER"),
    ] {
        let node = node(name);
        let down = |q| LegFindings::not_looked(q, Carrier::Down, "there is no signal");
        let findings: Vec<_> = questions_of(&node).iter().map(down).collect();
        let found = judge(&node, &findings[..1]);
        let said: Vec<_> = found.iter().map(|j| (j.weight, j.code)).collect();
        assert_eq!(said, [(weight, code)], "{name}");
    }
}

#[test]
fn a_bond_with_one_dead_cable_is_a_warning() {
    let node = node("worker-1");
    let mut findings = look(&node, &mut healthy(&node));
    findings[0].members =
        BTreeMap::from([("eno1".to_owned(), Carrier::Up), ("eno2".to_owned(), Carrier::Down)]);
    let found = judge(&node, &findings);
    assert_eq!((found[0].code, found[0].weight), ("W_BOND_DEGRADED", Weight::Warn));
    assert!(found[0].message.contains("no signal at eno2, one of its 2 cards"), "{}", found[0].message);
}

#[test]
fn what_could_not_be_asked_is_never_fine() {
    let node = node("worker-1");
    let findings: Vec<_> = questions_of(&node)
        .iter()
        .map(|q| {
            LegFindings::not_looked(q, Carrier::NotLooked { why: "no such card".to_owned() }, "no such card")
        })
        .collect();
    let found = judge(&node, &findings);
    assert!(found.iter().any(|j| j.code == "W_NOT_PROBED"), "{found:?}");
    assert!(!runs_already(&node, &findings));
    let json = serde_json::to_value(&findings).unwrap();
    assert_eq!(json[0]["own"][own(&node).to_string()]["answer"], "not-looked");
}

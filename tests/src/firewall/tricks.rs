//! Packets that try to get past by lying: spoofed sources, fragments, odd flags, trusted source ports, extension headers.

use super::craft::{
    ACK, Flow, RawSender, SYN, fragments, icmp, packet, packet_with, tcp, tcp_with, udp, with_options,
};
use super::nodes::Kind;
use super::observe;
use super::topology::{Host, Place, World};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// One trick and what the observer must say under the rules.
#[derive(Clone, Debug)]
pub struct Trick {
    /// In words.
    pub name: String,
    /// Place in the list.
    pub number: usize,
    /// Who does it.
    pub from: Host,
    to: IpAddr,
    packets: Vec<Vec<u8>>,
    /// What the observer calls it.
    pub sighting: String,
    /// Whether it may get past the rules.
    pub passes: bool,
}

impl Trick {
    /// The same in every round: its name and its place in the list.
    pub fn id(&self) -> String {
        format!("{} #{}", self.name, self.number)
    }
}

/// A switch on the cluster network.
const QUERIER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);

/// Rounds of [`play_rounds`].
pub const TRIES: u16 = 5;
/// What is still on its way arrives before another round.
const SETTLE: Duration = Duration::from_millis(500);

/// Collects tricks, each with a source port of its own.
struct Tricks {
    kind: Kind,
    next_port: u16,
    list: Vec<Trick>,
}

impl Tricks {
    fn flow(&mut self, source: IpAddr, to: Place, port: u16) -> Flow {
        self.next_port += 1;
        Flow { from: source, to: to.address(self.kind, source.is_ipv6()), source_port: self.next_port, port }
    }

    fn add(
        &mut self,
        name: &str,
        from: Host,
        flow: &Flow,
        protocol: &str,
        packets: Vec<Vec<u8>>,
        passes: bool,
    ) {
        let sighting = match protocol {
            "tcp" | "udp" => format!("{protocol} {} {}", flow.source_port, flow.port),
            counter => counter.to_owned(),
        };
        let name = format!("{name} ({from:?}, {} -> {} {protocol}/{})", flow.from, flow.to, flow.port);
        self.list.push(Trick { name, number: self.list.len(), from, to: flow.to, packets, sighting, passes });
    }

    fn syn(&mut self, name: &str, from: Host, source: IpAddr, to: Place, port: u16, passes: bool) {
        let flow = self.flow(source, to, port);
        self.add(name, from, &flow, "tcp", vec![packet(&flow, 6, &tcp(&flow, SYN))], passes);
    }

    fn datagram(&mut self, name: &str, from: Host, source: IpAddr, to: Place, port: u16) {
        let flow = self.flow(source, to, port);
        self.add(name, from, &flow, "udp", vec![packet(&flow, 17, &udp(&flow, b"?trick"))], false);
    }
}

/// Source ports of one round.
const ROUND_PORTS: u16 = 200;
/// Rounds until source ports are used again.
const ROUNDS: u16 = 190;

/// All tricks for one kind of node. Each round has source ports of its own: a connection that an earlier round left in
/// the kernel's memory would let its packets pass as established.
pub fn tricks(kind: Kind, round: u16) -> Vec<Trick> {
    let mut tricks = Tricks { kind, next_port: 20000 + round % ROUNDS * ROUND_PORTS, list: Vec::new() };
    spoofed(&mut tricks);
    cut(&mut tricks);
    odd_flags(&mut tricks);
    trusted_ports(&mut tricks);
    protocols(&mut tricks);
    tricks.list
}

fn source(kind: Kind, host: Host, v6: bool) -> IpAddr {
    Place::Beyond(host).address(kind, v6)
}

/// Someone in the DMZ says it is a node, an operator or a pod; someone on the cluster network says it is in the DMZ, a
/// pod or a service.
fn spoofed(tricks: &mut Tricks) {
    let kind = tricks.kind;
    for place in [Place::Cluster, Place::Dmz] {
        for liar in
            [Host::Master, Host::Worker, Host::InternalProxy, Host::EdgeInside, Host::Admin, Host::Stranger]
        {
            for port in [22, 2379, 6443, 9940, 10250] {
                tricks.syn("spoofed source", Host::DmzHost, source(kind, liar, false), place, port, false);
            }
            tricks.datagram("spoofed source", Host::DmzHost, source(kind, liar, false), place, 8472);
            tricks.syn("spoofed source", Host::DmzHost, source(kind, liar, true), place, 6443, false);
        }
        for v6 in [false, true] {
            for liar in [Host::Pod, Host::RemotePod] {
                for port in [6443, 10250] {
                    let address = source(kind, liar, v6);
                    tricks.syn("false pod", Host::DmzHost, address, place, port, false);
                    tricks.syn("false pod", Host::Stranger, address, place, port, false);
                }
            }
            let service = Place::Service.address(kind, v6);
            tricks.syn("false service", Host::Stranger, service, place, 6443, false);
            for liar in [Host::DmzHost, Host::EdgeDmz] {
                let address = source(kind, liar, v6);
                for port in [22, 6443, 9940] {
                    tricks.syn("dmz source on the cluster wire", Host::Stranger, address, place, port, false);
                }
            }
        }
    }
}

/// Fragments are judged as the packet they make up, IPv6 behind extension headers too.
fn cut(tricks: &mut Tricks) {
    let kind = tricks.kind;
    for v6 in [false, true] {
        let address = source(kind, Host::DmzHost, v6);
        for port in [22, 6443, 10250] {
            let flow = tricks.flow(address, Place::Dmz, port);
            let segment = tcp(&flow, SYN);
            tricks.add(
                "SYN in fragments",
                Host::DmzHost,
                &flow,
                "tcp",
                fragments(&flow, 6, &segment, 8),
                false,
            );
        }
        let flow = tricks.flow(address, Place::Dmz, 8472);
        let segment = udp(&flow, &[0; 40]);
        tricks.add(
            "datagram in fragments",
            Host::DmzHost,
            &flow,
            "udp",
            fragments(&flow, 17, &segment, 16),
            false,
        );
    }
    let address = source(kind, Host::DmzHost, true);
    for port in [22, 9940, 6443] {
        let flow = tricks.flow(address, Place::Dmz, port);
        let packets = vec![with_options(&flow, 6, &tcp(&flow, SYN))];
        tricks.add("SYN behind destination options", Host::DmzHost, &flow, "tcp", packets, false);
    }
    for v6 in [false, true] {
        let flow = tricks.flow(source(kind, Host::Admin, v6), Place::Cluster, 22);
        // Over IPv6 the first fragment has to hold the whole header (RFC 8200).
        let parts = fragments(&flow, 6, &tcp_with(&flow, SYN, &[0; 12]), if v6 { 24 } else { 8 });
        tricks.add("SYN in fragments, of one who may", Host::Admin, &flow, "tcp", parts, true);
    }
}

fn odd_flags(tricks: &mut Tricks) {
    let kind = tricks.kind;
    for (name, flags) in [
        ("SYN+ACK first", SYN | ACK),
        ("ACK first", ACK),
        ("FIN first", 1),
        ("no flags", 0),
        ("all flags", 0x3f),
    ] {
        for v6 in [false, true] {
            for port in [22, 6443] {
                let flow = tricks.flow(source(kind, Host::DmzHost, v6), Place::Dmz, port);
                tricks.add(
                    name,
                    Host::DmzHost,
                    &flow,
                    "tcp",
                    vec![packet(&flow, 6, &tcp(&flow, flags))],
                    false,
                );
            }
        }
    }
    // Not the start of a connection, even from one who may start one.
    let flow = tricks.flow(source(kind, Host::Admin, false), Place::Cluster, 22);
    tricks.add(
        "SYN+ACK first",
        Host::Admin,
        &flow,
        "tcp",
        vec![packet(&flow, 6, &tcp(&flow, SYN | ACK))],
        false,
    );
}

/// An answer to a question nobody asked.
fn trusted_ports(tricks: &mut Tricks) {
    let kind = tricks.kind;
    for v6 in [false, true] {
        for source_port in [20, 22, 53, 67, 80, 123, 443, 6443] {
            let from = source(kind, Host::DmzHost, v6);
            for port in [22, 6443, 10250] {
                let flow = Flow { from, to: Place::Dmz.address(kind, v6), source_port, port };
                let packets = vec![packet(&flow, 6, &tcp(&flow, SYN))];
                tricks.add("trusted source port", Host::DmzHost, &flow, "tcp", packets, false);
            }
            let flow = Flow { from, to: Place::Dmz.address(kind, v6), source_port, port: 8472 };
            let packets = vec![packet(&flow, 17, &udp(&flow, b"?trick"))];
            tricks.add("trusted source port", Host::DmzHost, &flow, "udp", packets, false);
        }
    }
}

fn protocols(tricks: &mut Tricks) {
    let kind = tricks.kind;
    // Only keepalived's peer speaks VRRP; both cannot be told apart by the observer, so only one of them is tried.
    let peer = if kind == Kind::InternalProxy { Host::InternalProxy } else { Host::Stranger };
    let flow = Flow {
        from: source(kind, peer, false),
        to: Place::Cluster.address(kind, false),
        source_port: 0,
        port: 0,
    };
    let body = [0x21, 61, 100, 1, 0, 100, 0, 0, 10, 0, 0, 9];
    tricks.add(
        "VRRP",
        peer,
        &flow,
        "vrrp",
        vec![packet_with(&flow, 112, &body, 255)],
        kind == Kind::InternalProxy,
    );
    // Errors about connections that do not exist.
    let flow = Flow {
        from: source(kind, Host::DmzHost, false),
        to: Place::Dmz.address(kind, false),
        source_port: 0,
        port: 0,
    };
    let inner = Flow { from: flow.to, to: flow.from, source_port: 50000, port: 50001 };
    let mut body = vec![0; 4];
    body.extend(packet(&inner, 6, &tcp(&inner, SYN)));
    let error = packet(&flow, 1, &icmp(&flow, 3, 1, &body));
    tricks.add("unasked error", Host::DmzHost, &flow, "unasked_error", vec![error], false);
    // Pings are for the cluster network, not for whoever says on its wire that it is in the DMZ.
    let flow = Flow {
        from: source(kind, Host::DmzHost, false),
        to: Place::Cluster.address(kind, false),
        source_port: 0,
        port: 0,
    };
    let ping = packet(&flow, 1, &icmp(&flow, 8, 0, &[0, 7, 0, 1]));
    tricks.add(
        "ping of the DMZ on the cluster wire",
        Host::Stranger,
        &flow,
        "misplaced_echo",
        vec![ping],
        false,
    );
    // A neighbour from behind a router.
    let flow = Flow {
        from: source(kind, Host::DmzHost, true),
        to: Place::Dmz.address(kind, true),
        source_port: 0,
        port: 0,
    };
    let mut body = vec![0x60, 0, 0, 0];
    if let IpAddr::V6(address) = flow.from {
        body.extend(address.octets());
    }
    let advert = packet_with(&flow, 58, &icmp(&flow, 136, 0, &body), 64);
    tricks.add("neighbour from afar", Host::DmzHost, &flow, "far_neighbour", vec![advert], false);
    // A switch that asks who listens to which group, from its link-local address.
    let flow = Flow { from: QUERIER.into(), to: Place::Cluster.address(kind, true), source_port: 0, port: 0 };
    let query = packet_with(&flow, 58, &icmp(&flow, 130, 0, &[0; 20]), 1);
    tricks.add("question for listeners", Host::Stranger, &flow, "listener_query", vec![query], true);
}

/// What got past in several rounds, and what should have and did not.
#[derive(Debug)]
pub struct Played {
    /// Tricks of one round.
    pub count: usize,
    /// Names of those that got past in any round.
    pub past: BTreeSet<String>,
    /// Names of those that should have and did not in any round.
    pub held: BTreeSet<String>,
}

/// Plays rounds of tricks from `first_round` on (at most [`TRIES`]) until all that should get past have: a packet lost on
/// a busy machine is no verdict. What got past once did.
///
/// # Errors
/// As [`play`].
pub fn play_rounds(world: &World, first_round: u16, should: &dyn Fn(&Trick) -> bool) -> Result<Played> {
    let mut played = Played { count: 0, past: BTreeSet::new(), held: BTreeSet::new() };
    for round in first_round..first_round + TRIES {
        let list = tricks(world.kind, round);
        let seen = play(world, &list)?;
        let past = list.iter().filter(|t| seen.contains(&t.sighting)).map(|t| t.id());
        played.past.extend(past);
        let wanted: BTreeSet<String> = list.iter().filter(|t| should(t)).map(Trick::id).collect();
        played.held = wanted.difference(&played.past).cloned().collect();
        played.count = list.len();
        if played.held.is_empty() {
            break;
        }
        std::thread::sleep(SETTLE);
    }
    Ok(played)
}

/// Plays all tricks and gives what got past.
///
/// # Errors
/// A packet cannot be sent, or the observer cannot be read.
pub fn play(world: &World, tricks: &[Trick]) -> Result<BTreeSet<String>> {
    observe::reset(world.own())?;
    let hosts: BTreeSet<Host> = tricks.iter().map(|t| t.from).collect();
    for host in hosts {
        world.spaces[&host].enter(|| {
            let sender = RawSender::new()?;
            for trick in tricks.iter().filter(|t| t.from == host) {
                for packet in &trick.packets {
                    sender.send(trick.to, packet).with_context(|| trick.name.clone())?;
                }
            }
            // The last ones are on their way through the bridge.
            std::thread::sleep(Duration::from_millis(20));
            Ok(())
        })?;
    }
    std::thread::sleep(Duration::from_millis(50));
    observe::seen(world.own())
}

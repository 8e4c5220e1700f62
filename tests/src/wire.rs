//! The other end of a machine's network cable: QEMU gives each Ethernet frame in a UDP datagram on loopback, so a prober
//! here is everybody else on the segment from the moment the machine is switched on.
//!
//! Pure but for [`Wire`]: frames in, frames and sightings out.

use crate::firewall::craft::{Flow, SYN, icmp, packet, packet_with, tcp};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Ethernet address of the prober, whoever it plays.
const PROBER_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0x77];
const BROADCAST: [u8; 6] = [0xff; 6];
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Pause between two rounds of knocking: some 40 rounds in a second, of one frame a port and source.
const PAUSE: Duration = Duration::from_millis(25);
/// Source ports; each knock has the next one, so that no answer of an earlier connection counts for a later one.
const FIRST_SOURCE_PORT: u16 = 20_000;
const SOURCE_PORTS: u16 = 40_000;

/// One knock that is repeated from power-on to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Knock {
    /// Whom the prober plays.
    pub from: IpAddr,
    /// The machine's address of the same family.
    pub to: IpAddr,
    /// TCP port; 0 for a ping over IPv4, and for a question for the neighbour's address over IPv6.
    pub port: u16,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    /// Seconds after power-on at which the machine first answered at all (ARP): its link was up by then.
    pub up_secs: Option<f64>,
    /// Knocks sent since then.
    pub knocks_since_up: u64,
    /// First answer to each knock: seconds after power-on, and what it was.
    pub answers: BTreeMap<Knock, (f64, String)>,
}

/// The segment around one machine.
pub struct Wire {
    socket: UdpSocket,
    qemu_port: u16,
    machine: [u8; 6],
    knocks: Vec<Knock>,
    source_port: u16,
    sightings: Sightings,
    power_on: Instant,
}

impl Wire {
    /// Takes a loopback port; QEMU is to listen on `qemu_port` and send to [`Wire::port`].
    ///
    /// # Errors
    /// The host gives no port; the Ethernet address is none.
    pub fn new(machine: &str, qemu_port: u16, knocks: Vec<Knock>) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("taking the end of a cable")?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            qemu_port,
            machine: parse_mac(machine).context("reading an Ethernet address")?,
            knocks,
            source_port: FIRST_SOURCE_PORT,
            sightings: Sightings::default(),
            power_on: Instant::now(),
        })
    }

    /// Where QEMU is to send frames.
    ///
    /// # Errors
    /// The socket has no address.
    pub fn port(&self) -> Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Knocks and answers neighbours' questions until `done`; gives what was seen.
    ///
    /// # Errors
    /// The socket fails.
    pub fn probe(mut self, done: &AtomicBool) -> Result<Sightings> {
        let mut frame = [0u8; 2048];
        while !done.load(Ordering::Relaxed) {
            self.round();
            loop {
                match self.socket.recv(&mut frame) {
                    Ok(length) => self.hear(&frame[..length]),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    // QEMU does not listen yet, or no more.
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => break,
                    Err(error) => return Err(error).context("hearing the machine"),
                }
            }
            std::thread::sleep(PAUSE);
        }
        Ok(self.sightings)
    }

    fn send(&self, frame: &[u8]) {
        // Before QEMU listens, and after, nobody takes it: as with a cable.
        let _ = self.socket.send_to(frame, (Ipv4Addr::LOCALHOST, self.qemu_port));
    }

    fn round(&mut self) {
        for knock in self.knocks.clone() {
            if let (IpAddr::V4(from), IpAddr::V4(to)) = (knock.from, knock.to) {
                self.send(&arp_request(from, to));
            }
            self.source_port = FIRST_SOURCE_PORT + (self.source_port + 1 - FIRST_SOURCE_PORT) % SOURCE_PORTS;
            self.send(&knock_frame(self.machine, &knock, self.source_port));
            self.sightings.knocks_since_up += u64::from(self.sightings.up_secs.is_some());
        }
    }

    fn hear(&mut self, frame: &[u8]) {
        let ours: BTreeSet<IpAddr> = self.knocks.iter().map(|knock| knock.from).collect();
        let secs = self.power_on.elapsed().as_secs_f64();
        match read_frame(frame) {
            Some(Heard::Who { asked, asker, asker_mac }) if ours.contains(&asked) => {
                self.send(&here_i_am(asked, asker, asker_mac));
            }
            Some(Heard::IsAt(address)) if self.knocks.iter().any(|knock| knock.to == address) => {
                self.sightings.up_secs.get_or_insert(secs);
            }
            Some(Heard::Answer { knock, what }) if self.knocks.contains(&knock) => {
                self.sightings.answers.entry(knock).or_insert((secs, what));
            }
            _ => {}
        }
    }
}

/// A frame that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    /// A question for a neighbour.
    Who { asked: IpAddr, asker: IpAddr, asker_mac: [u8; 6] },
    /// A neighbour's answer.
    IsAt(IpAddr),
    /// The answer to a knock.
    Answer { knock: Knock, what: String },
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> =
        text.split(':').map(|part| u8::from_str_radix(part, 16)).collect::<Result<_, _>>().ok()?;
    bytes.try_into().ok()
}

/// The link-local address that a machine makes of its Ethernet address.
pub fn link_local(mac: &str) -> Option<Ipv6Addr> {
    let [a, b, c, d, e, f] = parse_mac(mac)?;
    Some(Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]))
}

fn ethernet(to: [u8; 6], kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend(PROBER_MAC);
    frame.extend(kind.to_be_bytes());
    frame.extend(body);
    frame
}

fn arp(operation: u16, from: Ipv4Addr, to_mac: [u8; 6], to: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4];
    body.extend(operation.to_be_bytes());
    body.extend(PROBER_MAC);
    body.extend(from.octets());
    body.extend(to_mac);
    body.extend(to.octets());
    body
}

fn arp_request(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    ethernet(BROADCAST, ARP, &arp(1, from, [0; 6], to))
}

fn knock_frame(machine: [u8; 6], knock: &Knock, source_port: u16) -> Vec<u8> {
    let flow = Flow { from: knock.from, to: knock.to, source_port, port: knock.port };
    let kind = if knock.to.is_ipv4() { IPV4 } else { IPV6 };
    let body = match (knock.port, knock.to) {
        (0, IpAddr::V4(_)) => packet(&flow, 1, &icmp(&flow, 8, 0, &[0, 7, 0, 1])),
        (0, IpAddr::V6(asked)) => packet_with(&flow, 58, &icmp(&flow, 135, 0, &neighbour(0, asked, 1)), 255),
        _ => packet(&flow, 6, &tcp(&flow, SYN)),
    };
    ethernet(machine, kind, &body)
}

/// What a solicitation (option 1) and an advertisement (option 2) say: flags, the address, and our Ethernet address.
fn neighbour(flags: u8, address: Ipv6Addr, option: u8) -> Vec<u8> {
    let mut body = vec![flags, 0, 0, 0];
    body.extend(address.octets());
    body.extend([option, 1]);
    body.extend(PROBER_MAC);
    body
}

/// The answer to [`Heard::Who`], in the protocol of its family.
fn here_i_am(asked: IpAddr, asker: IpAddr, asker_mac: [u8; 6]) -> Vec<u8> {
    match (asked, asker) {
        (IpAddr::V4(asked), IpAddr::V4(asker)) => ethernet(asker_mac, ARP, &arp(2, asked, asker_mac, asker)),
        (IpAddr::V6(address), _) => {
            let flow = Flow { from: asked, to: asker, source_port: 0, port: 0 };
            // Solicited, overrides.
            let advert = icmp(&flow, 136, 0, &neighbour(0x60, address, 2));
            ethernet(asker_mac, IPV6, &packet_with(&flow, 58, &advert, 255))
        }
        _ => vec![],
    }
}

fn read_frame(frame: &[u8]) -> Option<Heard> {
    let sender: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    let kind = u16::from_be_bytes(frame.get(12..14)?.try_into().ok()?);
    let body = frame.get(14..)?;
    match kind {
        ARP => read_arp(body, sender),
        IPV4 => {
            let start = usize::from(body.first()? & 15) * 4;
            let (from, to) = (v4(body.get(12..16)?)?, v4(body.get(16..20)?)?);
            read_answer(from, to, *body.get(9)?, body.get(start..)?)
        }
        IPV6 => {
            let (from, to) = (v6(body.get(8..24)?)?, v6(body.get(24..40)?)?);
            let inner = body.get(40..)?;
            // A neighbour solicitation asks for an address.
            if *body.get(6)? == 58 && *inner.first()? == 135 {
                return Some(Heard::Who { asked: v6(inner.get(8..24)?)?, asker: from, asker_mac: sender });
            }
            read_answer(from, to, *body.get(6)?, inner)
        }
        _ => None,
    }
}

fn read_arp(body: &[u8], asker_mac: [u8; 6]) -> Option<Heard> {
    let (sender, target) = (v4(body.get(14..18)?)?, v4(body.get(24..28)?)?);
    match body.get(6..8)? {
        [0, 1] => Some(Heard::Who { asked: target, asker: sender, asker_mac }),
        [0, 2] => Some(Heard::IsAt(sender)),
        _ => None,
    }
}

/// What the machine at `from` answered to a knock.
fn read_answer(from: IpAddr, to: IpAddr, protocol: u8, inner: &[u8]) -> Option<Heard> {
    let knock = |port| Knock { from: to, to: from, port };
    match protocol {
        6 => {
            let port = u16::from_be_bytes(inner.get(0..2)?.try_into().ok()?);
            let flags = *inner.get(13)?;
            let what = match (flags & 0x04 != 0, flags & 0x12 == 0x12) {
                (true, _) => "RST".to_owned(),
                (_, true) => "SYN+ACK".to_owned(),
                _ => format!("TCP flags {flags:#04x}"),
            };
            Some(Heard::Answer { knock: knock(port), what })
        }
        1 if *inner.first()? == 0 => Some(Heard::Answer { knock: knock(0), what: "echo reply".to_owned() }),
        58 if *inner.first()? == 136 => {
            Some(Heard::Answer { knock: knock(0), what: "neighbour advertisement".to_owned() })
        }
        // An error message about a knock: the packet it is about stands inside.
        1 if *inner.first()? == 3 => {
            let about = inner.get(8..)?;
            let start = usize::from(about.first()? & 15) * 4;
            let port = u16::from_be_bytes(about.get(start + 2..start + 4)?.try_into().ok()?);
            Some(Heard::Answer { knock: knock(port), what: "ICMP unreachable".to_owned() })
        }
        _ => None,
    }
}

fn v4(bytes: &[u8]) -> Option<IpAddr> {
    let bytes: [u8; 4] = bytes.try_into().ok()?;
    Some(Ipv4Addr::from(bytes).into())
}

fn v6(bytes: &[u8]) -> Option<IpAddr> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    Some(Ipv6Addr::from(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::{Heard, Knock, PROBER_MAC, Wire, arp_request, knock_frame, link_local, read_frame};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
    use std::sync::atomic::{AtomicBool, Ordering};

    const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 11));
    const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 77));
    const MAC: &str = "52:54:00:4d:53:11";

    /// The frame a machine would answer with: addresses and ports exchanged, other flags.
    fn answer(knock: &Knock, flags: u8) -> Vec<u8> {
        let flow = super::Flow { from: knock.to, to: knock.from, source_port: knock.port, port: 30_000 };
        let kind = if knock.to.is_ipv4() { super::IPV4 } else { super::IPV6 };
        super::ethernet(PROBER_MAC, kind, &super::packet(&flow, 6, &super::tcp(&flow, flags)))
    }

    #[test]
    fn reads_an_open_and_a_refused_port_of_both_families() {
        let v6 = |last| IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last));
        for (from, to) in [(STRANGER, NODE), (v6(0x77), v6(0x11))] {
            let knock = Knock { from, to, port: 6443 };
            for (flags, what) in [(0x12, "SYN+ACK"), (0x14, "RST"), (0x10, "TCP flags 0x10")] {
                let heard = read_frame(&answer(&knock, flags));
                assert_eq!(heard, Some(Heard::Answer { knock, what: what.to_owned() }));
            }
        }
    }

    #[test]
    fn reads_questions_for_neighbours_and_nothing_of_a_knock_of_its_own() {
        let (IpAddr::V4(stranger), IpAddr::V4(node)) = (STRANGER, NODE) else { unreachable!() };
        let asked = Heard::Who { asked: NODE, asker: STRANGER, asker_mac: PROBER_MAC };
        assert_eq!(read_frame(&arp_request(stranger, node)), Some(asked));
        let ping = knock_frame([0; 6], &Knock { from: STRANGER, to: NODE, port: 0 }, 1);
        assert_eq!(read_frame(&ping), None);
        for length in 0..ping.len() {
            assert_eq!(read_frame(&ping[..length]), None);
        }
    }

    #[test]
    fn makes_the_link_local_address() {
        assert_eq!(link_local(MAC).unwrap().to_string(), "fe80::5054:ff:fe4d:5311");
        assert_eq!(link_local("52:54"), None);
    }

    #[test]
    fn hears_a_machine_that_answers_and_is_asked_by_it() {
        let machine = UdpSocket::bind("127.0.0.1:0").unwrap();
        machine.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let knock = Knock { from: STRANGER, to: NODE, port: 22 };
        let wire = Wire::new(MAC, machine.local_addr().unwrap().port(), vec![knock]).unwrap();
        let prober = (Ipv4Addr::LOCALHOST, wire.port().unwrap());
        let done = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let probing = scope.spawn(|| wire.probe(&done));
            let mut frame = [0u8; 2048];
            let mut heard = || {
                let length = machine.recv(&mut frame).unwrap();
                read_frame(&frame[..length])
            };
            assert!(matches!(heard(), Some(Heard::Who { asked: NODE, .. })));
            // The machine is at its address, answers, and asks who the stranger is.
            let (IpAddr::V4(stranger), IpAddr::V4(node)) = (STRANGER, NODE) else { unreachable!() };
            let is_at = super::ethernet(PROBER_MAC, super::ARP, &super::arp(2, node, PROBER_MAC, stranger));
            machine.send_to(&is_at, prober).unwrap();
            machine.send_to(&answer(&knock, 0x12), prober).unwrap();
            machine.send_to(&arp_request(node, stranger), prober).unwrap();
            while heard() != Some(Heard::IsAt(STRANGER)) {}
            done.store(true, Ordering::Relaxed);
            probing.join().unwrap().unwrap()
        });
        assert!(seen.up_secs.is_some());
        assert_eq!(seen.answers[&knock].1, "SYN+ACK");
    }
}

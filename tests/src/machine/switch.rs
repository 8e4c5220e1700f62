//! A switch between a machine's cards and its network: one VLAN, tagged on every port, and LACP on the ports of a bundle.
//!
//! QEMU gives each Ethernet frame in a UDP datagram on loopback. What comes untagged or in another VLAN is dropped, as a trunk
//! without a native VLAN does, so an address that answers through it stands on the VLAN. Pure but for [`Switch`].

use anyhow::{Context, Result, anyhow};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

type Mac = [u8; 6];

/// Address of the switch as an LACP system; each port sends from it.
const SWITCH_MAC: Mac = [0x52, 0x54, 0, 0, 0, 0x53];
/// Where LACP speaks (IEEE 802.1AX).
const SLOW_PROTOCOLS: Mac = [0x01, 0x80, 0xc2, 0, 0, 0x02];
const SLOW_KIND: [u8; 2] = [0x88, 0x09];
const VLAN_KIND: [u8; 2] = [0x81, 0x00];
/// Addresses (twice 6) and kind of an Ethernet frame.
const HEADER_BYTES: usize = 14;
/// Actor's part of an LACP message, from the end of the header on: subtype, version, then type and length of the part.
const ACTOR: std::ops::Range<usize> = 4..22;
const PARTNER: std::ops::Range<usize> = 24..42;
const LACP_BYTES: usize = 110;
/// Place of the state in a part, and of the system's address.
const STATE: usize = 14;
const SYSTEM: std::ops::Range<usize> = 2..8;
/// Aggregation, synchronisation, collecting, distributing.
const CARRIES: u8 = 0x3c;
/// How often a thread that hears nothing looks whether it is over.
const LOOK: Duration = Duration::from_millis(200);

/// What was seen at one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortTraffic {
    /// Frames in the VLAN from the machine.
    pub tagged: u64,
    /// Frames from the machine without a tag, but for those of LACP.
    pub untagged: u64,
    /// Frames from the machine in another VLAN.
    pub foreign: u64,
    /// LACP messages from the machine.
    pub lacp: u64,
    /// The machine's last LACP message said that it sends and takes frames here and knows this switch as its partner.
    pub bundled: bool,
    /// Frames to the machine.
    pub sent: u64,
}

/// What the switch knows; frames in, frames out.
#[derive(Debug)]
struct Fabric {
    vlan: u16,
    bundle: usize,
    /// The port a machine's address was last heard at.
    places: BTreeMap<Mac, usize>,
    last: usize,
    traffic: Vec<PortTraffic>,
}

/// Where a frame goes.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    Uplink(Vec<u8>),
    Port(usize, Vec<u8>),
    Nowhere,
}

impl Fabric {
    fn new(vlan: u16, bundle: usize, ports: usize) -> Self {
        let traffic = vec![PortTraffic::default(); ports];
        Self { vlan, bundle, places: BTreeMap::new(), last: 0, traffic }
    }

    fn hear_port(&mut self, port: usize, frame: &[u8]) -> Way {
        let (Some(traffic), Some(kind)) = (self.traffic.get_mut(port), frame.get(12..14)) else {
            return Way::Nowhere;
        };
        if kind == SLOW_KIND && frame.get(HEADER_BYTES) == Some(&1) {
            return match answer_lacp(port, frame.get(HEADER_BYTES..).unwrap_or_default()) {
                Some((answer, bundled)) if port < self.bundle => {
                    traffic.lacp += 1;
                    traffic.bundled = bundled;
                    Way::Port(port, answer)
                }
                _ => Way::Nowhere,
            };
        }
        if kind != VLAN_KIND {
            traffic.untagged += 1;
            return Way::Nowhere;
        }
        let Some([high, low]) = frame.get(14..16) else { return Way::Nowhere };
        if u16::from_be_bytes([high & 0x0f, *low]) != self.vlan {
            traffic.foreign += 1;
            return Way::Nowhere;
        }
        traffic.tagged += 1;
        self.last = port;
        if let Some(source) = frame.get(6..12).and_then(|mac| Mac::try_from(mac).ok()) {
            self.places.insert(source, port);
        }
        Way::Uplink([&frame[..12], &frame[16..]].concat())
    }

    /// A bundle gets each frame once: at the port where the address, or else anything, was last heard.
    fn hear_uplink(&mut self, frame: &[u8]) -> Way {
        let Some(to) = frame.get(..6).and_then(|mac| Mac::try_from(mac).ok()) else { return Way::Nowhere };
        let Some(rest) = frame.get(12..) else { return Way::Nowhere };
        let port = self.places.get(&to).copied().unwrap_or(self.last);
        self.traffic[port].sent += 1;
        Way::Port(port, [&frame[..12], &VLAN_KIND, &self.vlan.to_be_bytes(), rest].concat())
    }
}

/// The answer to an LACP message, and whether the machine said that this port carries frames.
fn answer_lacp(port: usize, message: &[u8]) -> Option<(Vec<u8>, bool)> {
    let (actor, partner) = (message.get(ACTOR)?, message.get(PARTNER)?);
    let bundled = actor[STATE] & CARRIES == CARRIES && partner[SYSTEM] == SWITCH_MAC;
    let mut body = vec![0u8; LACP_BYTES];
    body[..4].copy_from_slice(&[1, 1, 1, 20]);
    body[ACTOR.start..ACTOR.start + 2].copy_from_slice(&[0x80, 0]);
    body[ACTOR.start + 2..ACTOR.start + 8].copy_from_slice(&SWITCH_MAC);
    // Key 1, port priority, number of the port; active, and it carries. Short timeouts: the machine then speaks, and so is answered,
    // every second, which is what a bond with `LACPTransmitRate=fast` waits for.
    let number = u8::try_from(port + 1).ok()?;
    body[ACTOR.start + 8..ACTOR.start + 15].copy_from_slice(&[0, 1, 0x80, 0, 0, number, 0x03 | CARRIES]);
    body[22..24].copy_from_slice(&[2, 20]);
    body[PARTNER].copy_from_slice(actor);
    body[42..44].copy_from_slice(&[3, 16]);
    Some(([&SLOW_PROTOCOLS[..], &SWITCH_MAC, &SLOW_KIND, &body].concat(), bundled))
}

/// The end of a cable: our socket, and QEMU's port.
#[derive(Debug)]
struct End {
    socket: UdpSocket,
    qemu: u16,
}

impl End {
    fn new(qemu: u16) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("taking the end of a cable")?;
        socket.set_read_timeout(Some(LOOK))?;
        Ok(Self { socket, qemu })
    }

    fn cable(&self) -> Result<(u16, u16)> {
        Ok((self.qemu, self.socket.local_addr()?.port()))
    }

    fn send(&self, frame: &[u8]) {
        // Before QEMU listens, and after, nobody takes it: as with a cable.
        let _ = self.socket.send_to(frame, (Ipv4Addr::LOCALHOST, self.qemu));
    }
}

/// A switch with one uplink.
#[derive(Debug)]
pub struct Switch {
    uplink: End,
    ports: Vec<End>,
    fabric: Mutex<Fabric>,
}

impl Switch {
    /// A switch whose first `bundle` ports speak LACP with one machine. The numbers are the loopback ports on which QEMU takes frames.
    ///
    /// # Errors
    /// The host gives no port.
    pub fn new(vlan: u16, bundle: usize, uplink: u16, ports: &[u16]) -> Result<Self> {
        Ok(Self {
            uplink: End::new(uplink)?,
            ports: ports.iter().map(|port| End::new(*port)).collect::<Result<_>>()?,
            fabric: Mutex::new(Fabric::new(vlan, bundle, ports.len())),
        })
    }

    /// Cable to the network: the port on which QEMU takes frames, and the one it sends them to.
    ///
    /// # Errors
    /// A socket has no address.
    pub fn uplink(&self) -> Result<(u16, u16)> {
        self.uplink.cable()
    }

    /// Cables to the cards, in order.
    ///
    /// # Errors
    /// A socket has no address.
    pub fn cables(&self) -> Result<Vec<(u16, u16)>> {
        self.ports.iter().map(End::cable).collect()
    }

    /// What was seen so far, by port.
    pub fn traffic(&self) -> Vec<PortTraffic> {
        self.fabric.lock().unwrap_or_else(PoisonError::into_inner).traffic.clone()
    }

    /// Passes frames on while `work` runs; gives its result.
    ///
    /// # Errors
    /// Those of `work`; a socket fails.
    pub fn run_during<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let done = &done;
            let mut threads = vec![scope.spawn(move || self.pass(&self.uplink, None, done))];
            threads.extend(
                self.ports
                    .iter()
                    .enumerate()
                    .map(|(port, end)| scope.spawn(move || self.pass(end, Some(port), done))),
            );
            let result = work();
            done.store(true, Ordering::Relaxed);
            for thread in threads {
                thread.join().map_err(|_| anyhow!("the switch ended by a panic"))??;
            }
            result
        })
    }

    fn pass(&self, end: &End, port: Option<usize>, done: &AtomicBool) -> Result<()> {
        let mut frame = vec![0u8; 65_536];
        while !done.load(Ordering::Relaxed) {
            use std::io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
            let length = match end.socket.recv(&mut frame) {
                Ok(length) => length,
                Err(error)
                    if matches!(error.kind(), ConnectionRefused | Interrupted | TimedOut | WouldBlock) =>
                {
                    continue;
                }
                Err(error) => return Err(error).context("hearing a cable"),
            };
            let mut fabric = self.fabric.lock().unwrap_or_else(PoisonError::into_inner);
            let way = match port {
                Some(port) => fabric.hear_port(port, &frame[..length]),
                None => fabric.hear_uplink(&frame[..length]),
            };
            drop(fabric);
            match way {
                Way::Uplink(frame) => self.uplink.send(&frame),
                Way::Port(port, frame) => self.ports[port].send(&frame),
                Way::Nowhere => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ACTOR, Fabric, HEADER_BYTES, PARTNER, SLOW_KIND, SLOW_PROTOCOLS, STATE, SWITCH_MAC, Switch, Way,
    };
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::Duration;

    const CARD: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
    const OTHER: [u8; 6] = [0x52, 0x54, 0, 0, 0, 2];

    fn plain(to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
        [&to[..], &from, &[8, 0], b"hello"].concat()
    }

    fn tagged(vlan: u8, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
        [&to[..], &from, &[0x81, 0, 0x20, vlan, 8, 0], b"hello"].concat()
    }

    /// An LACP message of a machine in this state that knows this partner.
    fn lacp(state: u8, partner: [u8; 6]) -> Vec<u8> {
        let mut body = vec![0u8; 110];
        body[..4].copy_from_slice(&[1, 1, 1, 20]);
        body[4..22]
            .copy_from_slice(&[0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1, 0, 9, 0, 0xff, 0, 1, state, 0, 0, 0]);
        body[26..32].copy_from_slice(&partner);
        [&SLOW_PROTOCOLS[..], &CARD, &SLOW_KIND, &body].concat()
    }

    #[test]
    fn takes_the_tag_off_and_puts_it_on_again() {
        let mut fabric = Fabric::new(20, 2, 3);
        assert_eq!(fabric.hear_port(1, &tagged(20, OTHER, CARD)), Way::Uplink(plain(OTHER, CARD)));
        let Way::Port(1, back) = fabric.hear_uplink(&plain(CARD, OTHER)) else { panic!("another way") };
        assert_eq!(back[12..18], [0x81, 0, 0, 20, 8, 0]);
        assert_eq!((fabric.traffic[1].tagged, fabric.traffic[1].sent), (1, 1));
        // An address that was never heard: one port of the bundle, the one that last spoke.
        assert!(matches!(fabric.hear_uplink(&plain([0xff; 6], OTHER)), Way::Port(1, _)));
    }

    #[test]
    fn drops_and_counts_what_has_no_tag_or_another_one() {
        let mut fabric = Fabric::new(20, 2, 3);
        assert_eq!(fabric.hear_port(0, &plain(OTHER, CARD)), Way::Nowhere);
        assert_eq!(fabric.hear_port(0, &tagged(30, OTHER, CARD)), Way::Nowhere);
        assert_eq!(fabric.hear_port(0, &tagged(20, OTHER, CARD)[..15]), Way::Nowhere);
        assert_eq!(fabric.hear_port(0, &[]), Way::Nowhere);
        let seen = &fabric.traffic[0];
        assert_eq!((seen.untagged, seen.foreign, seen.tagged), (1, 1, 0));
    }

    #[test]
    fn answers_lacp_on_the_ports_of_the_bundle_alone() {
        let mut fabric = Fabric::new(20, 2, 3);
        let Way::Port(1, answer) = fabric.hear_port(1, &lacp(0x45, [0; 6])) else { panic!("no answer") };
        assert_eq!(answer.len(), HEADER_BYTES + 110);
        // What the machine said of itself comes back to it as the partner's part.
        assert_eq!(answer[HEADER_BYTES..][PARTNER], lacp(0x45, [0; 6])[HEADER_BYTES + 4..HEADER_BYTES + 22]);
        assert!(!fabric.traffic[1].bundled);
        assert_eq!(answer[HEADER_BYTES..][ACTOR][STATE], 0x3f, "active, short timeouts, carries");
        fabric.hear_port(1, &lacp(0x3d, SWITCH_MAC));
        assert!(fabric.traffic[1].bundled);
        fabric.hear_port(1, &lacp(0x3d, OTHER));
        assert!(!fabric.traffic[1].bundled, "bundled with another switch");
        assert_eq!(fabric.hear_port(2, &lacp(0x3d, SWITCH_MAC)), Way::Nowhere);
        assert_eq!(fabric.hear_port(0, &lacp(0x3d, SWITCH_MAC)[..40]), Way::Nowhere);
    }

    #[test]
    fn passes_frames_between_cables() {
        let ends: Vec<UdpSocket> = (0..2).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = ends.iter().map(|end| end.local_addr().unwrap().port()).collect();
        let switch = Switch::new(20, 0, ports[0], &ports[1..]).unwrap();
        let (uplink, cables) = (switch.uplink().unwrap(), switch.cables().unwrap());
        let hear = |end: &UdpSocket| {
            let mut frame = [0u8; 100];
            end.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let length = end.recv(&mut frame).unwrap();
            frame[..length].to_vec()
        };
        let heard = switch.run_during(|| {
            ends[1].send_to(&tagged(20, OTHER, CARD), (Ipv4Addr::LOCALHOST, cables[0].1)).unwrap();
            let up = hear(&ends[0]);
            ends[0].send_to(&plain(CARD, OTHER), (Ipv4Addr::LOCALHOST, uplink.1)).unwrap();
            Ok((up, hear(&ends[1])))
        });
        let (up, down) = heard.unwrap();
        assert_eq!(up, plain(OTHER, CARD));
        assert_eq!(down[12..16], [0x81, 0, 0, 20]);
        assert_eq!(switch.traffic()[0].tagged, 1);
    }
}

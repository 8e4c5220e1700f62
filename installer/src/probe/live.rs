//! The probes on this machine: which interface stands for a leg now, switched on if need be, and a socket on it.

use super::ask::ask_leg;
use super::questions::{LegQuestions, questions_of};
use super::talk::{Us, Wire};
use super::{Carrier, LegFindings, MtuAnswer};
use profiles::network::LinkKind;
use profiles::node::{MacAddr, NodeConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use sysio::links::{Link, read_links, set_mtu, set_up};
use sysio::packets::PacketSocket;

/// A card needs this long to agree on a speed with its switch; a bond to agree on LACP.
const CARRIER_WAIT: Duration = Duration::from_secs(12);
const CARRIER_PAUSE: Duration = Duration::from_millis(250);
/// A link that was up all the time since so long ago is past the spanning tree of its switch.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// Kinds of interfaces that are made of others and have the address of one of them.
const MADE_OF_OTHERS: [&str; 6] = ["bond", "bridge", "vlan", "macvlan", "macvtap", "ipvlan"];

/// The interfaces of this machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    links: BTreeMap<String, Link>,
}

impl Machine {
    /// Reads the interfaces of the current network namespace.
    ///
    /// # Errors
    /// Netlink does not answer.
    pub fn read() -> Result<Self, sysio::addresses::AddressesError> {
        Ok(Self { links: read_links()? })
    }

    /// The card with this permanent address.
    pub fn card(&self, mac: MacAddr) -> Option<&Link> {
        let cards = || self.links.values().filter(|link| !is_made_of_others(link));
        let by_permanent = cards().find(|link| link.permanent_mac == Some(mac.0));
        by_permanent.or_else(|| cards().find(|link| link.permanent_mac.is_none() && link.mac == Some(mac.0)))
    }

    /// The bond, bridge or VLAN with this name.
    fn made(&self, name: &str) -> Option<&Link> {
        self.links.get(name).filter(|link| is_made_of_others(link))
    }

    /// Every Ethernet address of this machine.
    pub fn macs(&self) -> BTreeSet<MacAddr> {
        let both = self.links.values().flat_map(|link| [link.mac, link.permanent_mac]);
        both.flatten().filter(|mac| *mac != [0; 6]).map(MacAddr).collect()
    }

    /// Signal of the cards a bond is made of.
    fn members(&self, device: &str) -> BTreeMap<String, Carrier> {
        let members = self.links.values().filter(|link| link.master.as_deref() == Some(device));
        members.map(|link| (link.name.clone(), carrier_of(link))).collect()
    }
}

fn is_made_of_others(link: &Link) -> bool {
    link.kind.as_deref().is_some_and(|kind| MADE_OF_OTHERS.contains(&kind))
}

fn carrier_of(link: &Link) -> Carrier {
    if link.carrier { Carrier::Up } else { Carrier::Down }
}

/// Looks at all legs of a node at once, on this machine. `chosen` has the MACs of legs for which the node config has none.
/// With `may_change`, which is for a live system, an interface that is off is switched on (it gets no address), and its MTU raised
/// while it is asked for.
pub fn look(node: &NodeConfig, chosen: &BTreeMap<String, MacAddr>, may_change: bool) -> Vec<LegFindings> {
    let machine = Machine::read().map_err(|error| format!("{:#}", anyhow::Error::new(error)));
    let all = questions_of(node);
    std::thread::scope(|scope| {
        let threads: Vec<_> = all
            .iter()
            .map(|questions| {
                let machine = &machine;
                let mac = node.interfaces.iter().find(|i| i.name == questions.leg).and_then(|i| i.mac);
                let mac = mac.or_else(|| chosen.get(&questions.leg).copied());
                let thread = scope.spawn(move || {
                    let is_card = is_card(node, &questions.leg);
                    look_at_leg(questions, machine, mac.filter(|_| is_card), is_card, may_change)
                });
                (questions, thread)
            })
            .collect();
        let joined = threads.into_iter().map(|(questions, thread)| {
            let failed = || not_looked(questions, "the probe ended unexpectedly");
            thread.join().unwrap_or_else(|_| failed())
        });
        joined.collect()
    })
}

/// A card alone says nothing about a leg that is a VLAN or a bond: its frames are tagged, or leave by another card. Such a leg is asked
/// through the link of its name, which the installed system has, and the live one when the early network made it.
const STACKED: &str = "it stands on a bond, a bridge or a VLAN, which this system has not made";

fn is_card(node: &NodeConfig, leg: &str) -> bool {
    node.network.link(leg).is_none_or(|link| matches!(link.kind, LinkKind::Physical { .. }))
}

fn not_looked(questions: &LegQuestions, why: &str) -> LegFindings {
    LegFindings::not_looked(questions, Carrier::NotLooked { why: why.to_owned() }, why)
}

fn look_at_leg(
    questions: &LegQuestions,
    machine: &Result<Machine, String>,
    mac: Option<MacAddr>,
    is_card: bool,
    may_change: bool,
) -> LegFindings {
    let machine = match machine {
        Ok(machine) => machine,
        Err(why) => return not_looked(questions, why),
    };
    let link = match (mac, is_card) {
        (_, false) => machine.made(&questions.leg).ok_or_else(|| STACKED.to_owned()),
        (None, true) => Err("which card it is cannot be told without a MAC".to_owned()),
        (Some(mac), true) => {
            machine.card(mac).ok_or_else(|| format!("this machine has no card with the MAC {mac}"))
        }
    };
    let link = match link {
        Ok(link) => link,
        Err(why) => return not_looked(questions, &why),
    };
    let mut findings = match prepare(link, questions, may_change) {
        Err(why) => not_looked(questions, &why),
        Ok(Carrier::Up) => talk(questions, link, machine),
        Ok(carrier) => LegFindings::not_looked(questions, carrier, "there is no signal"),
    };
    if may_change && u32::from(questions.mtu_bytes) > link.mtu_bytes {
        restore_mtu(link);
    }
    findings.device = Some(link.name.clone());
    findings.members = machine.members(&link.name);
    findings
}

/// Switches the interface on if that is allowed, raises its MTU, and waits for a signal.
fn prepare(link: &Link, questions: &LegQuestions, may_change: bool) -> Result<Carrier, String> {
    let text = |error: sysio::command::CommandError| format!("{:#}", anyhow::Error::new(error));
    if may_change && u32::from(questions.mtu_bytes) > link.mtu_bytes {
        // A card that does not take it is told apart by the answer about the MTU.
        if let Err(error) = set_mtu(&link.name, u32::from(questions.mtu_bytes)) {
            tracing::debug!(device = link.name, %error, "raising the MTU for the probe failed");
        }
    }
    if !link.up {
        if !may_change {
            return Err(format!("{} is switched off", link.name));
        }
        set_up(&link.name).map_err(text)?;
    }
    let now = || sysio::clock::monotonic().unwrap_or_default();
    let end = now() + CARRIER_WAIT;
    loop {
        let links = read_links().map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
        match links.get(&link.name) {
            Some(link) if link.carrier => return Ok(Carrier::Up),
            Some(_) if may_change && now() < end => std::thread::sleep(CARRIER_PAUSE),
            Some(_) => return Ok(Carrier::Down),
            None => return Err(format!("{} went away", link.name)),
        }
    }
}

fn restore_mtu(link: &Link) {
    if let Err(error) = set_mtu(&link.name, link.mtu_bytes) {
        tracing::warn!(device = link.name, %error, "setting the MTU back after the probe failed");
    }
}

fn talk(questions: &LegQuestions, link: &Link, machine: &Machine) -> LegFindings {
    let mut wire = match SocketWire::open(&link.name) {
        Ok(wire) => wire,
        Err(why) => return LegFindings::not_looked(questions, Carrier::Up, &why),
    };
    let settled = link.carrier && sysio::clock::boottime().is_ok_and(|up| up > SETTLED_AFTER);
    let us = Us { mac: wire.mac(), machine: machine.macs(), id: rand::random(), fresh: !settled };
    let mut findings = ask_leg(questions, &mut wire, &us);
    explain_own_limit(&mut findings, questions, link);
    findings
}

/// A frame that our own card does not take says nothing about the way to the gateway.
fn explain_own_limit(findings: &mut LegFindings, questions: &LegQuestions, link: &Link) {
    let Some(max) = link.mtu_max_bytes.filter(|max| *max < u32::from(questions.mtu_bytes)) else { return };
    for answer in findings.mtu.values_mut() {
        let why =
            format!("{} takes packets up to {max} bytes, {} are wanted", link.name, questions.mtu_bytes);
        *answer = MtuAnswer::NotLooked { why };
    }
}

/// A packet socket as the wire of the probes.
#[derive(Debug)]
pub struct SocketWire {
    socket: PacketSocket,
}

impl SocketWire {
    /// Opens an interface, which must be up.
    ///
    /// # Errors
    /// No such interface, or not root; a text for people.
    pub fn open(device: &str) -> Result<Self, String> {
        let opened = PacketSocket::open(device);
        let socket = opened.map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
        Ok(Self { socket })
    }

    /// The address the interface sends from.
    pub fn mac(&self) -> MacAddr {
        MacAddr(self.socket.mac())
    }
}

impl Wire for SocketWire {
    fn send(&mut self, frame: &[u8]) -> Result<(), String> {
        self.socket.send(frame).map_err(|error| format!("{:#}", anyhow::Error::new(error)))
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, String> {
        self.socket.receive(patience).map_err(|error| format!("{:#}", anyhow::Error::new(error)))
    }

    fn now(&self) -> Duration {
        sysio::clock::monotonic().unwrap_or_default()
    }
}

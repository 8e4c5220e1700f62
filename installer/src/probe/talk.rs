//! Talking over a wire: asking again, listening for a while, and answering for the addresses of this node meanwhile, which no
//! kernel does for us.

use super::frames::{Heard, parse_frame, render_answer, render_dns_query, render_echo, render_probe};
use super::{DnsAnswer, MtuAnswer};
use profiles::node::MacAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// RFC 5227 `PROBE_NUM`.
const PROBES: u32 = 3;
/// RFC 5227 lets one to two seconds pass between probes (`PROBE_MIN`, `PROBE_MAX`).
const PROBE_PAUSE: Duration = Duration::from_secs(1);
/// RFC 5227 `ANNOUNCE_WAIT`: as long an answer may take after the last probe.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// A switch port that speaks spanning tree swallows everything for 30 s after the signal came. So long the probes go on when not
/// a single frame was heard on a fresh link; the rest of that time has passed in the boot.
const DEAF_PROBES: u32 = 15;
/// How often an echo request or a DNS question is sent, and how long each is waited for.
const TRIES: u16 = 3;
const TRY_WAIT: Duration = Duration::from_secs(1);
/// A small packet, which every path takes.
const SMALL_BYTES: u16 = 100;
/// Every IPv6 path takes this, and every IPv4 path that anybody builds a cluster on.
const LEAST_MTU_BYTES: u16 = 1280;

/// What the probes need of a network interface. Errors are texts for people.
pub trait Wire {
    /// Sends a frame.
    ///
    /// # Errors
    /// The interface does not take it.
    fn send(&mut self, frame: &[u8]) -> Result<(), String>;

    /// The next frame that comes within `patience`.
    ///
    /// # Errors
    /// The interface is gone.
    fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, String>;

    /// Time since some fixed moment.
    fn now(&self) -> Duration;
}

/// This machine, as the segment sees it.
#[derive(Clone, Debug)]
pub struct Us {
    /// Address the interface sends from.
    pub mac: MacAddr,
    /// Every Ethernet address of this machine: its other cards may be on the same segment, and answer.
    pub machine: BTreeSet<MacAddr>,
    /// Identity of our echo requests and DNS questions.
    pub id: u16,
    /// The signal may be younger than the time in which a switch passes nothing.
    pub fresh: bool,
}

/// Asks who has these addresses. Gives the Ethernet addresses of all who said so; an address nobody has is not in it. Somebody who is
/// about to take an address counts as its holder.
pub(super) fn call_roll(
    wire: &mut dyn Wire,
    us: &Us,
    asked: &BTreeSet<IpAddr>,
) -> Result<BTreeMap<IpAddr, BTreeSet<MacAddr>>, String> {
    let mut holders: BTreeMap<IpAddr, BTreeSet<MacAddr>> = BTreeMap::new();
    let mut deaf = true;
    let mut number = 0;
    while number < PROBES || (us.fresh && deaf && number < DEAF_PROBES) {
        number += 1;
        for address in asked {
            wire.send(&render_probe(us.mac, *address))?;
        }
        listen(wire, PROBE_PAUSE, &mut |frame| {
            deaf = false;
            note_holders(us, asked, frame, &mut holders);
        })?;
    }
    listen(wire, LAST_WAIT, &mut |frame| note_holders(us, asked, frame, &mut holders))?;
    Ok(holders)
}

fn note_holders(
    us: &Us,
    asked: &BTreeSet<IpAddr>,
    frame: &[u8],
    holders: &mut BTreeMap<IpAddr, BTreeSet<MacAddr>>,
) {
    for heard in parse_frame(frame) {
        if let Heard::Holder { address, mac } | Heard::Candidate { address, mac } = heard
            && asked.contains(&address)
            && !us.machine.contains(&mac)
        {
            holders.entry(address).or_default().insert(mac);
        }
    }
}

/// Gives every frame of a span of time to `hear`.
fn listen(wire: &mut dyn Wire, span: Duration, hear: &mut dyn FnMut(&[u8])) -> Result<(), String> {
    let end = wire.now() + span;
    while let Some(left) = end.checked_sub(wire.now()).filter(|left| !left.is_zero()) {
        if let Some(frame) = wire.receive(left)? {
            hear(&frame);
        }
    }
    Ok(())
}

/// One address of ours and somebody we talk to with it, of one family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) own: IpAddr,
    pub(super) other: IpAddr,
    /// Where frames for the other go: its own Ethernet address, or that of the gateway.
    pub(super) via: MacAddr,
}

/// Asks a DNS server.
pub(super) fn ask_dns(wire: &mut dyn Wire, us: &Us, pair: Pair) -> Result<DnsAnswer, String> {
    let frame = render_dns_query((us.mac, pair.own), (pair.via, pair.other), us.id);
    let Some(frame) = frame else { return Ok(not_of_one_family()) };
    for _ in 0..TRIES {
        wire.send(&frame)?;
        let answer = wait_for(wire, us, pair.own, &mut |heard| match heard {
            Heard::Dns { from, id, rcode } if from == pair.other && id == us.id => Some(rcode),
            _ => None,
        })?;
        if let Some(rcode) = answer {
            return Ok(DnsAnswer::Answered { rcode });
        }
    }
    Ok(DnsAnswer::Silent)
}

fn not_of_one_family() -> DnsAnswer {
    DnsAnswer::NotLooked { why: "this leg has no address of its family".to_owned() }
}

/// Finds out whether packets of `wanted` bytes reach the gateway in one piece, and if not, how large they may be.
pub(super) fn measure_mtu(
    wire: &mut dyn Wire,
    us: &Us,
    pair: Pair,
    wanted: u16,
) -> Result<MtuAnswer, String> {
    let mut number = 0;
    if !echo(wire, us, pair, SMALL_BYTES, &mut number)? {
        return Ok(MtuAnswer::NoEcho);
    }
    if echo(wire, us, pair, wanted, &mut number)? {
        return Ok(MtuAnswer::Fits { bytes: wanted });
    }
    let (mut fits, mut too_large) = (SMALL_BYTES, wanted);
    if echo(wire, us, pair, LEAST_MTU_BYTES.min(wanted - 1), &mut number)? {
        fits = LEAST_MTU_BYTES.min(wanted - 1);
    }
    while too_large - fits > 1 {
        let middle = fits + (too_large - fits) / 2;
        if echo(wire, us, pair, middle, &mut number)? {
            fits = middle;
        } else {
            too_large = middle;
        }
    }
    Ok(MtuAnswer::Smaller { wanted, fits })
}

/// True when a packet of this size is answered. A router that says "too big" ends the waiting.
fn echo(wire: &mut dyn Wire, us: &Us, pair: Pair, bytes: u16, number: &mut u16) -> Result<bool, String> {
    for _ in 0..TRIES {
        *number = number.wrapping_add(1);
        let identity = (us.id, *number);
        let frame = render_echo((us.mac, pair.own), (pair.via, pair.other), identity, bytes);
        let Some(frame) = frame else { return Ok(false) };
        wire.send(&frame)?;
        let answer = wait_for(wire, us, pair.own, &mut |heard| match heard {
            Heard::Echo { from, id, number } if from == pair.other && (id, number) == identity => Some(true),
            Heard::TooBig { mtu } if mtu < u32::from(bytes) => Some(false),
            _ => None,
        })?;
        if let Some(passed) = answer {
            return Ok(passed);
        }
    }
    Ok(false)
}

/// Listens for [`TRY_WAIT`] until `found` is satisfied, and answers those who ask for our address.
fn wait_for<T>(
    wire: &mut dyn Wire,
    us: &Us,
    own: IpAddr,
    found: &mut dyn FnMut(Heard) -> Option<T>,
) -> Result<Option<T>, String> {
    let end = wire.now() + TRY_WAIT;
    while let Some(left) = end.checked_sub(wire.now()).filter(|left| !left.is_zero()) {
        let Some(frame) = wire.receive(left)? else { continue };
        for heard in parse_frame(&frame) {
            if let Heard::Asked { address, by, mac } = heard {
                if address == own
                    && let Some(answer) = render_answer(us.mac, own, by, mac)
                {
                    wire.send(&answer)?;
                }
            } else if let Some(answer) = found(heard) {
                return Ok(Some(answer));
            }
        }
    }
    Ok(None)
}

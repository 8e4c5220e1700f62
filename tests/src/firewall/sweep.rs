//! All 65,535 TCP ports of one address from the DMZ, by half-open connections.
//!
//! No listener is needed on each port, and no rule of the test answers in the place of one: a SYN that gets past the
//! rules reaches the kernel, which answers on every port, by SYN+ACK where somebody listens and by a reset where nobody
//! does. Silence is the rules' doing alone: the control without rules hears all 65,535 answers, and a sweep counts only
//! when all its SYNs have come to the node (a table before all others counts them).

use super::craft::{Flow, RawReceiver, RawSender, SYN, packet, tcp};
use super::space::Space;
use super::topology::{Host, Place, World};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Silence after the last answer that ends a sweep.
const QUIET: Duration = Duration::from_millis(250);
/// SYNs sent before the answers are read: fewer than the kernel queues for one processor (1000).
const BURST: usize = 256;
/// Tries until every SYN has come to the node and every port that should answer has answered. Each has a source port of
/// its own.
pub const TRIES: u16 = 8;

/// The ports that answer. Those of `should_answer` that are silent are asked again, as an answer may be lost too.
///
/// # Errors
/// A raw socket cannot be opened or used; SYNs do not come to the node.
pub fn sweep(
    world: &World,
    to: Place,
    v6: bool,
    source_port: u16,
    should_answer: &BTreeSet<u16>,
) -> Result<BTreeSet<u16>> {
    let from = Host::DmzHost;
    let mut answered = BTreeSet::new();
    let mut missing: Vec<u16> = (1..=u16::MAX).collect();
    let mut has_arrived = false;
    for again in 0..TRIES {
        let sweep = Sweep {
            source: Place::Beyond(from).address(world.kind, v6),
            target: to.address(world.kind, v6),
            source_port: source_port + again,
            v6,
        };
        count_arrivals(world.own(), sweep.source_port)?;
        answered.extend(world.spaces[&from].enter(|| sweep.ask(&missing))?);
        has_arrived |= arrivals(world.own())? >= missing.len() as u64;
        if has_arrived {
            missing = should_answer.difference(&answered).copied().collect();
            if missing.is_empty() {
                break;
            }
        } else {
            missing.retain(|port| !answered.contains(port));
        }
    }
    world.own().nft("delete table inet arrivals\n")?;
    if !has_arrived {
        bail!("void: in {TRIES} tries not every SYN came to the node: this machine is too busy");
    }
    Ok(answered)
}

fn count_arrivals(node: &Space, source_port: u16) -> Result<()> {
    node.nft(&format!(
        "table inet arrivals\ndelete table inet arrivals\ntable inet arrivals {{
 counter syns {{ }}
 chain first {{ type filter hook prerouting priority -400; policy accept;
  tcp sport {source_port} tcp flags & (syn | ack | rst) == syn counter name syns
 }}
}}
"
    ))
}

fn arrivals(node: &Space) -> Result<u64> {
    let text = node.run(&["nft", "-j", "list", "counter", "inet", "arrivals", "syns"], "")?;
    let listing: serde_json::Value = serde_json::from_str(&text).context("reading the count of arrivals")?;
    let mut objects = listing["nftables"].as_array().into_iter().flatten();
    objects.find_map(|o| o["counter"]["packets"].as_u64()).context("no count of arrivals")
}

struct Sweep {
    source: IpAddr,
    target: IpAddr,
    source_port: u16,
    v6: bool,
}

impl Sweep {
    fn ask(&self, ports: &[u16]) -> Result<BTreeSet<u16>> {
        let (sender, receiver) = (RawSender::new()?, RawReceiver::new(self.v6)?);
        let mut answered = BTreeSet::new();
        let read = |answered: &mut BTreeSet<u16>| {
            let mut heard = false;
            while let Some(answer) = receiver.next() {
                if answer.to_port == self.source_port {
                    heard |= answered.insert(answer.from_port);
                }
            }
            heard
        };
        for burst in ports.chunks(BURST) {
            for port in burst {
                let flow =
                    Flow { from: self.source, to: self.target, source_port: self.source_port, port: *port };
                sender.send(self.target, &packet(&flow, 6, &tcp(&flow, SYN)))?;
            }
            read(&mut answered);
        }
        let mut last = Instant::now();
        while last.elapsed() < QUIET {
            if read(&mut answered) {
                last = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(answered)
    }
}

//! All 65,535 TCP ports of one address from the DMZ, by half-open connections.
//!
//! No listener is needed on each port, and no rule of the test answers in the place of one: a SYN that gets past the
//! rules reaches the kernel, which answers on every port, by SYN+ACK where somebody listens and by a reset where nobody
//! does. Silence is the rules' doing alone; the control without rules hears all 65,535 answers.

use super::craft::{Flow, RawReceiver, RawSender, SYN, packet, tcp};
use super::topology::{Host, Place, World};
use anyhow::Result;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Silence after the last answer that ends a sweep.
const QUIET: Duration = Duration::from_millis(250);
/// SYNs sent before the answers are read.
const BURST: usize = 1024;
/// Ports are asked this often: a SYN lost on a busy machine is no verdict.
const TRIES: u16 = 2;

/// The ports that answer; silent ones are asked again.
///
/// # Errors
/// A raw socket cannot be opened or used.
pub fn sweep(world: &World, from: Host, to: Place, v6: bool, source_port: u16) -> Result<BTreeSet<u16>> {
    let (source, target) = (Place::Beyond(from).address(world.kind, v6), to.address(world.kind, v6));
    let all: Vec<u16> = (1..=u16::MAX).collect();
    world.spaces[&from].enter(|| {
        let mut answered = BTreeSet::new();
        for again in 0..TRIES {
            let missing: Vec<u16> = all.iter().copied().filter(|port| !answered.contains(port)).collect();
            if missing.is_empty() {
                break;
            }
            let sweep = Sweep { source, target, source_port: source_port + again, v6 };
            answered.extend(sweep.ask(&missing)?);
        }
        Ok(answered)
    })
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

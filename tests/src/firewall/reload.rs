//! Rules replaced again and again under a flood: at no moment does a forbidden packet pass.

use super::craft::{Flow, RawReceiver, RawSender, packet, syn};
use super::nodes::Kind;
use super::topology::{Host, Place, World};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Forbidden from the DMZ on every kind of node; on nodes with pods 31999 is rewritten to a pod.
const FORBIDDEN: [u16; 6] = [22, 2379, 6443, 9940, 10250, 31999];
/// The flood is bounded: packets in one burst, and the pause after it.
const BURST: u64 = 20;
const PAUSE: Duration = Duration::from_millis(2);
/// Most packets in one flood.
const MOST: u64 = 3_000_000;
/// Source ports of a flood, from its first one: a half-open connection of an earlier flood, which the kernel still
/// answers now and then, is no leak of this one.
pub const FLOOD_PORTS: u16 = 25_000;

/// What the flood saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flooded {
    /// SYNs sent.
    pub sent: u64,
    /// Answers heard: leaks.
    pub answers: u64,
}

/// Floods the node from the DMZ, both families, from `first_port` on, while `work` runs.
///
/// # Errors
/// Of the flood or of `work`; the flood ended before `work` did.
pub fn flood(world: &World, first_port: u16, work: impl FnOnce() -> Result<()>) -> Result<Flooded> {
    let done = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    let flooding = || {
        world.spaces[&Host::DmzHost].enter(|| {
            let sender = RawSender::new()?;
            let receivers = [RawReceiver::new(false)?, RawReceiver::new(true)?];
            let mut answers = 0;
            let mut count = || {
                for receiver in &receivers {
                    while let Some(answer) = receiver.next() {
                        let is_ours = (first_port..first_port + FLOOD_PORTS).contains(&answer.to_port)
                            && answer.acknowledged == sequence(first_port).wrapping_add(1);
                        answers += u64::from(is_ours && FORBIDDEN.contains(&answer.from_port));
                    }
                }
            };
            let mut number = 0u64;
            while !done.load(Ordering::Relaxed) && number < MOST {
                for _ in 0..BURST {
                    number += 1;
                    let (target, bytes) = forbidden(world.kind, first_port, number);
                    sender.send(target, &bytes)?;
                }
                sent.store(number, Ordering::Relaxed);
                count();
                std::thread::sleep(PAUSE);
            }
            std::thread::sleep(Duration::from_millis(100));
            count();
            Ok(Flooded { sent: number, answers })
        })
    };
    std::thread::scope(|scope| {
        let flooder = scope.spawn(flooding);
        while sent.load(Ordering::Relaxed) == 0 && !flooder.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let worked = work();
        let is_whole = !flooder.is_finished();
        done.store(true, Ordering::Relaxed);
        let flooded = flooder.join().map_err(|_| anyhow::anyhow!("the flood ended by a panic"))?;
        worked?;
        let flooded = flooded?;
        ensure!(is_whole, "void: the flood of {} packets ended before the work did", flooded.sent);
        Ok(flooded)
    })
}

/// Of this flood and of nothing else: a late segment of a connection that an earlier step had with these ports, while the rules
/// were off, is no answer to it.
fn sequence(first_port: u16) -> u32 {
    u32::from(first_port) << 16 | 0x5a5a
}

fn forbidden(kind: Kind, first_port: u16, number: u64) -> (std::net::IpAddr, Vec<u8>) {
    let v6 = number % 2 == 1;
    let place = if number % 4 < 2 { Place::Dmz } else { Place::Cluster };
    let port = FORBIDDEN[(number / 4 % FORBIDDEN.len() as u64) as usize];
    let flow = Flow {
        from: Place::Beyond(Host::DmzHost).address(kind, v6),
        to: place.address(kind, v6),
        source_port: first_port + (number % u64::from(FLOOD_PORTS)) as u16,
        port,
    };
    (flow.to, packet(&flow, 6, &syn(&flow, sequence(first_port))))
}

/// Starts to load a rule file and kills nft after `delay`: what was loaded before stays in force, or the new rules do.
///
/// # Errors
/// nft cannot be started.
pub fn kill_midway(world: &World, rules: &Path, delay: Duration) -> Result<()> {
    world.own().enter(|| {
        let mut child = Command::new("nft")
            .env("PATH", crate::command::search_path())
            .arg("-f")
            .arg(rules)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting nft")?;
        std::thread::sleep(delay);
        child.kill().context("killing nft")?;
        child.wait().map(drop).context("waiting for nft")
    })
}

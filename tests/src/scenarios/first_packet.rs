//! No open window: a finished machine, probed on its cable from power-on until it is healthy.
//!
//! Its cluster file has no IPv6, so its links have no IPv6 address at all (`LinkLocalAddressing=no`): over IPv6 not even the
//! question for a neighbour may ever be answered. Nodes with IPv6 are proven by packets in namespaces.

use super::install::{disk_of, fresh_dir};
use super::{Context, Figures};
use crate::cluster::{DISK_SERIAL, MAC};
use crate::machine::{AGENT_GUEST_ADDRESS, Bus, Drive, Machine, Network, Vm, free_port};
use crate::wire::{Knock, Sightings, Wire, link_local};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the machine may take from power-on.
const HEALTHY_WITHIN_SECS: u64 = 700;
/// How long it is knocked at after that, so that what may open has been asked.
const AFTERWARDS: Duration = Duration::from_secs(15);

/// A host on the cluster network that is no node and no operator.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 77));
/// An operator: inside `admin.sources` of the example.
const OPERATOR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
/// The gateway of the example; the machine looks for it.
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// Somebody on the same wire over IPv6, with no address but the link's own.
const NEIGHBOUR: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77));

/// Ports of a k3s server, of the machine and of a service. Without rules the kernel answers on every one, with a reset where
/// nobody listens, so no listener is needed to see a window.
const CLOSED: [u16; 9] = [22, 2379, 2380, 6443, 8472, 9100, 9940, 10250, 30080];
/// What an operator may, in the end: the API and the health report.
const OPENED: [u16; 2] = [6443, 9940];

/// Boots the disk of `iso-bios` on a cable of ours and demands that no forbidden knock was ever answered, that the allowed
/// ones were in the end, and that both arrived by the same way.
pub(super) fn run(context: &Context) -> Result<Figures> {
    let disk = disk_of(context, "iso-bios");
    ensure!(disk.is_file(), "no finished disk: run the scenario iso-bios first");
    let dir = fresh_dir(context, "first-packet")?;
    let qemu_port = free_port()?;
    let wire = Wire::new(MAC, qemu_port, knocks()?)?;
    let network = Network { cable: Some((qemu_port, wire.port()?)), ..Network::new(MAC) };
    let mut machine = Machine::new("first-packet")
        .drive(Drive::disk("disk0", &disk, DISK_SERIAL).on(Bus::Sata).boot(0))
        .network(network);
    machine.limit_secs = HEALTHY_WITHIN_SECS + 60;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let prober = scope.spawn(|| wire.probe(&done));
        let booted = machine.run(context.accel, &dir, context.echo, healthy_and_then);
        done.store(true, Ordering::Relaxed);
        let seen = prober.join().map_err(|_| anyhow!("the prober ended by a panic"))??;
        // What was seen is worth more than how the boot ended.
        ensure_no_window(&seen)?;
        let healthy_secs = booted?;
        ensure_opened(&seen)?;
        Ok(Figures::from([
            ("power_on_to_first_answer_secs".to_owned(), seen.up_secs.unwrap_or_default()),
            ("power_on_to_healthy_secs".to_owned(), healthy_secs),
            ("knocks_while_up".to_owned(), seen.knocks_since_up as f64),
        ]))
    })
}

fn healthy_and_then(vm: &mut Vm) -> Result<f64> {
    let healthy = vm.expect("metalstrap-agent: master-1 healthy, ", HEALTHY_WITHIN_SECS)?;
    std::thread::sleep(AFTERWARDS);
    Ok(healthy.secs)
}

fn node6() -> Result<IpAddr> {
    link_local(MAC).map(IpAddr::V6).context("the machine's Ethernet address")
}

fn knocks() -> Result<Vec<Knock>> {
    let node = IpAddr::V4(AGENT_GUEST_ADDRESS);
    let node6 = node6()?;
    let knock = |from, to: IpAddr| move |port: &u16| Knock { from, to, port: *port };
    let mut all: Vec<Knock> = CLOSED.iter().map(knock(STRANGER, node)).collect();
    all.extend(CLOSED.iter().map(knock(NEIGHBOUR, node6)));
    all.extend(OPENED.iter().map(knock(OPERATOR, node)));
    all.extend([knock(STRANGER, node)(&0), knock(NEIGHBOUR, node6)(&0), knock(GATEWAY, node)(&0)]);
    Ok(all)
}

fn ensure_no_window(seen: &Sightings) -> Result<()> {
    let open: Vec<String> = seen
        .answers
        .iter()
        .filter(|(knock, _)| !may_be_answered(knock))
        .map(|(knock, (secs, what))| {
            format!("\n  {secs:8.1} s {} -> port {}: {what}", knock.from, knock.port)
        })
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let up = seen.up_secs.map_or_else(|| "never".to_owned(), |secs| format!("at {secs:.1} s"));
    bail!("an open window (first answer to ARP {up}):{}", open.concat())
}

/// Pings from the cluster network, and what operators may.
fn may_be_answered(knock: &Knock) -> bool {
    knock.from.is_ipv4() && (knock.from == OPERATOR || knock.port == 0)
}

/// What an allowed knock is answered with.
fn wanted_of(knock: &Knock) -> &'static str {
    if knock.port == 0 { "echo reply" } else { "SYN+ACK" }
}

/// The control: the same prober on the same cable is answered where it may be.
fn ensure_opened(seen: &Sightings) -> Result<()> {
    ensure!(seen.up_secs.is_some(), "void: the machine has answered no ARP request");
    ensure!(seen.knocks_since_up > 1000, "void: only {} knocks while it was up", seen.knocks_since_up);
    let wanted = knocks()?.into_iter().filter(may_be_answered);
    for knock in wanted {
        let what = wanted_of(&knock);
        let answer = seen.answers.get(&knock).map(|(_, what)| what.as_str());
        // A port may be refused before its service runs: the first answer counts only as an answer.
        let is_answered = answer == Some(what) || (knock.port != 0 && answer == Some("RST"));
        ensure!(
            is_answered,
            "void: {} -> port {} has seen {answer:?}, wanted {what}",
            knock.from,
            knock.port
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        CLOSED, NEIGHBOUR, OPERATOR, STRANGER, ensure_no_window, ensure_opened, knocks, may_be_answered,
        wanted_of,
    };
    use crate::wire::Sightings;

    /// What a good machine shows.
    fn good() -> Sightings {
        let mut seen = Sightings { up_secs: Some(30.0), knocks_since_up: 5000, ..Sightings::default() };
        for knock in knocks().unwrap() {
            if may_be_answered(&knock) {
                seen.answers.insert(knock, (40.0, wanted_of(&knock).to_owned()));
            }
        }
        seen
    }

    #[test]
    fn a_single_answer_to_a_stranger_is_a_window() {
        let mut seen = good();
        ensure_no_window(&seen).unwrap();
        ensure_opened(&seen).unwrap();
        let knock =
            knocks().unwrap().into_iter().find(|k| k.from == STRANGER && k.port == CLOSED[0]).unwrap();
        seen.answers.insert(knock, (31.5, "RST".to_owned()));
        assert_eq!(
            ensure_no_window(&seen).unwrap_err().to_string(),
            "an open window (first answer to ARP at 30.0 s):\n      31.5 s 10.0.0.77 -> port 22: RST"
        );
        let mut seen = good();
        let knock = knocks().unwrap().into_iter().find(|k| k.from == NEIGHBOUR && k.port == 0).unwrap();
        seen.answers.insert(knock, (20.0, "neighbour advertisement".to_owned()));
        assert_eq!(
            ensure_no_window(&seen).unwrap_err().to_string(),
            "an open window (first answer to ARP at 30.0 s):\n      20.0 s fe80::77 -> port 0: neighbour advertisement"
        );
    }

    #[test]
    fn silence_of_a_machine_that_nobody_reached_proves_nothing() {
        let error = ensure_opened(&Sightings::default()).unwrap_err().to_string();
        assert_eq!(error, "void: the machine has answered no ARP request");
        let mut seen = good();
        let knock = knocks().unwrap().into_iter().find(|k| k.from == OPERATOR && k.port == 6443).unwrap();
        seen.answers.remove(&knock);
        assert_eq!(
            ensure_opened(&seen).unwrap_err().to_string(),
            "void: 10.0.0.5 -> port 6443 has seen None, wanted SYN+ACK"
        );
    }
}

//! What an operator does on an installed node, over SSH: looks, breaks something, tries a change, cuts the power.

use super::Figures;
use crate::canary::ensure_not_in;
use crate::cluster::{CANARY, with_ntp};
use crate::health;
use crate::machine::Vm;
use crate::ssh::Ssh;
use anyhow::{Context as _, Result, ensure};
use std::time::{Duration, Instant};

/// The longest interval of a check is a minute, and an emulated machine takes its time.
const SEEN_WITHIN: Duration = Duration::from_secs(300);
/// How long the system may take from the reset.
const HEALTHY_AGAIN_WITHIN_SECS: u64 = 500;
/// How long a trial lasts that nobody confirms.
const TRIAL_SECS: u64 = 90;
/// The time server of the changed cluster file.
const NTP: &str = "10.0.0.77";
/// Ends well while chrony is told of that server.
const HAS_NTP: &str = "grep -rqF 10.0.0.77 /etc/chrony /etc/metalstrap/node.json";
/// The changed cluster file on the node.
const CHANGED: &str = "/root/changed.toml";

/// The healthy node, by both its doors.
pub(super) struct Node<'n> {
    /// A shell on it.
    pub ssh: Ssh,
    /// Loopback port of its health agent.
    pub agent_port: u16,
    /// The cluster file it was installed by.
    pub cluster: &'n str,
}

/// Everything in turn; the node is healthy before and after.
pub(super) fn work_on(node: &Node<'_>, vm: &mut Vm) -> Result<Figures> {
    let begin = Instant::now();
    look(&node.ssh).context("looking at the node")?;
    take_support(&node.ssh).context("taking a support bundle")?;
    let changed = with_ntp(node.cluster, NTP)?;
    node.ssh.run_with(&format!("cat >{CHANGED}"), changed.as_bytes())?.ok()?;
    begin_trial(&node.ssh).context("a trial that nobody confirms")?;
    drift(node).context("changing the packet filter by hand, during a trial of something else")?;
    stop_k3s(node).context("stopping k3s")?;
    until(|| ensure_no_trial(&node.ssh)).context("a trial that nobody confirms")?;
    let operated = begin.elapsed().as_secs_f64();
    power_cut_in_a_trial(node, vm).context("a power cut during a trial")?;
    confirmed(&node.ssh).context("a trial that is confirmed")?;
    Ok(Figures::from([("operated_secs".to_owned(), operated)]))
}

fn look(ssh: &Ssh) -> Result<()> {
    let said = ssh.run("metalstrap status")?.ok()?;
    ensure!(said.contains("master-1") && said.contains("healthy"), "status: {said}");
    let disks = ssh.run("metalstrap disks")?;
    ensure!(disks.out.contains("MS-TARGET-0001"), "disks: {disks:?}");
    let same = ssh.run("metalstrap firewall diff")?.ok()?;
    ensure!(same == "the kernel has exactly the rules of this node\n", "{same}");
    let etcd = ssh.run("metalstrap firewall explain tcp/2379 from 10.0.0.99")?.ok()?;
    ensure!(etcd.contains("denied"), "explain: {etcd}");
    let nothing = ssh.run("cat >/root/same.toml && metalstrap apply --dry-run /root/same.toml")?;
    ensure!(nothing.code == 2, "an empty cluster file is taken: {nothing:?}");
    Ok(())
}

/// The bundle has what explains the node, and none of its tokens.
fn take_support(ssh: &Ssh) -> Result<()> {
    let said = ssh.run("metalstrap support --to /root")?.ok()?;
    let place = said.split(": ").next().unwrap_or_default().to_owned();
    let count = |pattern: &str| -> Result<u64> {
        // The pattern comes by standard input: on a command line it would be in the node's own process list.
        let line =
            format!("cat >/root/pattern; tar -xaOf '{place}' | grep -acFf /root/pattern; rm /root/pattern");
        let answer = ssh.run_with(&line, pattern.as_bytes())?;
        answer.out.trim().parse().with_context(|| format!("counting in {place}: {answer:?}"))
    };
    ensure!(count("master-1\n")? > 0, "{place} does not name the node: {said}");
    ensure!(count(&format!("{CANARY}\n"))? == 0, "{place} has the server token");
    Ok(())
}

/// A rule put in by hand is seen by the command and by the health agent, and taken out again.
fn drift(node: &Node<'_>) -> Result<()> {
    node.ssh.run("nft insert rule inet metalstrap input tcp dport 4444 accept")?.ok()?;
    let said = node.ssh.run("metalstrap firewall diff")?.with_code(4)?;
    ensure!(said.contains("4444"), "firewall diff: {said}");
    until(|| match reason(node.agent_port, "firewall.drift")? {
        Some(text) => Ok(text),
        None => anyhow::bail!("firewall.drift is ok"),
    })?;
    node.ssh.run("metalstrap firewall apply")?.ok()?;
    node.ssh.run("metalstrap firewall diff")?.ok()?;
    until(|| all_well(node.agent_port))
}

fn stop_k3s(node: &Node<'_>) -> Result<()> {
    node.ssh.run("systemctl stop k3s")?.ok()?;
    until(|| {
        let answer = health::get(node.agent_port, "/healthz")?;
        ensure!(answer.status == 503, "a node without k3s is told to be healthy");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        ensure!(text.contains("unit.k3s"), "it is not said that k3s is down: {text}");
        Ok(())
    })?;
    node.ssh.run("systemctl start k3s")?.ok()?;
    until(|| all_well(node.agent_port))
}

fn begin_trial(ssh: &Ssh) -> Result<()> {
    let shown = ssh.run(&format!("metalstrap apply --dry-run {CHANGED}"))?.ok()?;
    ensure!(shown.contains(NTP) && shown.contains("then: "), "apply --dry-run: {shown}");
    ensure!(ssh.run(HAS_NTP)?.code != 0, "a dry run has written");
    ssh.run(&format!("metalstrap apply --try {TRIAL_SECS} {CHANGED}"))?.ok()?;
    ensure!(ssh.run(HAS_NTP)?.code == 0, "the trial has changed nothing");
    Ok(())
}

fn ensure_no_trial(ssh: &Ssh) -> Result<()> {
    ensure!(ssh.run(HAS_NTP)?.code == 1, "the trial does not end");
    Ok(())
}

/// Begins a trial that lasts longer than this scenario. The files of the one before are back before all its units are told.
fn try_for_an_hour(ssh: &Ssh) -> Result<()> {
    let line = format!("metalstrap apply --try 3600 {CHANGED}");
    let answer = until(|| {
        let answer = ssh.run(&line)?;
        ensure!(!answer.err.contains("is being taken back"), "the trial before does not end: {answer:?}");
        Ok(answer)
    })?;
    answer.ok()?;
    ensure!(ssh.run(HAS_NTP)?.code == 0, "the trial has changed nothing");
    Ok(())
}

/// The node comes back with what it had before the trial.
fn power_cut_in_a_trial(node: &Node<'_>, vm: &mut Vm) -> Result<()> {
    try_for_an_hour(&node.ssh)?;
    vm.qmp().eject("medium")?;
    vm.qmp().reset()?;
    vm.expect("metalstrap: starting slot a", HEALTHY_AGAIN_WITHIN_SECS)?;
    vm.expect("metalstrap-agent: master-1 healthy, ", HEALTHY_AGAIN_WITHIN_SECS)?;
    ensure_no_trial(&node.ssh).context("the trial has outlived the power cut")?;
    let again = node.ssh.run("metalstrap apply --recover")?.ok()?;
    ensure!(again == "nothing was pending\n", "{again}");
    Ok(())
}

fn confirmed(ssh: &Ssh) -> Result<()> {
    try_for_an_hour(ssh)?;
    let kept = ssh.run("metalstrap apply --confirm")?.ok()?;
    ensure!(kept == "kept\n" && ssh.run(HAS_NTP)?.code == 0, "the confirmed change is gone: {kept}");
    let said = ssh.run(&format!("metalstrap apply --dry-run {CHANGED}"))?.ok()?;
    ensure!(said.contains("nothing to do"), "{said}");
    Ok(())
}

/// Why a check is not ok; `None` when it is.
fn reason(port: u16, id: &str) -> Result<Option<String>> {
    let (report, raw) = health::report(port)?;
    ensure_not_in(&raw, CANARY, "the health report")?;
    let check = report.checks.iter().find(|check| check.id == id);
    let check = check.with_context(|| format!("the report has no {id}"))?;
    Ok((check.state != report::State::Ok).then(|| check.message.clone()))
}

fn all_well(port: u16) -> Result<()> {
    let answer = health::get(port, "/healthz?verbose")?;
    ensure!(answer.status == 200, "{}", String::from_utf8_lossy(&answer.body));
    if let Some(why) = reason(port, "firewall.drift")? {
        anyhow::bail!("firewall.drift: {why}");
    }
    Ok(())
}

/// Looks again until it is so; fails with the last obstacle.
fn until<T>(mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let begin = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(obstacle) if begin.elapsed() > SEEN_WITHIN => return Err(obstacle),
            Err(_) => std::thread::sleep(Duration::from_secs(2)),
        }
    }
}

//! From power-on to a healthy node: install from the ISO, reboot, health report.

use super::{Context, Figures};
use crate::canary::{ensure_not_in, ensure_only_in};
use crate::cluster::{CANARY, Changes, DATA_SERIAL, DISK_SERIAL, MAC, adapt, secrets, with_operator_key};
use crate::health;
use crate::machine::{Bus, Drive, Firmware, Machine, Network, Vm, free_port};
use crate::media::{make_disk, make_fat_volume, put_on_stick};
use crate::phases::finished_phases;
use crate::ssh::make_key;
use anyhow::{Context as _, Result, bail, ensure};
use report::{Report, State};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Size of the disk that is installed to, sparse on the host.
const DISK_MIB: u64 = 10 * 1024;
/// Size of a data disk, sparse on the host.
const DATA_DISK_MIB: u64 = 6 * 1024;
/// Size of the stick with the cluster file.
const CONFIG_STICK_MIB: u64 = 8;
/// Label of a volume the installer takes the cluster file from.
pub(super) const CONFIG_LABEL: &str = "METALSTRAP";

/// How long each stretch may take: several times what two emulated cores need, so only a machine that hangs hits it.
const INSTALLER_WITHIN_SECS: u64 = 400;
const INSTALL_WITHIN_SECS: u64 = 400;
const HEALTHY_WITHIN_SECS: u64 = 500;
/// A machine that does all of it.
const WHOLE_LIMIT_SECS: u64 = 1300;

/// Files of an installed node in which the server token may stand: ends of paths on the state partition.
const TOKEN_FILES: &[&str] = &[
    "/rancher/k3s/server-token",
    "/rancher/k3s/agent-token",
    "/rancher/k3s/server/token",
    "/rancher/k3s/server/agent-token",
    "/rancher/k3s/server/node-token",
];

/// A machine that is to be installed.
pub(super) struct Way {
    /// The machine with its medium; the empty disk and the network are put in by [`install_and_check`].
    pub machine: Machine,
    /// Network without the port of the health agent.
    pub network: Network,
}

/// Which way the ISO is booted.
#[derive(Clone, Copy, Debug)]
pub struct IsoBoot {
    /// Firmware; with UEFI the medium is a stick, with BIOS a CD and the cluster file is on a stick of its own.
    pub firmware: Firmware,
    /// Name of the machine and its folder.
    pub name: &'static str,
    /// The shipped example whose `master-1` the machine becomes.
    pub example: Example,
    /// Where a second disk is mounted, if there is one.
    pub data_mount: Option<&'static str>,
}

/// A shipped example cluster file.
#[derive(Clone, Copy, Debug)]
pub enum Example {
    /// One master.
    Single,
    /// Three masters, the first of which forms the cluster and has to hold the API VIP.
    Ha,
}

pub(super) fn iso_bios(context: &Context) -> Result<Figures> {
    let boot =
        IsoBoot { firmware: Firmware::Bios, name: "iso-bios", example: Example::Single, data_mount: None };
    install_from_iso(context, boot, &mut nothing).map(|(figures, _)| figures)
}

pub(super) fn iso_uefi(context: &Context) -> Result<Figures> {
    let boot = IsoBoot {
        firmware: Firmware::Uefi,
        name: "iso-uefi",
        example: Example::Ha,
        data_mount: Some("/var/lib/rancher"),
    };
    let inspect = &mut |port| ensure_vip(port).and_then(|()| ensure_data_disk(port));
    install_from_iso(context, boot, inspect).map(|(figures, _)| figures)
}

/// The data disk is mounted where the cluster file wants it, and nearly empty: not the state partition beside the images.
fn ensure_data_disk(port: u16) -> Result<()> {
    let (report, _) = health::report(port)?;
    let check = report.checks.iter().find(|check| check.id == "disk.data");
    let check = check.context("the report has no disk.data")?;
    ensure!(check.state == State::Ok, "disk.data is {}: {}", check.state, check.message);
    ensure!(check.message.starts_with("/var/lib/rancher: "), "disk.data says: {}", check.message);
    Ok(())
}

/// The node holds the API VIP, and the API answers there.
pub(super) fn ensure_vip(port: u16) -> Result<()> {
    let (report, _) = health::report(port)?;
    for id in ["vip.local", "vip.reach"] {
        let check = report.checks.iter().find(|check| check.id == id);
        let check = check.with_context(|| format!("the report has no {id}"))?;
        ensure!(check.state == State::Ok, "{id} is {}: {}", check.state, check.message);
    }
    Ok(())
}

/// Looks at the healthy node, which still runs; gets the loopback port of its health agent.
pub type Inspect<'i> = &'i mut dyn FnMut(u16) -> Result<()>;

/// An [`Inspect`] that looks at nothing.
pub(super) fn nothing(_: u16) -> Result<()> {
    Ok(())
}

/// Installs from the ISO and waits for the healthy node; gives durations and the node's report.
///
/// # Errors
/// Anything that is not as it should be; evidence is in the scenario's folder.
pub fn install_from_iso(context: &Context, boot: IsoBoot, inspect: Inspect<'_>) -> Result<(Figures, Report)> {
    let dir = fresh_dir(context, boot.name)?;
    let example = match boot.example {
        Example::Single => &context.single,
        Example::Ha => &context.ha,
    };
    let changes = Changes { data_mount: boot.data_mount, ..Changes::node("master-1") };
    let cluster = with_operator_key(&adapt(example, changes)?, &make_key(&dir)?)?;
    let secrets = secrets();
    let files: [(&str, &[u8]); 2] =
        [("cluster.toml", cluster.as_bytes()), ("secrets.toml", secrets.as_bytes())];
    let machine = Machine::new(boot.name).firmware(boot.firmware);
    let machine = match boot.firmware {
        Firmware::Bios => {
            let stick = dir.join("config.img");
            make_fat_volume(&stick, CONFIG_LABEL, CONFIG_STICK_MIB, &files)?;
            machine
                .drive(Drive::cd("medium", &context.image.iso).boot(1))
                .drive(Drive::stick("config", stick))
        }
        Firmware::Uefi => {
            let stick = dir.join("stick.img");
            fs::copy(&context.image.iso, &stick).context("copying the ISO to a stick")?;
            put_on_stick(&stick, CONFIG_LABEL, &files)?;
            machine.drive(Drive::stick("medium", stick).boot(1))
        }
    };
    let machine = match boot.data_mount {
        Some(_) => {
            let data = dir.join("data0.raw");
            make_disk(&data, DATA_DISK_MIB)?;
            machine.drive(Drive::disk("data0", data, DATA_SERIAL))
        }
        None => machine,
    };
    install_and_check(context, &dir, Way { machine, network: Network::new(MAC) }, inspect)
}

/// Adds an empty disk before everything else in the boot order, installs, reboots, waits for health, and searches for
/// the planted secret.
pub(super) fn install_and_check(
    context: &Context,
    dir: &Path,
    way: Way,
    inspect: Inspect<'_>,
) -> Result<(Figures, Report)> {
    let disk = disk_of(context, &way.machine.name);
    make_disk(&disk, DISK_MIB)?;
    let port = free_port()?;
    let mut machine = way.machine;
    let bus = match machine.firmware {
        Firmware::Bios => Bus::Sata,
        Firmware::Uefi => Bus::Nvme,
    };
    machine.limit_secs = WHOLE_LIMIT_SECS;
    machine.drives.insert(0, Drive::disk("disk0", &disk, DISK_SERIAL).on(bus).boot(0));
    let machine = machine.network(Network { agent_port: Some(port), ..way.network });
    let (figures, report) = machine.run(context.accel, dir, context.echo, |vm| {
        let figures = install_and_reboot(vm)?;
        let (report, heard) = ensure_healthy(port, context.image.double)?;
        for (place, text) in heard {
            ensure_not_in(&text, CANARY, &place)?;
        }
        inspect(port)?;
        ensure_not_in(vm.qmp().transcript().as_bytes(), CANARY, "QEMU's answers")?;
        Ok((with_agent_memory(figures, port)?, report))
    })?;
    let console = fs::read(dir.join("serial.log")).context("reading the console log")?;
    ensure_not_in(&console, CANARY, "the serial console")?;
    ensure_only_in(&disk, CANARY, TOKEN_FILES)?;
    Ok((figures, report))
}

/// The disk that a scenario of that name installs to.
pub(super) fn disk_of(context: &Context, name: &str) -> PathBuf {
    context.work.join(name).join("disk0.raw")
}

/// Makes the scenario's folder anew.
pub(super) fn fresh_dir(context: &Context, name: &str) -> Result<PathBuf> {
    let dir = context.work.join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("emptying {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    Ok(dir)
}

/// Follows the console from power-on to the first healthy line of the installed system.
fn install_and_reboot(vm: &mut Vm) -> Result<Figures> {
    let begin = vm.expect("metalstrap: phase (1/", INSTALLER_WITHIN_SECS)?;
    let complete = vm.expect("metalstrap: install complete on ", INSTALL_WITHIN_SECS)?;
    let phases = finished_phases(&vm.lines());
    ensure!(!phases.is_empty(), "the installer has named no finished phase");
    let last = phases.iter().map(|phase| phase.number).max();
    ensure!(
        last == phases.first().map(|phase| phase.of),
        "the installer finished without its last phase: {phases:?}"
    );
    let healthy = vm.expect("master-1 healthy, ", HEALTHY_WITHIN_SECS)?;
    if !healthy.text.contains("metalstrap-agent: master-1 healthy, ") || !healthy.text.ends_with(" checks ok")
    {
        bail!("not the line the contract promises: {}", healthy.text);
    }
    let mut figures = Figures::new();
    for phase in &phases {
        figures
            .insert(format!("phase_{:02}_{}_secs", phase.number, phase.name.replace(' ', "_")), phase.secs);
    }
    figures.insert("power_on_to_installer_secs".to_owned(), begin.secs);
    figures.insert("install_secs".to_owned(), complete.secs - begin.secs);
    figures.insert("reboot_to_healthy_secs".to_owned(), healthy.secs - complete.secs);
    figures.insert("power_on_to_healthy_secs".to_owned(), healthy.secs);
    Ok(figures)
}

/// What was heard over HTTP, with the name of the place.
pub(super) type Heard = Vec<(String, Vec<u8>)>;

/// Asks the health agent for everything it serves and demands a node that is ready.
pub(super) fn ensure_healthy(port: u16, double: bool) -> Result<(Report, Heard)> {
    // The report is renewed by every pass; the console line and the report may be one pass apart.
    let mut answer = health::report(port);
    for _ in 0..10 {
        if answer.as_ref().is_ok_and(|(report, _)| report.ready) {
            break;
        }
        std::thread::sleep(Duration::from_secs(3));
        answer = health::report(port);
    }
    let (report, raw) = answer?;
    ensure!(report.ready, "the health report is not ready: {}", report.because.join("; "));
    ensure!(report.node.hostname == "master-1", "the report is of {}", report.node.hostname);
    ensure!(report.summary.ok > 0, "a healthy node without a single check");
    ensure!(
        report.node.k3s_double == double,
        "the report says k3s_double = {}, the image says {double}",
        report.node.k3s_double
    );
    let mut heard = vec![("the health report".to_owned(), raw)];
    for (path, place) in [("/healthz", "the health answer"), ("/metrics", "the metrics")] {
        let answer = health::get(port, path)?;
        ensure!(answer.status == 200, "{path} of a healthy node answers {}", answer.status);
        heard.push((place.to_owned(), answer.raw));
    }
    Ok((report, heard))
}

fn with_agent_memory(mut figures: Figures, port: u16) -> Result<Figures> {
    let metrics = health::get(port, "/metrics")?;
    if let Some(kib) = health::agent_rss_kib(&String::from_utf8_lossy(&metrics.body)) {
        figures.insert("agent_rss_kib".to_owned(), kib as f64);
    }
    Ok(figures)
}

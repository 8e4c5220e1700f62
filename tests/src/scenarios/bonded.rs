//! A machine behind a switch that takes tagged frames only, on two ports that speak LACP: everything it fetches comes through the
//! bond, and the installed node comes up on it. A third cable must stay silent.
//!
//! No firmware starts from such a port, so QEMU starts the kernel as a boot loader on a stick would; from there on the machine has
//! nothing but the bond: root image, cluster file and health report go over it.

use super::install::{disk_of, ensure_healthy, ensure_vip, fresh_dir};
use super::{Context, Figures};
use crate::canary::ensure_not_in;
use crate::cluster::{CANARY, DISK_SERIAL, MAC, secrets};
use crate::health;
use crate::machine::{
    Bus, DirectKernel, Drive, Machine, Network, PortTraffic, Switch, Trunk, Vm, WEB_ADDRESS, free_port,
};
use crate::media::make_disk;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The VLAN of the cluster network in the example.
const VLAN: u16 = 20;
const DISK_MIB: u64 = 10 * 1024;
/// The other card of the bond, and one that is in no configuration.
const SECOND: &str = "52:54:00:4d:53:12";
const SPARE: &str = "52:54:00:4d:53:13";
const BUNDLE: usize = 2;
const SPARE_PORT: usize = 2;

/// The root image comes through the switch, into memory.
const INSTALLER_WITHIN_SECS: u64 = 600;
const INSTALL_WITHIN_SECS: u64 = 400;
const END_WITHIN_SECS: u64 = 120;
const HEALTHY_WITHIN_SECS: u64 = 700;
/// The node answers over its other card within this time after a cable was pulled; a bond looks at its cards ten times a second.
const FAILOVER_WITHIN: Duration = Duration::from_secs(120);

pub(super) fn run(context: &Context) -> Result<Figures> {
    let dir = fresh_dir(context, "tagged-bond")?;
    make_disk(&disk_of(context, "tagged-bond"), DISK_MIB)?;
    let mut figures = install(context, &dir)?;
    figures.append(&mut start(context, &dir)?);
    Ok(figures)
}

/// `master-1` of the example with the cards of this machine, and an IPv6 address beside the other.
fn cluster(example: &str) -> Result<String> {
    let replaced = [
        ("\"52:54:00:00:00:11\"", format!("\"{MAC}\"")),
        ("\"52:54:00:00:01:11\"", format!("\"{SECOND}\"")),
        ("cidr = \"10.0.0.0/22\"\n", "cidr = \"10.0.0.0/22\"\ncidr6 = \"fd00:10::/64\"\n".to_owned()),
        ("address = \"10.0.0.11\"\n", "address = \"10.0.0.11\"\naddress6 = \"fd00:10::11\"\n".to_owned()),
    ];
    let mut text = example.to_owned();
    for (old, new) in replaced {
        ensure!(text.matches(old).count() == 1, "the example bonded.toml has not exactly one {}", old.trim());
        text = text.replace(old, &new);
    }
    Ok(text)
}

/// A switch, and the machine behind it.
fn machine(context: &Context, network: Network) -> Result<(Machine, Switch)> {
    let ports = [free_port()?, free_port()?, free_port()?, free_port()?];
    let switch = Switch::new(VLAN, BUNDLE, ports[0], &ports[1..])?;
    let macs = [MAC, SECOND, SPARE].map(str::to_owned);
    let trunk = Trunk { uplink: switch.uplink()?, cards: macs.into_iter().zip(switch.cables()?).collect() };
    let disk = Drive::disk("disk0", disk_of(context, "tagged-bond"), DISK_SERIAL).on(Bus::Sata);
    let mut machine = Machine::new("tagged-bond").drive(disk).network(network);
    machine.trunk = Some(trunk);
    Ok((machine, switch))
}

fn install(context: &Context, dir: &Path) -> Result<Figures> {
    let web = dir.join("web");
    fs::create_dir(&web).context("making the folder of the server")?;
    fs::write(web.join("cluster.toml"), cluster(&context.bonded)?)?;
    fs::write(web.join("secrets.toml"), secrets())?;
    let network = Network {
        web: vec![web, context.image.pxe.clone()],
        web_server: context.web_server.clone(),
        ..Network::new(MAC)
    };
    let (mut machine, switch) = machine(context, network)?;
    machine.kernel = Some(kernel(context)?);
    machine.ends_at_reboot = true;
    machine.limit_secs = INSTALLER_WITHIN_SECS + INSTALL_WITHIN_SECS + END_WITHIN_SECS;
    let dir = dir.join("install");
    let figures = switch.run_during(|| {
        machine.run(context.accel, &dir, context.echo, |vm| {
            vm.expect("metalstrap: network bond0.20: VLAN 20 on bond0, DHCP", INSTALLER_WITHIN_SECS)?;
            let begin = vm.expect("metalstrap: phase (1/", INSTALLER_WITHIN_SECS)?;
            let complete = vm.expect("metalstrap: install complete on ", INSTALL_WITHIN_SECS)?;
            vm.expect_end(END_WITHIN_SECS)?;
            Ok(Figures::from([
                ("power_on_to_installer_secs".to_owned(), begin.secs),
                ("install_secs".to_owned(), complete.secs - begin.secs),
            ]))
        })
    })?;
    ensure_bundled(&switch.traffic())?;
    Ok(figures)
}

/// What an operator writes into the boot loader of a stick: names for two cards, the bond, the VLAN on it, DHCP there.
fn kernel(context: &Context) -> Result<DirectKernel> {
    let script = fs::read_to_string(context.image.pxe.join("boot.ipxe")).context("reading boot.ipxe")?;
    let sums = script.split_whitespace().find(|word| word.starts_with("metalstrap.sums="));
    let sums = sums.context("boot.ipxe has no metalstrap.sums=")?;
    let arguments = format!(
        "boot=metalstrap metalstrap.url=http://{WEB_ADDRESS}/live {sums} ifname=left:{MAC} ifname=right:{SECOND} \
         bond=bond0:left,right:mode=802.3ad vlan=bond0.{VLAN}:bond0 ip=bond0.{VLAN}:dhcp metalstrap.mode=install \
         metalstrap.config=http://{WEB_ADDRESS}/cluster.toml console=tty0 console=ttyS0,115200 loglevel=4 panic=60"
    );
    let live = &context.image.live;
    Ok(DirectKernel { kernel: live.join("vmlinuz"), initrd: live.join("initrd"), arguments })
}

/// Everything went tagged through two ports that agreed on LACP, and the third port heard nothing.
fn ensure_bundled(traffic: &[PortTraffic]) -> Result<()> {
    let (bundle, spare) = (&traffic[..BUNDLE], &traffic[SPARE_PORT]);
    ensure!(bundle.iter().map(|port| port.tagged).sum::<u64>() > 0, "no frame in VLAN {VLAN}: {bundle:?}");
    for (number, port) in bundle.iter().enumerate() {
        ensure!(port.lacp > 0 && port.bundled, "port {number} is not bundled: {port:?}");
        ensure!(port.foreign == 0, "frames in another VLAN at port {number}: {port:?}");
    }
    ensure!(*spare == PortTraffic::default(), "a card that no configuration names speaks: {spare:?}");
    Ok(())
}

/// Starts the disk alone, waits for health, and pulls one cable after the other.
fn start(context: &Context, dir: &Path) -> Result<Figures> {
    let port = free_port()?;
    let (mut machine, switch) = machine(context, Network { agent_port: Some(port), ..Network::new(MAC) })?;
    machine.limit_secs = HEALTHY_WITHIN_SECS + 300;
    let dir = dir.join("start");
    let (figures, traffic) = switch.run_during(|| {
        machine.run(context.accel, &dir, context.echo, |vm| {
            let healthy = vm.expect("metalstrap-agent: master-1 healthy, ", HEALTHY_WITHIN_SECS)?;
            let (report, heard) = ensure_healthy(port, context.image.double)?;
            for (place, text) in heard {
                ensure_not_in(&text, CANARY, &place)?;
            }
            fs::write(dir.join("report.json"), serde_json::to_vec_pretty(&report)?)?;
            ensure_vip(port)?;
            let traffic = switch.traffic();
            let mut figures = Figures::from([("power_on_to_healthy_secs".to_owned(), healthy.secs)]);
            for (card, name) in ["card0", "card1"].into_iter().zip(["first", "second"]) {
                figures.insert(format!("answer_without_{name}_cable_secs"), pull(vm, card, port)?);
            }
            Ok((figures, traffic))
        })
    })?;
    ensure_bundled(&traffic)?;
    Ok(figures)
}

/// Pulls a cable, waits until the health report comes over the other, and puts it back; gives the time that took.
fn pull(vm: &mut Vm, card: &str, port: u16) -> Result<f64> {
    let begin = Instant::now();
    vm.qmp().execute("set_link", Some(json!({ "name": card, "up": false })))?;
    let answered = loop {
        match health::report(port) {
            Ok(_) => break Ok(begin.elapsed().as_secs_f64()),
            Err(error) if begin.elapsed() > FAILOVER_WITHIN => {
                break Err(error.context(format!("without the cable of {card}")));
            }
            Err(_) => std::thread::sleep(Duration::from_secs(1)),
        }
    };
    vm.qmp().execute("set_link", Some(json!({ "name": card, "up": true })))?;
    // Both carry again before the other one goes: LACP agrees anew.
    std::thread::sleep(Duration::from_secs(20));
    if health::report(port).is_err() {
        bail!("the node does not answer after the cable of {card} was put back");
    }
    answered
}

#[cfg(test)]
mod tests {
    use super::{cluster, ensure_bundled};
    use crate::machine::PortTraffic;

    const EXAMPLE: &str = include_str!("../../../profiles/examples/bonded.toml");

    #[test]
    fn gives_the_first_master_of_the_example_the_cards_and_both_families() {
        let text = cluster(EXAMPLE).unwrap();
        assert!(
            text.contains("bond = [\"52:54:00:4d:53:11\", \"52:54:00:4d:53:12\"]\nvlan = 20\n"),
            "{text}"
        );
        assert!(text.contains("address = \"10.0.0.11\"\naddress6 = \"fd00:10::11\"\n"), "{text}");
        let error = cluster("").unwrap_err().to_string();
        assert_eq!(error, "the example bonded.toml has not exactly one \"52:54:00:00:00:11\"");
    }

    #[test]
    fn a_port_outside_of_the_bundle_or_a_card_that_speaks_is_noticed() {
        let good = PortTraffic { tagged: 5, lacp: 2, bundled: true, ..PortTraffic::default() };
        let silent = PortTraffic::default();
        ensure_bundled(&[good.clone(), good.clone(), silent.clone()]).unwrap();
        let error =
            |traffic: [&PortTraffic; 3]| ensure_bundled(&traffic.map(Clone::clone)).unwrap_err().to_string();
        let alone = PortTraffic { bundled: false, ..good.clone() };
        assert!(error([&good, &alone, &silent]).starts_with("port 1 is not bundled: "));
        assert!(error([&silent, &silent, &silent]).starts_with("no frame in VLAN 20: "));
        let chatty = PortTraffic { untagged: 1, ..PortTraffic::default() };
        assert!(error([&good, &good, &chatty]).starts_with("a card that no configuration names speaks: "));
        let lost = PortTraffic { foreign: 1, ..good.clone() };
        assert!(error([&lost, &good, &silent]).starts_with("frames in another VLAN at port 0: "));
    }
}

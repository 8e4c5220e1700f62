//! What the network around a machine says before anything is written: eight cards, the fifth of which is the node's, and a neighbour
//! on its segment that has whatever addresses a case needs. There is no DHCP server anywhere.
//!
//! The neighbour is a ninth card of the same machine in a network namespace of its own: a whole Linux on the other end of the cable.

use super::cases::{Case, good, judge_all, make_testkit, waiting_kernel};
use super::install::fresh_dir;
use super::{Context, Figures};
use crate::cluster::MAC;
use crate::machine::{Drive, Machine};
use crate::media::{make_disk, make_fat_volume};
use anyhow::{Result, ensure};
use std::path::Path;

const DISK_MIB: u64 = 10 * 1024;
const BEGIN_WITHIN_SECS: u64 = 600;
const CASES_WITHIN_SECS: u64 = 1200;
/// The card the node is known by is the fifth of eight.
const CARDS_BEFORE: u8 = 4;
const CARDS: u8 = 8;
/// Card of the neighbour; the script has it, too.
const NEIGHBOUR: &str = "52:54:00:4d:53:77";
/// Drives that must not be written to.
const WATCHED: [&str; 2] = ["disk0", "disk1"];

/// A refusal after a look at the network.
const fn refused(name: &'static str, spoil: &'static str, code: &'static str, says: &'static str) -> Case {
    Case { name, cluster: Some(good), arguments: "metalstrap.disk=MS-EMPTY-0001", spoil, exit: 4, code, says }
}

/// A cluster file that is refused for what stands in it.
const fn invalid(
    name: &'static str,
    cluster: fn(String) -> String,
    exit: u8,
    code: &'static str,
    says: &'static str,
) -> Case {
    Case { cluster: Some(cluster), exit, ..refused(name, "neighbour 10.0.0.1/22", code, says) }
}

/// A dry run that goes through, and what it says on the way.
const fn planned(name: &'static str, spoil: &'static str, says: &'static str) -> Case {
    let arguments = "metalstrap.mode=plan metalstrap.disk=MS-EMPTY-0001";
    Case { arguments, exit: 0, ..refused(name, spoil, "", says) }
}

fn with_ipv6(file: String) -> String {
    file.replace("cidr = \"10.0.0.0/22\"\n", "cidr = \"10.0.0.0/22\"\ncidr6 = \"fd00:10::/64\"\n")
        .replace("address = \"10.0.0.11\"\n", "address = \"10.0.0.11\"\naddress6 = \"fd00:10::11\"\n")
}

/// The node on a bond of two cards of this machine, with a tagged VLAN.
fn on_a_bond(file: String) -> String {
    let interface = format!(
        "interfaces = [{{ network = \"cluster\", bond = [\"{MAC}\", \"52:54:00:4d:55:05\"], vlan = 20, address = \"10.0.0.11\" }}]\n"
    );
    file.replace(&format!("mac = \"{MAC}\"\naddress = \"10.0.0.11\"\n"), &interface)
}

const CASES: &[Case] = &[
    planned("good", "neighbour 10.0.0.1/22", "has the MAC 52:54:00:4d:53:11), configured by volume "),
    refused(
        "address-in-use",
        "neighbour 10.0.0.1/22 10.0.0.11/22",
        "E_ADDRESS_IN_USE",
        "is in use by 52:54:00:4d:53:77; it is the machine with the gateway 10.0.0.1: it has a second address",
    ),
    refused(
        "address-of-another",
        "neighbour 10.0.0.11/22",
        "E_ADDRESS_IN_USE",
        "is in use by 52:54:00:4d:53:77; give this node another address in the cluster file, or take it from that machine",
    ),
    Case {
        cluster: Some(with_ipv6),
        ..refused(
            "address6-in-use",
            "neighbour 10.0.0.1/22 fd00:10::11/64",
            "E_ADDRESS_IN_USE",
            "fd00:10::11, which this node shall have at ",
        )
    },
    Case {
        cluster: Some(with_ipv6),
        ..planned("both-families", "neighbour 10.0.0.1/22 fd00:10::77/64", "fd00:10::11/64")
    },
    Case {
        cluster: Some(|file| file.replace("name = \"single\"", "name = \"single\"\napi_vip = \"10.0.0.10\"")),
        ..refused(
            "vip-in-use",
            "neighbour 10.0.0.1/22 10.0.0.10/22",
            "E_ADDRESS_IN_USE",
            "10.0.0.10, the API VIP, is in use by 52:54:00:4d:53:77, which is no master of this cluster",
        )
    },
    planned(
        "gateway-silent",
        "neighbour 10.0.0.9/22",
        "the gateway 10.0.0.1 of cluster0 does not answer: nothing outside of that network will be reached",
    ),
    invalid(
        "gateway-elsewhere",
        |file| file.replace("gateway = \"10.0.0.1\"", "gateway = \"10.9.0.1\""),
        2,
        "E_GATEWAY_INVALID",
        "",
    ),
    invalid(
        "no-such-card",
        |file| file.replace(MAC, "52:54:00:00:00:99"),
        2,
        "E_NODE_NONE",
        "this machine: MAC 52:54:00:4d:53:11 (port ",
    ),
    invalid(
        "no-such-second-card",
        |file| on_a_bond(file).replace("52:54:00:4d:55:05", "52:54:00:00:00:99"),
        3,
        "E_NIC_NOMATCH",
        "52:54:00:00:00:99",
    ),
    Case {
        cluster: None,
        arguments: "metalstrap.disk=MS-EMPTY-0001 metalstrap.config=http://10.0.0.100/cluster.toml",
        exit: 5,
        ..refused(
            "no-dhcp",
            "neighbour 10.0.0.1/22",
            "E_CONFIG_FETCH",
            "this machine has no address or no gateway: no DHCP server, no cable, or a port that needs a VLAN",
        )
    },
];

pub(super) fn run(context: &Context) -> Result<Figures> {
    ensure!(context.image.double, "this scenario needs the test image (cargo xtask image --double)");
    let dir = fresh_dir(context, "network-contract")?;
    let machine = machine(context, &dir)?;
    machine.run(context.accel, &dir, context.echo, |vm| {
        let begin = vm.expect("TESTKIT begin", BEGIN_WITHIN_SECS)?;
        let end = vm.expect("TESTKIT end", CASES_WITHIN_SECS)?;
        judge_all(CASES, &vm.lines())?;
        for drive in WATCHED {
            vm.ensure_unwritten(drive)?;
        }
        // The counter counts: the script wrote one sector to the drive that is there for this.
        vm.ensure_written("scratch")?;
        let cards = format!("INVENTORY cards {}", CARDS + 1);
        ensure!(vm.lines().iter().any(|line| line.text == cards), "the inventory does not show every card");
        Ok(Figures::from([
            ("cases".to_owned(), CASES.len() as f64),
            ("secs_per_case".to_owned(), (end.secs - begin.secs) / CASES.len() as f64),
        ]))
    })
}

fn machine(context: &Context, dir: &Path) -> Result<Machine> {
    let file = |name: &str| dir.join(format!("{name}.raw"));
    make_disk(&file("disk0"), DISK_MIB)?;
    make_disk(&file("disk1"), DISK_MIB)?;
    make_fat_volume(&file("scratch"), "SCRATCH", 4, &[])?;
    make_testkit(context, &file("testkit"), CASES)?;
    let mut machine = Machine::new("network-contract")
        .drive(Drive::disk("disk0", file("disk0"), "MS-EMPTY-0001"))
        .drive(Drive::disk("disk1", file("disk1"), "MS-EMPTY-0002"))
        .drive(Drive::disk("scratch", file("scratch"), "MS-SCRATCH"))
        .drive(Drive::disk("testkit", file("testkit"), "MS-TESTKIT"))
        .drive(Drive::cd("medium", &context.image.iso));
    let spare = |n: u8| format!("52:54:00:4d:55:{n:02x}");
    machine.spare_cards = (0..CARDS).filter(|n| *n != CARDS_BEFORE).map(spare).collect();
    machine.neighbours = vec![MAC.to_owned(), NEIGHBOUR.to_owned()];
    // One: with two, QEMU 7.2 has ended by an assertion of its own (msix_table_mmio_write) while the kernel set up the cards.
    machine.cpus = 1;
    machine.limit_secs = BEGIN_WITHIN_SECS + CASES_WITHIN_SECS;
    machine.give_up_on = vec!["metalstrap: install complete", "metalstrap: cannot "];
    machine.kernel = Some(waiting_kernel(context));
    Ok(machine)
}

#[cfg(test)]
mod tests {
    use super::super::cases::ensure_runnable;
    use super::{CASES, MAC, on_a_bond, with_ipv6};

    #[test]
    fn the_cases_make_a_script_and_change_what_they_mean_to() {
        ensure_runnable(CASES);
        let node = format!("cidr = \"10.0.0.0/22\"\nmac = \"{MAC}\"\naddress = \"10.0.0.11\"\n");
        assert!(with_ipv6(node.clone()).contains("\naddress6 = \"fd00:10::11\"\n"));
        assert!(on_a_bond(node).contains("vlan = 20"));
    }
}

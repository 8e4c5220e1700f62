//! Bad input in the live system. One boot; a script runs the installer once for each case and prints how it ended.
//!
//! Each case must end with its exit code, say its refusal code, and promise that nothing was written; QEMU's counters
//! then say whether that is true for every disk.

use super::cases::{Case, good, judge_all, make_testkit, waiting_kernel};
use super::install::fresh_dir;
use super::{Context, Figures};
use crate::cluster::{Changes, MAC, adapt};
use crate::machine::{Drive, Machine, Network};
use crate::media::{find_sector, make_disk, make_ext4_disk, make_fat_volume};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::Path;

/// DMI serial number of the machine.
const MACHINE_SERIAL: &str = "MS-MACHINE-01";
/// Serial numbers of its disks.
const EMPTY_ONE: &str = "MS-EMPTY-0001";
const EMPTY_TWO: &str = "MS-EMPTY-0002";
const WITH_DATA: &str = "MS-EXT4-0001";
const TOO_SMALL: &str = "MS-SMALL-0001";
/// Drives that must not be written to.
const WATCHED: [&str; 4] = ["empty1", "empty2", "ext4", "small"];

/// Sector of the kernel that cannot be read, from its start: neither the first nor the last.
const KERNEL_FAULT_SECTOR: u64 = 4096;

/// How long the whole script may take.
const CASES_WITHIN_SECS: u64 = 900;

/// The disk the good case would take.
const PICK: &str = "metalstrap.disk=MS-EMPTY-0001";

const CASES: &[Case] = &[
    Case {
        name: "no-cluster-file",
        cluster: None,
        arguments: "",
        spoil: "true",
        exit: 2,
        code: "E_CONFIG_NONE",
        says: "",
    },
    Case {
        name: "malformed-cluster-file",
        cluster: Some(|cluster| cluster + "\n[[nodes\n"),
        arguments: PICK,
        spoil: "true",
        exit: 2,
        code: "E_TOML_SYNTAX",
        says: "",
    },
    Case {
        name: "misspelt-key",
        cluster: Some(|cluster| cluster.replace("hostname =", "hostnam =")),
        arguments: PICK,
        spoil: "true",
        exit: 2,
        code: "E_KEY_UNKNOWN",
        says: "",
    },
    Case {
        name: "no-matching-node",
        cluster: Some(|cluster| cluster.replace(MAC, "52:54:00:00:00:99")),
        arguments: PICK,
        spoil: "true",
        exit: 2,
        code: "E_NODE_NONE",
        says: "",
    },
    Case {
        name: "two-matching-nodes",
        cluster: Some(|cluster| {
            cluster
                + "\n[[nodes]]\nhostname = \"worker-1\"\nrole = \"worker\"\nserial = \"MS-MACHINE-01\"\n\
                   address = \"10.0.0.21\"\n"
        }),
        arguments: PICK,
        spoil: "true",
        exit: 2,
        code: "E_NODE_AMBIGUOUS",
        says: "",
    },
    Case {
        name: "no-such-disk",
        cluster: Some(good),
        arguments: "metalstrap.disk=MS-ABSENT",
        spoil: "true",
        exit: 3,
        code: "E_DISK_NO_MATCH",
        says: "",
    },
    Case {
        name: "two-empty-disks",
        cluster: Some(good),
        arguments: "",
        spoil: "true",
        exit: 3,
        code: "E_DISK_AMBIGUOUS",
        says: "",
    },
    Case {
        name: "disk-with-data",
        cluster: Some(good),
        arguments: "metalstrap.disk=MS-EXT4-0001",
        spoil: "true",
        exit: 3,
        code: "E_DISK_HAS_DATA",
        says: "",
    },
    Case {
        name: "disk-too-small",
        cluster: Some(good),
        arguments: "metalstrap.disk=MS-SMALL-0001",
        spoil: "true",
        exit: 3,
        code: "E_DISK_TOO_SMALL",
        says: "",
    },
    Case {
        name: "memory-too-small",
        cluster: Some(|cluster| {
            cluster.replace("role = \"master\"", "role = \"master\"\nmemory_min_mib = 16384")
        }),
        arguments: PICK,
        spoil: "true",
        exit: 3,
        code: "E_MEMORY_TOO_SMALL",
        says: "",
    },
    Case {
        name: "artefact-missing",
        cluster: Some(good),
        arguments: PICK,
        spoil: "writable $ARTIFACTS && rm $ARTIFACTS/kube-vip*",
        exit: 5,
        code: "E_ARTEFACT_MISSING",
        says: "",
    },
    Case {
        name: "artefact-truncated",
        cluster: Some(good),
        arguments: PICK,
        spoil: "writable $ARTIFACTS && truncate -s -1 $ARTIFACTS/kube-vip*",
        exit: 5,
        code: "E_ARTEFACT_LENGTH",
        says: "",
    },
    Case {
        name: "artefact-altered",
        cluster: Some(good),
        arguments: PICK,
        spoil: "writable $ARTIFACTS && printf X | dd of=$(echo $ARTIFACTS/kube-vip*) bs=1 seek=100 conv=notrunc",
        exit: 5,
        code: "E_ARTEFACT_HASH",
        says: "",
    },
    Case {
        name: "root-image-truncated",
        cluster: Some(good),
        arguments: PICK,
        spoil: "head -c 1000000 $LIVE/root.squashfs >/run/cases/short && replace /run/cases/short $LIVE/root.squashfs",
        exit: 5,
        code: "E_ARTEFACT_LENGTH",
        says: "",
    },
    Case {
        name: "unreadable-config-medium",
        cluster: None,
        arguments: "metalstrap.disk=MS-EMPTY-0001 metalstrap.config=label:BROKEN",
        spoil: "true",
        exit: 4,
        code: "E_CONFIG_UNREADABLE",
        says: "",
    },
    Case {
        name: "unreadable-medium",
        cluster: Some(good),
        arguments: PICK,
        spoil: "unreadable $LIVE/vmlinuz",
        exit: 5,
        code: "E_MEDIUM_IO",
        says: "",
    },
];

pub(super) fn run(context: &Context) -> Result<Figures> {
    ensure!(context.image.double, "this scenario needs the test image (cargo xtask image --double)");
    let dir = fresh_dir(context, "refusals")?;
    let machine = machine(context, &dir)?;
    machine.run(context.accel, &dir, context.echo, |vm| {
        let begin = vm.expect("TESTKIT begin", 400)?;
        let end = vm.expect("TESTKIT end", CASES_WITHIN_SECS)?;
        judge_all(CASES, &vm.lines())?;
        for drive in WATCHED {
            vm.ensure_unwritten(drive)?;
        }
        // The counter counts: the script wrote one sector to the drive that is there for this.
        vm.ensure_written("scratch")?;
        Ok(Figures::from([
            ("cases".to_owned(), CASES.len() as f64),
            ("secs_per_case".to_owned(), (end.secs - begin.secs) / CASES.len() as f64),
        ]))
    })
}

fn machine(context: &Context, dir: &Path) -> Result<Machine> {
    let file = |name: &str| dir.join(format!("{name}.raw"));
    make_disk(&file("empty1"), 10 * 1024)?;
    make_disk(&file("empty2"), 10 * 1024)?;
    make_ext4_disk(&file("ext4"), 10 * 1024)?;
    make_disk(&file("small"), 1024)?;
    make_fat_volume(&file("scratch"), "SCRATCH", 4, &[])?;
    make_testkit(context, &file("testkit"), CASES)?;
    let mut machine = Machine::new("refusals")
        .drive(Drive::disk("empty1", file("empty1"), EMPTY_ONE))
        .drive(Drive::disk("empty2", file("empty2"), EMPTY_TWO))
        .drive(Drive::disk("ext4", file("ext4"), WITH_DATA))
        .drive(Drive::disk("small", file("small"), TOO_SMALL))
        .drive(Drive::disk("scratch", file("scratch"), "MS-SCRATCH"))
        .drive(Drive::disk("testkit", file("testkit"), "MS-TESTKIT"))
        .drive(broken_volume(context, &file("broken"))?)
        .drive(Drive::cd("medium", &context.image.iso))
        .network(Network::new(MAC));
    machine.serial_number = Some(MACHINE_SERIAL.to_owned());
    machine.limit_secs = 1500;
    machine.allowed_signs = vec!["op 0x0:(READ)", "async page read"]; // of the broken volume; no other is read with errors
    machine.give_up_on = vec!["metalstrap: install complete", "metalstrap: cannot "];
    machine.kernel = Some(waiting_kernel(context));
    Ok(machine)
}

/// A volume with a cluster file and a kernel that are there and cannot be read.
fn broken_volume(context: &Context, file: &Path) -> Result<Drive> {
    let cluster = adapt(&context.single, Changes::node("master-1"))?;
    let kernel = fs::read(context.image.live.join("vmlinuz")).context("reading the kernel")?;
    // The kernel first: near the start of the volume udev itself would stumble, and the volume would have no label.
    make_fat_volume(file, "BROKEN", 32, &[("vmlinuz", &kernel), ("cluster.toml", cluster.as_bytes())])?;
    let sectors = [find_sector(file, cluster.as_bytes())?, find_sector(file, &kernel)? + KERNEL_FAULT_SECTOR];
    Ok(Drive::disk("broken", file, "MS-BROKEN").unreadable(&sectors))
}

#[cfg(test)]
mod tests {
    use super::CASES;

    #[test]
    fn the_cases_make_a_script() {
        super::super::cases::ensure_runnable(CASES);
    }
}

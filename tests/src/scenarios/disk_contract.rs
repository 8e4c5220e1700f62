//! The disk contract on a machine full of disks: one of every kind that may be found in a rack, and eight network cards.
//!
//! Nothing is ever installed: refusals end before any write, and what would be taken is asked for in a dry run. QEMU counts the writes.
//! A second boot has the two identical disks in each other's place.

use super::cases::{Case, good, judge_all, make_testkit, waiting_kernel};
use super::install::fresh_dir;
use super::{Context, Figures};
use crate::cluster::MAC;
use crate::command::stdout_of;
use crate::machine::{Bus, Drive, Machine};
use crate::media::{make_disk, make_fat_volume};
use crate::serial::SerialLine;
use anyhow::{Context as _, Result, ensure};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Size of every disk.
const DISK_MIB: u64 = 24 * 1024;
/// How long the boot may take, udev included.
const BEGIN_WITHIN_SECS: u64 = 800;
/// How long the script may take.
const CASES_WITHIN_SECS: u64 = 1200;
/// Serial numbers of the identical disks.
const TWINS: [&str; 2] = ["MS-TWIN-0001", "MS-TWIN-0002"];
/// The card the node is known by is the fifth of eight.
const CARDS_BEFORE: u8 = 4;
const CARDS: u8 = 8;

/// What lies on a disk: id and serial number, a program that is run with the file, and bytes at places from the start.
struct Kept {
    id: &'static str,
    serial: &'static str,
    tool: &'static [&'static str],
    bytes: &'static [(u64, &'static [u8])],
}

const fn bytes(id: &'static str, serial: &'static str, bytes: &'static [(u64, &'static [u8])]) -> Kept {
    Kept { id, serial, tool: &[], bytes }
}

const fn tool(id: &'static str, serial: &'static str, tool: &'static [&'static str]) -> Kept {
    Kept { id, serial, tool, bytes: &[] }
}

/// The begin of a ZFS uberblock; blkid wants to see four.
const UBERBLOCK: &[u8] = b"\x0c\xb1\xba\0\0\0\0\0\x88\x13";

const KEPT: &[Kept] = &[
    tool("ext4", "MS-EXT4", &["mkfs.ext4", "-q", "-F", "-L", "photos"]),
    tool("swap", "MS-SWAP", &["mkswap", "--quiet"]),
    bytes("xfs", "MS-XFS", &[(0, b"XFSB\0\0\x10\0")]),
    bytes("btrfs", "MS-BTRFS", &[(65_600, b"_BHRfS_M")]),
    bytes("lvm", "MS-LVM", &[(512, b"LABELONE\x01\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0LVM2 001")]),
    bytes(
        "mdraid",
        "MS-MDRAID",
        &[(4096, b"\xfc\x4e\x2b\xa9\x01\0\0\0"), (4096 + 144, b"\x08\0\0\0\0\0\0\0")],
    ),
    bytes("luks", "MS-LUKS", &[(0, b"LUKS\xba\xbe\0\x01")]),
    bytes("ceph", "MS-CEPH", &[(0, b"bluestore block device\n1f0d5b7e-0000-4000-8000-000000000001\n")]),
    bytes("bitlocker", "MS-BITLOCKER", &[(0, b"\xeb\x58\x90-FVE-FS-"), (510, b"\x55\xaa")]),
    bytes(
        "zfs",
        "MS-ZFS",
        &[(0x20000, UBERBLOCK), (0x20400, UBERBLOCK), (0x20800, UBERBLOCK), (0x20c00, UBERBLOCK)],
    ),
    bytes("unknown", "MS-UNKNOWN", &[(3 << 20, b"x")]),
];

const fn has_data(name: &'static str, arguments: &'static str, says: &'static str) -> Case {
    Case { name, cluster: Some(good), arguments, spoil: "true", exit: 3, code: "E_DISK_HAS_DATA", says }
}

const fn refused(
    name: &'static str,
    arguments: &'static str,
    code: &'static str,
    says: &'static str,
) -> Case {
    Case { name, cluster: Some(good), arguments, spoil: "true", exit: 3, code, says }
}

const fn planned(name: &'static str, arguments: &'static str, says: &'static str) -> Case {
    Case { name, cluster: Some(good), arguments, spoil: "true", exit: 0, code: "", says }
}

const CASES: &[Case] = &[
    refused("no-selector", "", "E_DISK_AMBIGUOUS", "serial MS-TWIN-0002): may be taken: empty"),
    Case {
        cluster: Some(|file| file + "disk = { model = \"*\", size = \"= 24GiB\", type = \"virtual\" }\n"),
        ..refused("identical-disks", "", "E_DISK_NO_MATCH", "it has no model")
    },
    Case {
        cluster: Some(|file| file + "disk = { size = \"= 24GiB\", type = \"virtual\" }\n"),
        ..refused("same-size", "", "E_DISK_AMBIGUOUS", "serial MS-TWIN-0001): may be taken: empty")
    },
    has_data(
        "ext4",
        "metalstrap.disk=MS-EXT4",
        "holds data: ext4 \"photos\"; to lose it: wipe = \"MS-EXT4\"",
    ),
    has_data(
        "swap",
        "metalstrap.disk=MS-SWAP",
        "serial MS-SWAP): holds data: swap; to lose it: wipe = \"MS-SWAP\"",
    ),
    has_data(
        "xfs",
        "metalstrap.disk=MS-XFS",
        "serial MS-XFS): holds data: xfs; to lose it: wipe = \"MS-XFS\"",
    ),
    has_data(
        "btrfs",
        "metalstrap.disk=MS-BTRFS",
        "serial MS-BTRFS): holds data: Btrfs; to lose it: wipe = \"MS-BTRFS\"",
    ),
    has_data(
        "lvm",
        "metalstrap.disk=MS-LVM",
        "serial MS-LVM): holds data: LVM physical volume; to lose it: wipe = \"MS-LVM\"",
    ),
    has_data(
        "mdraid",
        "metalstrap.disk=MS-MDRAID",
        "serial MS-MDRAID): holds data: mdraid member; to lose it: wipe = \"MS-MDRAID\"",
    ),
    has_data(
        "luks",
        "metalstrap.disk=MS-LUKS",
        "serial MS-LUKS): holds data: LUKS; to lose it: wipe = \"MS-LUKS\"",
    ),
    has_data(
        "ceph",
        "metalstrap.disk=MS-CEPH",
        "serial MS-CEPH): holds data: Ceph OSD; to lose it: wipe = \"MS-CEPH\"",
    ),
    has_data(
        "bitlocker",
        "metalstrap.disk=MS-BITLOCKER",
        "serial MS-BITLOCKER): holds data: MBR partition table, BitLocker; to lose it: wipe = \"MS-BITLOCKER\"",
    ),
    has_data(
        "zfs",
        "metalstrap.disk=MS-ZFS",
        "serial MS-ZFS): holds data: ZFS member; to lose it: wipe = \"MS-ZFS\"",
    ),
    has_data(
        "unknown-bytes",
        "metalstrap.disk=MS-UNKNOWN",
        "serial MS-UNKNOWN): holds data: unknown data; to lose it: wipe = \"MS-UNKNOWN\"",
    ),
    has_data(
        "partition-table",
        "metalstrap.disk=MS-GPT",
        "serial MS-GPT): holds data: GPT partition table, partition; to lose it: wipe = \"MS-GPT\"",
    ),
    refused(
        "wipe-of-another",
        "metalstrap.disk=MS-EXT4 metalstrap.wipe=MS-SWAP",
        "E_DISK_WIPE_MISMATCH",
        "wipe = \"MS-SWAP\" is not consent for this disk",
    ),
    planned(
        "wipe-of-this",
        "metalstrap.mode=plan metalstrap.disk=MS-EXT4 metalstrap.wipe=MS-EXT4",
        "its contents are given up by wipe",
    ),
    refused("read-only", "metalstrap.disk=MS-READONLY", "E_DISK_READ_ONLY", "never taken: read-only"),
    Case {
        spoil: "hold MS-EXT4",
        ..refused("busy", "metalstrap.disk=MS-EXT4 metalstrap.wipe=MS-EXT4", "E_DISK_BUSY", "is mounted on ")
    },
    Case {
        exit: 3,
        ..refused("4k-under-bios", "metalstrap.disk=MS-4K", "E_FIRMWARE_LOADER", "boot by UEFI")
    },
    planned(
        "by-serial",
        "metalstrap.mode=plan metalstrap.disk=MS-TWIN-0002",
        "was asked for (serial \"MS-TWIN-0002\"), it is empty",
    ),
    Case {
        cluster: Some(|file| {
            file + "disk = { serial = \"MS-TWIN-0001\" }\ndata_disks = [{ mount = \"/var/lib/rancher\", disk = { serial = \"MS-TWIN-0002\" } }]\n"
        }),
        ..planned("data-disk", "metalstrap.mode=plan", "data disk /var/lib/rancher on ")
    },
    Case {
        cluster: Some(|file| {
            file + "disk = { serial = \"MS-TWIN-0001\" }\ndata_disks = [{ mount = \"/var/lib/rancher\", disk = { serial = \"MS-XFS\" } }]\n"
        }),
        ..refused("data-disk-with-data", "", "E_DISK_HAS_DATA", "data disk for /var/lib/rancher: ")
    },
    planned(
        "eight-cards",
        "metalstrap.mode=plan metalstrap.disk=MS-TWIN-0001",
        "has the MAC 52:54:00:4d:53:11), configured by volume CASE",
    ),
];

const SWAPPED: &[Case] = &[planned(
    "by-serial-swapped",
    "metalstrap.mode=plan metalstrap.disk=MS-TWIN-0002",
    "was asked for (serial \"MS-TWIN-0002\"), it is empty",
)];

pub(super) fn run(context: &Context) -> Result<Figures> {
    ensure!(context.image.double, "this scenario needs the test image (cargo xtask image --double)");
    let dir = fresh_dir(context, "disk-contract")?;
    let (first, mut figures) = boot(context, &dir.join("first"), TWINS, CASES)?;
    let [one, two] = TWINS;
    let (second, _) = boot(context, &dir.join("second"), [two, one], SWAPPED)?;
    let paths = (device_of(&first, "by-serial")?, device_of(&second, "by-serial-swapped")?);
    ensure!(paths.0 != paths.1, "the disks did not change places: both are {}", paths.0);
    let cards = format!("INVENTORY cards {CARDS}");
    ensure!(first.iter().any(|line| line.text == cards), "the inventory does not show {CARDS} cards");
    figures.insert("inventory_secs".to_owned(), seconds_of(&first)?);
    Ok(figures)
}

fn boot(
    context: &Context,
    dir: &Path,
    twins: [&str; 2],
    cases: &[Case],
) -> Result<(Vec<SerialLine>, Figures)> {
    std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let machine = machine(context, dir, twins, cases)?;
    let watched: Vec<String> = machine.drives.iter().map(|drive| drive.id.clone()).collect();
    machine.run(context.accel, dir, context.echo, |vm| {
        let begin = vm.expect("TESTKIT begin", BEGIN_WITHIN_SECS)?;
        let end = vm.expect("TESTKIT end", CASES_WITHIN_SECS)?;
        let lines = vm.lines();
        judge_all(cases, &lines)?;
        for drive in watched.iter().filter(|id| !["scratch", "medium"].contains(&id.as_str())) {
            vm.ensure_unwritten(drive)?;
        }
        // The counter counts: the script wrote one sector to the drive that is there for this.
        vm.ensure_written("scratch")?;
        let figures = Figures::from([
            ("cases".to_owned(), cases.len() as f64),
            ("secs_per_case".to_owned(), (end.secs - begin.secs) / cases.len() as f64),
        ]);
        Ok((lines, figures))
    })
}

fn machine(context: &Context, dir: &Path, twins: [&str; 2], cases: &[Case]) -> Result<Machine> {
    let file = |name: &str| dir.join(format!("{name}.raw"));
    let mut machine = Machine::new("disk-contract");
    for (id, serial) in ["twin1", "twin2"].into_iter().zip(twins) {
        make_disk(&file(id), DISK_MIB)?;
        machine = machine.drive(Drive::disk(id, file(id), serial));
    }
    for kept in KEPT {
        let path = file(kept.id);
        make_disk(&path, DISK_MIB)?;
        if let Some((program, arguments)) = kept.tool.split_first() {
            let path = path.display().to_string();
            stdout_of(program, &arguments.iter().copied().chain([path.as_str()]).collect::<Vec<_>>())?;
        }
        let disk = OpenOptions::new().write(true).open(&path)?;
        kept.bytes.iter().try_for_each(|(offset, bytes)| disk.write_all_at(bytes, *offset))?;
        machine = machine.drive(Drive::disk(kept.id, path, kept.serial));
    }
    for id in ["gpt", "readonly", "sectors4k"] {
        make_disk(&file(id), DISK_MIB)?;
    }
    let table = "printf 'label: gpt\\nsize=100M\\n' | sfdisk -q \"$0\"";
    stdout_of("sh", &["-c", table, &file("gpt").display().to_string()])?;
    make_fat_volume(&file("scratch"), "SCRATCH", 4, &[])?;
    make_testkit(context, &file("testkit"), cases)?;
    let read_only = Drive { read_only: true, ..Drive::disk("readonly", file("readonly"), "MS-READONLY") };
    machine = machine
        .drive(Drive::disk("gpt", file("gpt"), "MS-GPT"))
        .drive(read_only)
        .drive(Drive::disk("sectors4k", file("sectors4k"), "MS-4K").sectors(4096))
        .drive(Drive::disk("scratch", file("scratch"), "MS-SCRATCH").on(Bus::Sata))
        .drive(Drive::disk("testkit", file("testkit"), "MS-TESTKIT").on(Bus::Sata))
        .drive(Drive::cd("medium", &context.image.iso));
    machine.spare_cards = (0..CARDS)
        .map(|n| if n == CARDS_BEFORE { MAC.to_owned() } else { format!("52:54:00:4d:54:{n:02x}") })
        .collect();
    machine.limit_secs = 2400;
    // So many devices take udev more than its two minutes where there is no KVM; the script waits for them.
    machine.allowed_signs = vec!["Failed to start systemd-ud"];
    machine.give_up_on = vec!["metalstrap: install complete", "metalstrap: cannot "];
    machine.kernel = Some(waiting_kernel(context));
    Ok(machine)
}

/// The device that a case took, such as `/dev/vdb`.
fn device_of(lines: &[SerialLine], case: &str) -> Result<String> {
    let prefix = format!("CASE {case} | disk ");
    let said = lines.iter().find_map(|line| line.text.strip_prefix(&prefix));
    let device = said.and_then(|text| text.split_whitespace().next());
    device.map(str::to_owned).with_context(|| format!("{case} names no disk"))
}

/// How long `metalstrap inventory` took in the guest, with all these disks.
fn seconds_of(lines: &[SerialLine]) -> Result<f64> {
    let text = lines.iter().find_map(|line| line.text.strip_prefix("INVENTORY ms "));
    let millis: f64 = text.context("the inventory was not timed")?.trim().parse()?;
    Ok(millis / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::super::cases::ensure_runnable;
    use super::{CASES, KEPT, SWAPPED, device_of};
    use crate::serial::SerialLine;

    #[test]
    fn the_cases_make_a_script_and_each_disk_with_data_has_one() {
        ensure_runnable(CASES);
        ensure_runnable(SWAPPED);
        for kept in KEPT {
            let argument = format!("metalstrap.disk={}", kept.serial);
            assert!(CASES.iter().any(|case| case.arguments == argument), "{}", kept.id);
            assert!(kept.serial.len() <= 20 && kept.tool.is_empty() != kept.bytes.is_empty());
        }
    }

    #[test]
    fn finds_the_device_a_case_took() {
        let lines = [SerialLine { secs: 0.0, text: "CASE a | disk      /dev/vdb  serial x".to_owned() }];
        assert_eq!(device_of(&lines, "a").unwrap(), "/dev/vdb");
        assert_eq!(device_of(&lines, "b").unwrap_err().to_string(), "b names no disk");
    }
}

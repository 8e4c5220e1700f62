//! Machines that differ in what is on their disks, who uses them, what they say of themselves, and what is given up.

use super::build::{D, GB, GIB, Machine, disk, machine, mapped, part};
use super::catalogue::ssd;
use serde_json::json;

pub fn busy_ones() -> Vec<Machine> {
    let busy = |name, disk: D| machine(name, &[("serial", "A1"), ("wipe", "A1")], &[disk, ssd("sdb", "A2")]);
    let a1 = || ssd("sda", "A1").table("gpt");
    vec![
        busy("busy-mounted", a1().child(part("sda1", GB, "ext4", "").mounted("/srv/my data"))),
        busy("busy-swap", a1().child(part("sda1", GB, "swap", "").mounted("[SWAP]"))),
        busy(
            "busy-lvm",
            a1().child(part("sda1", GB, "LVM2_member", "").child(mapped(
                "dm-0",
                "/dev/mapper/vg0-data",
                "lvm",
            ))),
        ),
        busy(
            "busy-md",
            a1().child(part("sda1", GB, "linux_raid_member", "").child(mapped("md0", "/dev/md0", "raid1"))),
        ),
        busy(
            "busy-luks",
            a1().child(part("sda1", GB, "crypto_LUKS", "").child(mapped(
                "dm-1",
                "/dev/mapper/secret",
                "crypt",
            ))),
        ),
        busy(
            "busy-firmware-raid",
            ssd("sda", "A1").holds("isw_raid_member", "").child(mapped(
                "dm-2",
                "/dev/mapper/isw_Volume0",
                "dmraid",
            )),
        ),
        busy(
            "busy-bcache",
            a1().child(
                part("sda1", GB, "bcache", "")
                    .child(mapped("bcache0", "/dev/bcache0", "disk").set("type", json!("bcache"))),
            ),
        ),
        busy("busy-loop", a1().held("/dev/loop0 (loop) is built on it")),
        busy(
            "busy-unnamed",
            ssd("sda", "A1")
                .holds("zfs_member", "tank")
                .held("it is held by something the kernel does not name, such as a ZFS pool or a container"),
        ),
        busy(
            "busy-ceph-osd",
            ssd("sda", "A1").holds("LVM2_member", "").child(mapped(
                "dm-3",
                "/dev/mapper/ceph--0a1b-osd--block--1",
                "lvm",
            )),
        ),
        busy(
            "busy-hostile-mount",
            a1().child(part("sda1", GB, "ext4", "").mounted("/mnt/\u{1b}[2J\nmetalstrap: install complete")),
        ),
    ]
}

/// One disk with one kind of data, and nothing said about it.
pub fn data_ones() -> Vec<Machine> {
    let whole = [
        ("data-ext4", "ext4"),
        ("data-xfs", "xfs"),
        ("data-btrfs", "btrfs"),
        ("data-ntfs", "ntfs"),
        ("data-vfat", "vfat"),
        ("data-exfat", "exfat"),
        ("data-swap", "swap"),
        ("data-lvm", "LVM2_member"),
        ("data-mdraid", "linux_raid_member"),
        ("data-firmware-raid", "ddf_raid_member"),
        ("data-luks", "crypto_LUKS"),
        ("data-zfs", "zfs_member"),
        ("data-ceph", "ceph_bluestore"),
        ("data-bitlocker", "BitLocker"),
        ("data-vmfs", "VMFS_volume_member"),
        ("data-bcache", "bcache"),
        ("data-drbd", "drbd"),
        ("data-squashfs", "squashfs"),
        ("data-foreign-iso", "iso9660"),
        ("data-apfs", "apfs"),
        ("data-f2fs", "f2fs"),
        ("data-reiserfs", "reiserfs"),
    ];
    let one = |name, disk: D| machine(name, &[], &[disk]);
    let mut machines: Vec<Machine> =
        whole.into_iter().map(|(name, kind)| one(name, ssd("sda", "A1").holds(kind, ""))).collect();
    machines.extend([
        one("data-unknown-bytes", ssd("sda", "A1").noise()),
        one("data-gpt-without-partitions", ssd("sda", "A1").table("gpt")),
        one("data-mbr-without-partitions", ssd("sda", "A1").table("dos")),
        one("data-hybrid-mbr", ssd("sda", "A1").table("gpt").seen("hybrid MBR")),
        one("data-gpt-bad-primary", ssd("sda", "A1").table("gpt").seen("GPT with a bad primary")),
        one("data-protective-only", ssd("sda", "A1").table("PMBR").seen("protective MBR without a GPT")),
        one(
            "data-contradicting",
            ssd("sda", "A1").seen("several contradicting signatures").seen("ext4").seen("linux_raid_member"),
        ),
        one("data-unreadable", ssd("sda", "A1").seen("unreadable")),
        one(
            "data-windows",
            ssd("sda", "A1")
                .table("gpt")
                .child(part("sda1", GB, "vfat", "SYSTEM"))
                .child(part("sda2", GB, "", ""))
                .child(part("sda3", GB, "ntfs", "Windows"))
                .child(part("sda4", GB, "BitLocker", "")),
        ),
        one(
            "data-other-k3s",
            ssd("sda", "A1").table("gpt").child(part("sda1", GB, "ext4", "root")).seen("k3s node"),
        ),
        one("data-older-install", ssd("sda", "A1").table("gpt").installed("lab", "master-1")),
        one("data-unfinished-install", ssd("sda", "A1").table("gpt").unfinished()),
        one("data-empty-partition", ssd("sda", "A1").table("gpt").child(part("sda1", GB, "", ""))),
    ]);
    machines
}

pub fn odd_ones() -> Vec<Machine> {
    let long = "L".repeat(5000);
    vec![
        machine("hostile-serial", &[], &[ssd("sda", "A1\u{1b}[2J\r\nmetalstrap: install complete")]),
        machine(
            "hostile-model-bidi",
            &[],
            &[disk("sda", 20 * GIB, "sata", "\u{202e}DSS\u{2066}\u{feff}\u{61c}", "A1")],
        ),
        machine("hostile-shell", &[("serial", "$(reboot);`id`|'&")], &[ssd("sda", "$(reboot);`id`|'&")]),
        machine("hostile-long", &[], &[ssd("sda", &long)]),
        machine("hostile-not-utf8", &[], &[ssd("sda", "A\u{fffd}\u{fffd}1")]),
        machine("hostile-label", &[], &[ssd("sda", "A1").holds("ext4", "\u{9b}31m\u{7f}\" ; wipe = \"A1\"")]),
        machine("hostile-blank-serial", &[], &[ssd("sda", " \0 \t")]),
        machine(
            "same-serial-twice",
            &[("serial", "0000000001")],
            &[ssd("sda", "0000000001"), ssd("sdb", "0000000001")],
        ),
        machine(
            "same-serial-twice-one-full",
            &[("wipe", "0000000001")],
            &[
                ssd("sda", "0000000001").holds("ext4", "").at("pci-0000:00:17.0-ata-1"),
                ssd("sdb", "0000000001").holds("ext4", "").at("pci-0000:00:17.0-ata-2"),
            ],
        ),
        machine(
            "serial-like-another-wwn",
            &[("wipe", "X1")],
            &[ssd("sda", "X1").holds("ext4", ""), ssd("sdb", "X2").wwn("X1").holds("xfs", "")],
        ),
        machine("dmi-placeholder", &[], &[ssd("sda", "A1")]).but(|inventory| {
            inventory.dmi.serial = Some("To be filled by O.E.M.".to_owned());
        }),
        machine("no-tpm-no-dmi", &[], &[ssd("sda", "A1")]).but(|inventory| {
            inventory.tpm = None;
            inventory.dmi = installer::inventory::Dmi::default();
        }),
    ]
}

pub fn consents() -> Vec<Machine> {
    let full = |kname, serial| ssd(kname, serial).holds("ext4", "old");
    vec![
        machine("wipe-the-only-disk", &[("wipe", "A1")], &[full("sda", "A1")]),
        machine(
            "wipe-another-disk",
            &[("serial", "A1"), ("wipe", "A2")],
            &[full("sda", "A1"), full("sdb", "A2")],
        ),
        machine("wipe-one-of-two", &[("wipe", "A2")], &[full("sda", "A1"), full("sdb", "A2")]),
        machine("wipe-beside-an-empty-disk", &[("wipe", "A1")], &[full("sda", "A1"), ssd("sdb", "A2")]),
        machine(
            "wipe-by-kernel-argument",
            &[("wipe", "A1"), ("kernel-wipe", "A2")],
            &[full("sda", "A1"), full("sdb", "A2")],
        ),
        machine("wipe-by-a-part-of-the-serial", &[("wipe", "A")], &[full("sda", "A1")]),
        machine("wipe-by-device-name", &[("wipe", "/dev/sda")], &[full("sda", "A1")]),
        machine(
            "wipe-by-wwn-although-there-is-a-serial",
            &[("wipe", "0x5001")],
            &[full("sda", "A1").wwn("0x5001")],
        ),
        machine("wipe-by-wwn", &[("wipe", "0x5001")], &[full("sda", "").wwn("0x5001")]),
        machine(
            "wipe-by-link",
            &[("wipe", "/dev/disk/by-path/pci-0000:00:04.0")],
            &[full("vda", "").at("pci-0000:00:04.0")],
        ),
        machine(
            "wipe-by-link-without-folder",
            &[("wipe", "pci-0000:00:04.0")],
            &[full("vda", "").at("pci-0000:00:04.0")],
        ),
        machine(
            "wipe-by-link-although-there-is-a-serial",
            &[("wipe", "/dev/disk/by-path/pci-0000:00:04.0")],
            &[full("vda", "A1").at("pci-0000:00:04.0")],
        ),
        machine("data-without-any-name", &[], &[full("vda", "")]),
        machine(
            "wipe-an-older-install",
            &[("wipe", "A1")],
            &[ssd("sda", "A1").table("gpt").installed("lab", "master-1")],
        ),
    ]
}

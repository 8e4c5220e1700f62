//! The rule, on fixtures: exact text for every refusal.

use super::{DiskOverrides, choose_disk};
use crate::inventory::{Disk, Inventory, parse_inventory};
use crate::refusal::Refusal;
use profiles::node::{DiskSelector, Requirements};
use proptest::prelude::*;

const NEEDS: Requirements = Requirements { memory_min_mib: 1024, disk_min_mib: 8192 };

fn fixture(name: &str) -> Inventory {
    let path = format!("{}/tests/fixtures/inventory/{name}.json", env!("CARGO_MANIFEST_DIR"));
    parse_inventory(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// `key value` pairs: serial, wwn, by_path, wipe for the cluster file; disk, erase, again for the kernel's arguments.
fn choose_with(inventory: &Inventory, words: &[(&str, &str)]) -> Result<String, String> {
    let word = |key: &str| words.iter().find(|(k, _)| *k == key).map(|(_, v)| (*v).to_owned());
    let selector = DiskSelector {
        serial: word("serial"),
        wwn: word("wwn"),
        by_path: word("by_path"),
        wipe: word("wipe"),
        ..DiskSelector::default()
    };
    let overrides = DiskOverrides {
        serial: word("disk"),
        wipe: word("erase"),
        reinstall: word("again").map(|id| id.parse().unwrap()),
    };
    match choose_disk(inventory, &selector, &NEEDS, &overrides) {
        Ok(target) => Ok(target.reason().to_owned()),
        Err(refusal) => Err(Refusal::from(refusal).to_string()),
    }
}

fn choose(name: &str, words: &[(&str, &str)]) -> Result<String, String> {
    choose_with(&fixture(name), words)
}

#[track_caller]
fn refuses(name: &str, words: &[(&str, &str)], text: &str) {
    assert_eq!(choose(name, words).unwrap_err(), text);
}

#[track_caller]
fn takes(name: &str, words: &[(&str, &str)], text: &str) {
    assert_eq!(choose(name, words).unwrap(), text);
}

#[test]
fn takes_the_only_empty_disk() {
    takes(
        "qemu-master-1",
        &[],
        "/dev/vda (20 GiB virtio, serial MS-0001) is the only disk that may be taken, it is empty",
    );
    takes(
        "nvme-4k-sectors",
        &[],
        "/dev/nvme0n1 (1.4 TiB nvme, INTEL SSDPE2KE016T8, serial PHLN0123001D1P6AGN) is the only disk that may be taken, it is empty",
    );
}

#[test]
fn takes_an_unfinished_install_again() {
    takes(
        "unfinished-install",
        &[],
        "/dev/vda (20 GiB virtio, serial MS-0001) is the only disk that may be taken, \
         an unfinished install (0b9f2f0a-6a3c-4f0e-8a55-3b1f1d1c0001) is on it",
    );
}

#[test]
fn an_install_record_beside_a_mark_is_data() {
    let mut inventory = fixture("installed");
    inventory.disks[1].unfinished_install = Some(uuid::Uuid::from_u128(1));
    assert!(choose_with(&inventory, &[]).unwrap_err().starts_with("E_DISK_HAS_DATA: "));
}

#[test]
fn refuses_a_machine_without_a_disk() {
    refuses(
        "no-disk",
        &[],
        "E_DISK_NONE: this machine has no disk to install to; attach one\n  \
         /dev/sr0 (338 MiB ata, QEMU DVD-ROM, serial QM00003): never taken: the live system or its configuration is on it",
    );
}

#[test]
fn never_takes_the_medium_it_was_booted_from() {
    refuses(
        "only-usb-stick",
        &[],
        "E_DISK_NONE: this machine has no disk to install to; attach one\n  \
         /dev/sda (14.3 GiB usb, Ultra Fit, serial 4C530001110824): never taken: the live system or its configuration is on it",
    );
    refuses(
        "only-usb-stick",
        &[("serial", "4C530001110824"), ("wipe", "4C530001110824")],
        "E_DISK_BOOT_MEDIUM: the disk asked for (serial \"4C530001110824\") cannot be taken: \
         the live system or its configuration is on it\n  \
         /dev/sda (14.3 GiB usb, Ultra Fit, serial 4C530001110824): never taken: the live system or its configuration is on it",
    );
}

#[test]
fn refuses_two_empty_disks_and_takes_the_one_that_is_named() {
    refuses(
        "two-empty-disks",
        &[],
        "E_DISK_AMBIGUOUS: 2 disks can be taken; name one with disk.serial in the cluster file or metalstrap.disk=SERIAL\n  \
         /dev/sda (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial 2031A2B3C4D5): may be taken: empty\n  \
         /dev/sdb (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial 2031A2B3C4D6): may be taken: empty",
    );
    let second = "/dev/sdb (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial 2031A2B3C4D6) was asked for";
    for (key, value, shown) in [
        ("serial", "2031A2B3C4D6", "serial \"2031A2B3C4D6\""),
        ("disk", "2031A2B3C4D6", "serial \"2031A2B3C4D6\""),
        ("wwn", "0x500a075127d5c4b4", "wwn \"0x500a075127d5c4b4\""),
        ("by_path", "pci-0000:00:17.0-ata-2", "by_path \"pci-0000:00:17.0-ata-2\""),
        (
            "by_path",
            "/dev/disk/by-path/pci-0000:00:17.0-ata-2",
            "by_path \"/dev/disk/by-path/pci-0000:00:17.0-ata-2\"",
        ),
    ] {
        takes("two-empty-disks", &[(key, value)], &format!("{second} ({shown}), it is empty"));
    }
}

#[test]
fn the_kernel_argument_replaces_the_whole_selector() {
    let words = [("serial", "2031A2B3C4D5"), ("by_path", "pci-0000:00:17.0-ata-1"), ("disk", "2031A2B3C4D6")];
    assert!(choose("two-empty-disks", &words).unwrap().starts_with("/dev/sdb "));
}

#[test]
fn refuses_a_selector_that_no_disk_fits() {
    refuses(
        "qemu-uefi-master-2",
        &[("serial", "MS-0002"), ("wwn", "0x1")],
        "E_DISK_NO_MATCH: no disk has serial \"MS-0002\" and wwn \"0x1\"; correct the selector or attach the disk\n  \
         /dev/vda (20 GiB virtio, serial MS-0002): not the disk asked for (serial \"MS-0002\" and wwn \"0x1\"): it has no wwn",
    );
}

#[test]
fn a_medium_that_nobody_asked_for_does_not_hide_that_no_disk_fits() {
    refuses(
        "no-disk",
        &[("disk", "MS-ABSENT")],
        "E_DISK_NO_MATCH: no disk has serial \"MS-ABSENT\"; correct the selector or attach the disk\n  \
         /dev/sr0 (338 MiB ata, QEMU DVD-ROM, serial QM00003): never taken: the live system or its configuration is on it",
    );
}

#[test]
fn refuses_disks_with_data_and_says_what_is_on_them() {
    refuses(
        "data-disks",
        &[],
        "E_DISK_HAS_DATA: no disk can be taken: it holds data; to lose that for good set disk.wipe or metalstrap.wipe to the name given below\n  \
         /dev/sda (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial DATA-EXT4): holds data: GPT partition table, ext4 \"photos\"; to lose it: wipe = \"DATA-EXT4\"\n  \
         /dev/sdb (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial DATA-LVM): holds data: LVM physical volume; to lose it: wipe = \"DATA-LVM\"\n  \
         /dev/sdc (3.6 TiB sata, WDC WD40EFRX, serial DATA-BUSY): in use: /dev/md0 (raid1) is built on it\n  \
         /dev/sdd (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial DATA-NTFS): holds data: MBR partition table, ntfs \"Windows\"; to lose it: wipe = \"DATA-NTFS\"",
    );
    refuses(
        "installed",
        &[("serial", "MS-0001")],
        "E_DISK_HAS_DATA: the disk asked for (serial \"MS-0001\") cannot be taken: \
         it holds data; to lose that for good set disk.wipe or metalstrap.wipe to the name given below\n  \
         /dev/sr0 (338 MiB ata, QEMU DVD-ROM, serial QM00003): never taken: the live system or its configuration is on it\n  \
         /dev/vda (20 GiB virtio, serial MS-0001): holds data: master-1 of cluster ha, installed by metalstrap; to lose it: wipe = \"MS-0001\"",
    );
}

#[test]
fn consent_is_for_one_very_disk() {
    takes(
        "data-disks",
        &[("wipe", "DATA-LVM")],
        "/dev/sdb (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial DATA-LVM) is the only disk that may be taken, \
         its contents are given up by wipe",
    );
    takes(
        "data-disks",
        &[("serial", "DATA-EXT4"), ("erase", "DATA-EXT4")],
        "/dev/sda (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial DATA-EXT4) was asked for (serial \"DATA-EXT4\"), \
         its contents are given up by wipe",
    );
    let refusal = choose("data-disks", &[("serial", "DATA-EXT4"), ("wipe", "DATA-LVM")]).unwrap_err();
    assert_eq!(
        refusal.lines().take(2).collect::<Vec<_>>(),
        [
            "E_DISK_WIPE_MISMATCH: the disk asked for (serial \"DATA-EXT4\") cannot be taken: \
             it holds data, and wipe does not name this very disk and no other",
            "  /dev/sda (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial DATA-EXT4): \
             holds data: GPT partition table, ext4 \"photos\"; wipe = \"DATA-LVM\" is not consent for this disk, wipe = \"DATA-EXT4\" is",
        ]
    );
}

#[test]
fn consent_does_not_reach_a_disk_in_use() {
    let refusal = choose("data-disks", &[("serial", "DATA-BUSY"), ("wipe", "DATA-BUSY")]).unwrap_err();
    assert!(
        refusal.starts_with(
            "E_DISK_BUSY: the disk asked for (serial \"DATA-BUSY\") cannot be taken: it is in use\n"
        ),
        "{refusal}"
    );
}

#[test]
fn a_serial_that_two_disks_have_is_no_consent_and_no_name() {
    let words = [("by_path", "pci-0000:03:00.0-scsi-0:0:0:0"), ("wipe", "0000000001")];
    assert!(choose("same-serial-twice", &words).unwrap_err().starts_with("E_DISK_WIPE_MISMATCH: "));
    let mut both_empty = fixture("same-serial-twice");
    both_empty.disks[0].empty = true;
    let refusal = choose_with(&both_empty, &[("serial", "0000000001")]).unwrap_err();
    let head = "E_DISK_AMBIGUOUS: 2 disks fit serial \"0000000001\" and can be taken; name one by a serial, WWN or path that no other has\n";
    assert!(refusal.starts_with(head), "{refusal}");
}

#[test]
fn refuses_removable_read_only_and_small_disks() {
    let cases = [
        ("read-only-and-removable", "USB-SSD", "E_DISK_REMOVABLE", "removable disks are never taken"),
        ("read-only-and-removable", "CF-1", "E_DISK_REMOVABLE", "removable disks are never taken"),
        ("read-only-and-removable", "DOM-1", "E_DISK_READ_ONLY", "it is read-only"),
        ("small-disk", "MS-SMALL", "E_DISK_TOO_SMALL", "it is too small for this role"),
    ];
    for (name, serial, code, why) in cases {
        let refusal = choose(name, &[("serial", serial)]).unwrap_err();
        let head = format!("{code}: the disk asked for (serial \"{serial}\") cannot be taken: {why}\n");
        assert!(refusal.starts_with(&head), "{refusal}");
    }
    refuses(
        "small-disk",
        &[],
        "E_DISK_TOO_SMALL: no disk can be taken: it is too small for this role\n  \
         /dev/vda (4 GiB virtio, serial MS-SMALL): too small: 8192 MiB are needed",
    );
}

#[test]
fn the_smallest_size_is_exact() {
    let mut inventory = fixture("small-disk");
    inventory.disks[0].size_bytes = 8192 << 20;
    assert!(choose_with(&inventory, &[]).is_ok());
    inventory.disks[0].size_bytes -= 512;
    assert!(choose_with(&inventory, &[]).unwrap_err().starts_with("E_DISK_TOO_SMALL: "));
}

#[test]
fn a_sector_size_nobody_tested_is_refused() {
    let mut inventory = fixture("qemu-uefi-master-2");
    inventory.disks[0].logical_sector_bytes = 520;
    assert_eq!(
        choose_with(&inventory, &[]).unwrap_err(),
        "E_DISK_SECTOR_SIZE: no disk can be taken: its sector size is not supported\n  \
         /dev/vda (20 GiB virtio, serial MS-0002): sectors of 520 bytes are not supported (512 and 4096 are)"
    );
}

#[test]
fn a_disk_that_could_not_be_looked_at_holds_data() {
    let mut inventory = fixture("qemu-uefi-master-2");
    inventory.disks[0].empty = false;
    assert!(
        choose_with(&inventory, &[])
            .unwrap_err()
            .ends_with("holds data: unknown data; to lose it: wipe = \"MS-0002\"")
    );
}

/// `again` names one install, and with it one disk: others are not asked for, however free they are.
#[test]
fn an_install_is_made_again_by_its_id_and_nowhere_else() {
    let mut inventory = fixture("installed");
    let id = inventory.disks.iter().find_map(|disk| disk.install_record.as_ref()).unwrap().install_id;
    let free = fixture("qemu-master-1").disks.remove(0);
    inventory.disks.push(Disk { path: "/dev/vdz".to_owned(), serial: Some("FREE".to_owned()), ..free });
    let reason = choose_with(&inventory, &[("again", &id.to_string())]).unwrap();
    assert!(
        reason.ends_with(&format!("was asked for (install \"{id}\"), its install is made again")),
        "{reason}"
    );
    let other = uuid::Uuid::from_u128(9);
    let refusal = choose_with(&inventory, &[("again", &other.to_string())]).unwrap_err();
    assert!(refusal.starts_with("E_DISK_NO_MATCH: "), "{refusal}");
}

#[test]
fn a_hostile_serial_cannot_forge_a_line() {
    let reason = choose("hostile-strings", &[]).unwrap();
    assert_eq!(
        reason,
        "/dev/vda (20 GiB virtio, M\\u{0}\\u{7}\\u{202e}, serial S\\u{1b}[2J\\r\\nmetalstrap: install complete) \
         is the only disk that may be taken, it is empty"
    );
}

fn arbitrary_disk(number: usize) -> impl Strategy<Value = Disk> {
    let template = fixture("data-disks").disks.remove(0);
    (any::<[bool; 6]>(), 0u64..3, 0u8..4).prop_map(move |(flags, size, serial)| {
        let [empty, boot_medium, removable, read_only, held, unfinished] = flags;
        Disk {
            path: format!("/dev/sd{number}"),
            size_bytes: (size * 6) << 30,
            serial: (serial > 0).then(|| format!("S{serial}")),
            boot_medium: boot_medium && held,
            removable: removable && held,
            read_only: read_only && held,
            holders: if held && empty { vec!["something".to_owned()] } else { Vec::new() },
            empty,
            unfinished_install: unfinished.then(|| uuid::Uuid::from_u128(1)),
            ..template.clone()
        }
    })
}

proptest! {
    #[test]
    fn the_order_of_the_disks_never_matters(
        (disks, shuffled) in (0usize..6)
            .prop_flat_map(|n| (0..n).map(arbitrary_disk).collect::<Vec<_>>())
            .prop_flat_map(|disks| (Just(disks.clone()), Just(disks).prop_shuffle())),
        serial in proptest::option::of("S[1-3]"),
        wipe in proptest::option::of("S[1-3]"),
    ) {
        let base = fixture("data-disks");
        let selector = DiskSelector { serial, wipe, ..DiskSelector::default() };
        let [one, two] = [disks, shuffled].map(|disks| {
            choose_disk(&Inventory { disks, ..base.clone() }, &selector, &NEEDS, &DiskOverrides::default())
        });
        prop_assert_eq!(one, two);
    }

    #[test]
    fn what_is_taken_is_always_fit_and_free_or_given_up(
        disks in (1usize..6).prop_flat_map(|n| (0..n).map(arbitrary_disk).collect::<Vec<_>>()),
        wipe in proptest::option::of("S[1-3]"),
    ) {
        let inventory = Inventory { disks, ..fixture("data-disks") };
        let selector = DiskSelector { wipe: wipe.clone(), ..DiskSelector::default() };
        if let Ok(target) = choose_disk(&inventory, &selector, &NEEDS, &DiskOverrides::default()) {
            let disk = target.disk();
            prop_assert!(!disk.boot_medium && !disk.removable && !disk.read_only && disk.holders.is_empty());
            prop_assert!(disk.size_bytes >= 8 << 30);
            prop_assert!(disk.empty || disk.unfinished_install.is_some() || (wipe.is_some() && disk.serial == wipe));
        }
    }
}

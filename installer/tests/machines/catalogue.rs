//! The machines. Models, transports and names are those of real hardware; serial numbers are made up.

use super::build::{
    D, GB, GIB, Machine, boot_cd, boot_stick, disk, machine, mapped, neighbour, nic, part, virtual_nic,
};
use super::contents::{busy_ones, consents, data_ones, odd_ones};
use installer::inventory::{Firmware, HealthStatus};
use serde_json::json;

/// Every machine, each with a name of its own.
pub fn machines() -> Vec<Machine> {
    [servers(), flash(), small_ones(), virtual_ones(), busy_ones(), data_ones(), odd_ones(), consents()]
        .into_iter()
        .flatten()
        .collect()
}

pub fn ssd(kname: &str, serial: &str) -> D {
    disk(kname, 480_103_981_056, "sata", "Micron_5300_MTFDDAK480TDS", serial)
}

fn sas(kname: &str, serial: &str) -> D {
    disk(kname, 1_200_243_695_616, "sas", "ST1200MM0009", serial).hdd()
}

fn nvme(kname: &str, serial: &str) -> D {
    disk(kname, 960_197_124_096, "nvme", "SAMSUNG MZQL2960HCJR-00A07", serial)
}

fn raid_volume(kname: &str, model: &str, serial: &str) -> D {
    disk(kname, 479_559_942_144, "", model, serial).hdd()
}

fn servers() -> Vec<Machine> {
    let shelf = |n: u8| {
        sas(&format!("sd{}", char::from(b'a' + n)), &format!("S40{n:02}"))
            .wwn(&format!("0x5000c500a1b2c3{n:02x}"))
    };
    let shelf: Vec<D> = (0..24).map(shelf).collect();
    let with_boot = |disks: &[D]| [disks, &[boot_stick("sdz")]].concat();
    vec![
        machine(
            "dell-perc-one-volume",
            &[],
            &with_boot(&[raid_volume("sda", "PERC H755 Front", "00a1b2c3d4e5f60718")
                .at("pci-0000:01:00.0-scsi-0:2:0:0")]),
        )
        .of("Dell Inc.", "PowerEdge R650"),
        machine(
            "dell-perc-two-volumes",
            &[("size", "< 1TB")],
            &with_boot(&[
                raid_volume("sda", "PERC H755 Front", "00a1b2c3d4e5f60718"),
                raid_volume("sdb", "PERC H755 Front", "00a1b2c3d4e5f60719")
                    .set("size", json!(7_681_501_126_656_u64)),
            ]),
        )
        .of("Dell Inc.", "PowerEdge R750"),
        machine(
            "hpe-smart-array",
            &[("model", "LOGICAL*")],
            &with_boot(&[raid_volume("sda", "LOGICAL VOLUME", "600508B1001C0A1B")]),
        )
        .of("HPE", "ProLiant DL360 Gen10"),
        machine(
            "megaraid-health-not-known",
            &[],
            &with_boot(&[raid_volume("sda", "MR9363-4i", "00f1e2d3c4b5")
                .health(HealthStatus::Unknown, "/dev/sda: Unable to detect device type")]),
        ),
        machine("jbod-24-sas", &[], &with_boot(&shelf)).of("Supermicro", "SSG-640P"),
        machine("jbod-24-sas-by-serial", &[("serial", "S4017")], &with_boot(&shelf)),
        machine("jbod-24-sas-by-wwn", &[("wwn", "0x5000c500a1b2c303")], &with_boot(&shelf)),
        machine(
            "jbod-and-nvme-by-type",
            &[("type", "nvme")],
            &with_boot(&[&shelf[..12], &[nvme("nvme0n1", "S64GNE0R1")]].concat()),
        ),
        machine(
            "two-ssd-identical",
            &[],
            &with_boot(&[ssd("sda", "2031A2B3C4D5"), ssd("sdb", "2031A2B3C4D6")]),
        ),
        machine(
            "two-ssd-by-path",
            &[("by_path", "pci-0000:00:17.0-ata-2")],
            &with_boot(&[
                ssd("sda", "2031A2B3C4D5").at("pci-0000:00:17.0-ata-1"),
                ssd("sdb", "2031A2B3C4D6").at("pci-0000:00:17.0-ata-2"),
            ]),
        ),
        machine(
            "two-ssd-swapped",
            &[("serial", "2031A2B3C4D6")],
            &with_boot(&[ssd("sda", "2031A2B3C4D6"), ssd("sdb", "2031A2B3C4D5")]),
        ),
        machine("multipath-joined", &[], &with_boot(&multipath(true))),
        machine("multipath-not-joined", &[], &with_boot(&multipath(false))),
        machine(
            "multipath-one-path-in-use",
            &[("serial", "3600A0980")],
            &[lun("sda").table("gpt").child(part("sda1", GB, "ext4", "").mounted("/srv")), lun("sdb")],
        ),
        machine("fc-lun-single-path", &[], &with_boot(&[lun("sda")])),
        machine("iscsi-lun", &[], &[disk("sda", 100 * GIB, "iscsi", "VIRTUAL-DISK", "beaf11")]),
        machine("hdd-512e", &[], &with_boot(&[sas("sda", "S1").sectors(512, 4096)])),
        machine("hdd-4kn", &[], &with_boot(&[sas("sda", "S1").sectors(4096, 4096)])),
        machine("hdd-520-bytes", &[], &with_boot(&[sas("sda", "S1").sectors(520, 520)])),
        machine("eight-nics", &[], &with_boot(&[ssd("sda", "A1")])).nics(
            (1..=8).map(|n| nic(&format!("enp{n}s0"), n, "i40e", (n == 3).then_some(10_000))).collect(),
        ),
        machine("bond-in-live-system", &[], &with_boot(&[ssd("sda", "A1")])).nics(bonded()),
    ]
}

fn bonded() -> Vec<installer::inventory::Nic> {
    let mut ports: Vec<_> =
        (1..=2).map(|n| nic(&format!("ens{n}f0"), n, "mlx5_core", Some(25_000))).collect();
    for (n, port) in ports.iter_mut().enumerate() {
        port.master = Some("bond0".to_owned());
        port.neighbour = neighbour("sw-rack1", &format!("Ethernet{n}"));
    }
    ports.push(virtual_nic("bond0", 1));
    ports.push(virtual_nic("bond0.10", 1));
    ports
}

/// One path to a volume of a storage system.
fn lun(kname: &str) -> D {
    disk(kname, 200 * GIB, "fc", "LUN C-Mode", "3600A0980").wwn("0x600a098038303053")
}

fn multipath(joined: bool) -> Vec<D> {
    let path = |kname| {
        if joined { lun(kname).child(mapped("dm-0", "/dev/mapper/mpatha", "mpath")) } else { lun(kname) }
    };
    ["sda", "sdb", "sdc", "sdd"].map(path).to_vec()
}

fn flash() -> Vec<Machine> {
    let space = |n: u8| nvme(&format!("nvme0n{n}"), "S64GNE0R1").wwn(&format!("eui.36344730526002{n:02}"));
    vec![
        machine("nvme-one", &[], &[nvme("nvme0n1", "S64GNE0R1"), boot_stick("sda")]),
        machine("nvme-two", &[], &[nvme("nvme0n1", "S64GNE0R1"), nvme("nvme1n1", "S64GNE0R2")]),
        machine("nvme-three-namespaces", &[], &[space(1), space(2), space(3)]),
        machine("nvme-namespace-by-serial", &[("serial", "S64GNE0R1")], &[space(1), space(2)]),
        machine("nvme-namespace-by-wwn", &[("wwn", "eui.3634473052600202")], &[space(1), space(2)]),
        machine(
            "nvme-namespace-wipe-by-serial",
            &[("wwn", "eui.3634473052600202"), ("wipe", "S64GNE0R1")],
            &[space(1), space(2).holds("xfs", "")],
        ),
        machine(
            "nvme-namespace-wipe-by-wwn",
            &[("wwn", "eui.3634473052600202"), ("wipe", "eui.3634473052600202")],
            &[space(1), space(2).holds("xfs", "")],
        ),
        machine("nvme-4k", &[], &[nvme("nvme0n1", "S1").sectors(4096, 4096)]),
        machine(
            "nvme-failing",
            &[],
            &[nvme("nvme0n1", "S1")
                .health(HealthStatus::Failing, "its own self-assessment (SMART) says that it fails")],
        ),
        machine(
            "ssd-failing-beside-a-good-one",
            &[],
            &[
                ssd("sda", "A1")
                    .health(HealthStatus::Failing, "its own self-assessment (SMART) says that it fails"),
                ssd("sdb", "A2"),
            ],
        ),
        machine(
            "ssd-failing-and-given-up",
            &[("serial", "A1"), ("wipe", "A1")],
            &[ssd("sda", "A1")
                .holds("ext4", "old")
                .health(HealthStatus::Failing, "its own self-assessment (SMART) says that it fails")],
        ),
        machine(
            "ssd-health-not-known",
            &[],
            &[ssd("sda", "A1").health(HealthStatus::Unknown, "smartctl is not there")],
        ),
        machine(
            "optane-and-hdd-by-type",
            &[("type", "hdd")],
            &[
                disk("nvme0n1", 118 * GB, "nvme", "INTEL SSDPEK1A118GA", "BTOC1"),
                disk("sda", 4_000_787_030_016, "sata", "WDC WD40EFRX-68N32N0", "WD-WCC7K1").hdd(),
            ],
        ),
        machine(
            "ssd-by-size-range",
            &[("size", ">= 400GB, < 1TB")],
            &[
                ssd("sda", "A1"),
                disk("sdb", 32_017_047_552, "sata", "SATADOM-SL 3IE3", "DOM1"),
                disk("sdc", 4_000_787_030_016, "sata", "WDC WD40EFRX-68N32N0", "WD1").hdd(),
            ],
        ),
        machine("ssd-size-none-fits", &[("size", "= 500GB")], &[ssd("sda", "A1")]),
        machine(
            "ssd-model-two-fit",
            &[("model", "Micron_5300*")],
            &[ssd("sda", "A1"), ssd("sdb", "A2"), nvme("nvme0n1", "N1")],
        ),
        machine(
            "ssd-sas-by-transport",
            &[("transport", "sas"), ("type", "ssd")],
            &[sas("sda", "H1"), disk("sdb", 800 * GB, "sas", "PM1643", "P1")],
        ),
    ]
}

fn small_ones() -> Vec<Machine> {
    let emmc = || disk("mmcblk0", 62_537_072_640, "mmc", "", "0x3b2c1d0e");
    let boot = |n: u8| disk(&format!("mmcblk0boot{n}"), 4_194_304, "mmc", "", "").set("ro", json!(true));
    let usb_ssd = || disk("sda", 500_107_862_016, "usb", "PSSD T7", "S5SXNS0R7");
    vec![
        machine("emmc", &[], &[emmc(), boot(0), boot(1), boot_stick("sda")]).of("Intel", "NUC"),
        machine("emmc-by-type", &[("type", "emmc")], &[emmc(), boot(0), ssd("sda", "A1")]),
        machine(
            "emmc-at-its-end",
            &[],
            &[emmc().health(HealthStatus::Failing, "its spare blocks are used up (eMMC end of life)")],
        ),
        machine("sd-card-only", &[], &[disk("mmcblk0", 31_914_983_424, "mmc", "", "0x1").sd_card()]),
        machine("boot-stick-only", &[], &[boot_stick("sda")]),
        machine(
            "boot-stick-asked-for",
            &[("serial", "4C530001110824091392"), ("wipe", "4C530001110824091392")],
            &[boot_stick("sda")],
        ),
        machine("boot-cd-only", &[], &[boot_cd()]),
        machine(
            "config-stick-beside-a-disk",
            &[],
            &[
                disk("sda", 8 * GB, "usb", "DataTraveler", "K1")
                    .set("rm", json!(true))
                    .holds("vfat", "METALSTRAP"),
                ssd("sdb", "A1"),
            ],
        ),
        machine(
            "config-label-on-a-fixed-disk",
            &[],
            &[ssd("sda", "A1").table("gpt").child(part("sda1", GB, "vfat", "CIDATA"))],
        ),
        machine(
            "other-stick",
            &[],
            &[disk("sda", 8 * GB, "usb", "DataTraveler", "K1").set("rm", json!(true))],
        ),
        machine("usb-ssd", &[], &[usb_ssd()]),
        machine("usb-ssd-by-serial", &[("serial", "S5SXNS0R7")], &[usb_ssd()]),
        machine("usb-ssd-by-transport", &[("transport", "usb")], &[usb_ssd(), boot_stick("sdb")]),
        machine(
            "usb-ssd-kernel-argument",
            &[("transport", "usb"), ("kernel-disk", "S5SXNS0R7")],
            &[usb_ssd()],
        ),
        machine("no-disk", &[], &[]),
        machine(
            "floppy-ram-and-network-disks",
            &[],
            &[
                disk("fd0", 4096, "", "", ""),
                disk("zram0", GIB, "", "", ""),
                disk("ram0", GIB, "", "", ""),
                disk("nbd0", 100 * GIB, "", "", ""),
                disk("rbd0", 100 * GIB, "", "", ""),
                disk("zd0", 100 * GIB, "", "", ""),
            ],
        ),
        machine("disk-too-small", &[], &[disk("sda", 4 * GB, "sata", "SATADOM", "D1")]),
        machine(
            "read-only-dom",
            &[],
            &[disk("sda", 32 * GB, "sata", "SATADOM", "D1").set("ro", json!(true))],
        ),
    ]
}

fn virtual_ones() -> Vec<Machine> {
    let one = |transport: &str, kname: &str, model: &str, serial: &str| {
        vec![disk(kname, 20 * GIB, transport, model, serial), boot_cd()]
    };
    vec![
        machine("kvm-virtio", &[], &one("virtio", "vda", "", "MS-0001")).vm("kvm", Firmware::Bios),
        machine("kvm-virtio-no-serial", &[], &one("virtio", "vda", "", "")).vm("kvm", Firmware::Uefi),
        machine("kvm-virtio-scsi", &[("type", "virtual")], &one("", "sda", "QEMU HARDDISK", "drive-scsi0"))
            .vm("kvm", Firmware::Bios),
        machine("kvm-nvme", &[], &one("nvme", "nvme0n1", "QEMU NVMe Ctrl", "nvme-1"))
            .vm("kvm", Firmware::Uefi),
        machine("vmware-pvscsi", &[("type", "virtual")], &one("", "sda", "Virtual disk", ""))
            .vm("vmware", Firmware::Uefi),
        machine("virtualbox-sata", &[("type", "virtual")], &one("sata", "sda", "VBOX HARDDISK", "VB1-2"))
            .vm("oracle", Firmware::Bios),
        machine("hyper-v", &[("type", "virtual")], &one("", "sda", "Virtual Disk", "6002248"))
            .vm("microsoft", Firmware::Uefi),
        machine("xen", &[], &one("", "xvda", "", "")).vm("xen", Firmware::Bios),
        machine(
            "ec2-nvme",
            &[("model", "Amazon Elastic*")],
            &one("nvme", "nvme0n1", "Amazon Elastic Block Store", "vol0a1b"),
        )
        .vm("amazon", Firmware::Uefi),
        machine("gce", &[], &one("", "sda", "PersistentDisk", "persistent-disk-0"))
            .vm("google", Firmware::Uefi),
    ]
}

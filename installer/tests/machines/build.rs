//! How a machine is described: `lsblk` JSON for its disks, read by the real parser, and what the look at each disk would say.

use installer::inventory::{
    Cpu, Dmi, Firmware, Health, HealthStatus, INVENTORY_SCHEMA, InstallSummary, Inventory, Neighbour, Nic,
    Signature, Tpm, parse_disks,
};
use profiles::node::MacAddr;
use serde_json::{Value, json};
use uuid::Uuid;

pub const GB: u64 = 1_000_000_000;
pub const GIB: u64 = 1 << 30;

/// One block device, with what only a look at it tells.
#[derive(Clone)]
pub struct D {
    lsblk: Value,
    by_path: Option<String>,
    blank: bool,
    health: Health,
    unfinished: Option<Uuid>,
    record: Option<InstallSummary>,
    removable: bool,
    extra_holders: Vec<String>,
    extra_contents: Vec<String>,
}

/// A blank disk.
pub fn disk(kname: &str, size: u64, transport: &str, model: &str, serial: &str) -> D {
    let or_null = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    let minor = kname.bytes().map(u32::from).sum::<u32>();
    let lsblk = json!({
        "name": kname, "kname": kname, "path": format!("/dev/{kname}"), "maj:min": format!("8:{minor}"), "type": "disk",
        "size": size, "log-sec": 512, "phy-sec": 512, "rota": false, "rm": false, "ro": false, "tran": or_null(transport),
        "model": or_null(model), "serial": or_null(serial), "wwn": null, "fstype": null, "label": null, "pttype": null,
        "partlabel": null, "mountpoints": [null], "children": []
    });
    let virtual_ones =
        ["virtio", "xen"].contains(&transport) || model.contains("QEMU") || model.contains("irtual");
    let status =
        if virtual_ones || model.contains("VBOX") { HealthStatus::None } else { HealthStatus::Passed };
    D {
        lsblk,
        by_path: None,
        blank: true,
        health: Health { status, detail: None },
        unfinished: None,
        record: None,
        removable: false,
        extra_holders: Vec::new(),
        extra_contents: Vec::new(),
    }
}

impl D {
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.lsblk[key] = value;
        self
    }

    pub fn hdd(self) -> Self {
        self.set("rota", json!(true))
    }

    pub fn wwn(self, wwn: &str) -> Self {
        self.set("wwn", json!(wwn))
    }

    pub fn sectors(self, logical: u64, physical: u64) -> Self {
        self.set("log-sec", json!(logical)).set("phy-sec", json!(physical))
    }

    pub fn table(mut self, kind: &str) -> Self {
        self.blank = false;
        self.set("pttype", json!(kind))
    }

    /// A file system or member on the whole disk.
    pub fn holds(mut self, kind: &str, label: &str) -> Self {
        self.blank = false;
        self = self.set("fstype", json!(kind));
        if label.is_empty() { self } else { self.set("label", json!(label)) }
    }

    pub fn mounted(self, target: &str) -> Self {
        self.set("mountpoints", json!([target]))
    }

    /// A device inside or on top.
    pub fn child(mut self, child: D) -> Self {
        self.blank = false;
        if let Some(children) = self.lsblk["children"].as_array_mut() {
            children.push(child.lsblk);
        }
        self
    }

    /// Bytes that are not zero and that nobody knows.
    pub fn noise(mut self) -> Self {
        self.blank = false;
        self
    }

    /// What the look at the bytes adds.
    pub fn seen(mut self, kind: &str) -> Self {
        self.blank = false;
        self.extra_contents.push(kind.to_owned());
        self
    }

    pub fn held(mut self, by: &str) -> Self {
        self.extra_holders.push(by.to_owned());
        self
    }

    pub fn at(mut self, by_path: &str) -> Self {
        self.by_path = Some(by_path.to_owned());
        self
    }

    pub fn health(mut self, status: HealthStatus, detail: &str) -> Self {
        self.health = Health { status, detail: (!detail.is_empty()).then(|| detail.to_owned()) };
        self
    }

    pub fn unfinished(mut self) -> Self {
        self.blank = false;
        self.unfinished = Some(Uuid::from_u128(7));
        self
    }

    pub fn installed(mut self, cluster: &str, hostname: &str) -> Self {
        self.blank = false;
        self.record = Some(InstallSummary {
            install_id: Uuid::from_u128(9),
            cluster: cluster.to_owned(),
            hostname: hostname.to_owned(),
            image: "0.1.0".to_owned(),
        });
        self
    }

    pub fn sd_card(mut self) -> Self {
        self.removable = true;
        self
    }
}

/// A partition, with what is on it.
pub fn part(kname: &str, size: u64, fstype: &str, label: &str) -> D {
    let part = disk(kname, size, "", "", "").set("type", json!("part"));
    if fstype.is_empty() { part } else { part.holds(fstype, label) }
}

/// A device made of others: `lvm`, `raid1`, `mpath`, `crypt`, `dm`.
pub fn mapped(kname: &str, path: &str, kind: &str) -> D {
    disk(kname, GB, "", "", "").set("type", json!(kind)).set("path", json!(path))
}

/// The stick the live system was started from.
pub fn boot_stick(kname: &str) -> D {
    disk(kname, 15_376_318_464, "usb", "Ultra Fit", "4C530001110824091392")
        .set("rm", json!(true))
        .holds("iso9660", "METALSTRAP_ISO")
}

/// The same as a drive of a virtual machine or of a management processor.
pub fn boot_cd() -> D {
    disk("sr0", 355_467_264, "sata", "QEMU DVD-ROM", "QM00003")
        .set("type", json!("rom"))
        .holds("iso9660", "METALSTRAP_ISO")
}

/// A port, with its number as MAC.
pub fn nic(name: &str, number: u8, driver: &str, speed_mbit: Option<u32>) -> Nic {
    Nic {
        name: name.to_owned(),
        mac: Some(MacAddr([0x02, 0, 0, 0, 0x10, number])),
        driver: Some(driver.to_owned()),
        bus_path: Some(format!("pci0000:00/0000:00:1c.0/0000:{number:02x}:00.0")),
        carrier: Some(speed_mbit.is_some()),
        speed_mbit,
        master: None,
        neighbour: None,
        is_virtual: false,
    }
}

/// A bond or bridge.
pub fn virtual_nic(name: &str, number: u8) -> Nic {
    Nic { driver: None, bus_path: None, is_virtual: true, ..nic(name, number, "bonding", Some(25_000)) }
}

pub fn neighbour(system: &str, port: &str) -> Option<Neighbour> {
    Some(Neighbour { system: Some(system.to_owned()), port: Some(port.to_owned()), vlans: vec![10] })
}

/// One machine of the catalogue.
pub struct Machine {
    pub name: &'static str,
    /// `key value` pairs: those of `disk` in the cluster file, and `kernel-disk`, `kernel-wipe` for the kernel's arguments.
    pub words: Vec<(&'static str, &'static str)>,
    pub inventory: Inventory,
}

/// A server of 32 GiB with one port; `disks` go through the parser of `lsblk`.
pub fn machine(name: &'static str, words: &[(&'static str, &'static str)], disks: &[D]) -> Machine {
    let tree = json!({ "blockdevices": disks.iter().map(|d| d.lsblk.clone()).collect::<Vec<_>>() });
    let mut parsed = parse_disks(&tree.to_string()).unwrap();
    for found in &mut parsed {
        let look = disks.iter().find(|d| d.lsblk["path"] == json!(found.path)).unwrap();
        found.by_path.clone_from(&look.by_path);
        found.removable |= look.removable;
        found.holders.extend(look.extra_holders.iter().cloned());
        let place = found.path.clone();
        let seen = look.extra_contents.iter().map(|kind| Signature {
            kind: kind.clone(),
            label: None,
            place: place.clone(),
        });
        found.contents.extend(seen);
        if found.boot_medium || look.lsblk["type"] == json!("rom") {
            found.health = Health { status: HealthStatus::None, detail: None };
            continue;
        }
        found.health = look.health.clone();
        found.empty = look.blank && found.contents.is_empty();
        found.unfinished_install = look.unfinished;
        found.install_record.clone_from(&look.record);
    }
    parsed.sort_by(|a, b| a.path.cmp(&b.path));
    let inventory = Inventory {
        schema: INVENTORY_SCHEMA.to_owned(),
        cpu: Cpu {
            model: "Intel(R) Xeon(R) Silver 4314 CPU @ 2.40GHz".to_owned(),
            vendor: Some("GenuineIntel".to_owned()),
            sockets: Some(1),
            physical_cores: Some(16),
            level: Some("x86-64-v4".to_owned()),
            cores: 32,
            flags: ["aes", "avx2", "avx512f", "lm", "sse4_2", "vmx"].map(str::to_owned).to_vec(),
        },
        memory_mib: 31_842,
        firmware: Firmware::Uefi,
        secure_boot: Some(false),
        tpm: Some(Tpm { version: Some("2.0".to_owned()) }),
        dmi: Dmi {
            vendor: Some("Example".to_owned()),
            product: Some(name.to_owned()),
            serial: Some(format!("SN-{name}")),
            uuid: Some(Uuid::from_u128(0x4c4c_4544)),
        },
        virtualisation: None,
        disks: parsed,
        nics: vec![nic("eno1", 1, "igb", Some(1000))],
    };
    Machine { name, words: words.to_vec(), inventory }
}

impl Machine {
    pub fn of(mut self, vendor: &str, product: &str) -> Self {
        self.inventory.dmi.vendor = Some(vendor.to_owned());
        self.inventory.dmi.product = Some(product.to_owned());
        self
    }

    pub fn vm(mut self, kind: &str, firmware: Firmware) -> Self {
        self.inventory.virtualisation = Some(kind.to_owned());
        self.inventory.firmware = firmware;
        self.inventory.secure_boot = None;
        self.inventory.tpm = None;
        self
    }

    pub fn nics(mut self, nics: Vec<Nic>) -> Self {
        self.inventory.nics = nics;
        self
    }

    pub fn but(mut self, change: fn(&mut Inventory)) -> Self {
        change(&mut self.inventory);
        self
    }
}

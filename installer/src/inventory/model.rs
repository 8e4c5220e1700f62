//! The inventory as data: what one machine is made of. Serialised as `metalstrap.inventory/v1`.

use crate::plan::data::DataMark;
use profiles::node::{DiskKind, MacAddr};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Schema id of a serialised [`Inventory`].
pub const INVENTORY_SCHEMA: &str = "metalstrap.inventory/v1";

/// What one machine is made of, as far as the installer cares.
///
/// Strings come from firmware and from devices: untrusted bytes, to be printed through
/// [`sanitise`](super::sanitise) only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// Always [`INVENTORY_SCHEMA`].
    pub schema: String,
    /// Processors.
    pub cpu: Cpu,
    /// Usable memory (`MemTotal`) in MiB.
    pub memory_mib: u64,
    /// What started the machine.
    pub firmware: Firmware,
    /// Whether Secure Boot is on; `None` where there is no such thing or it cannot be read.
    pub secure_boot: Option<bool>,
    /// The security chip, if there is one.
    #[serde(default)]
    pub tpm: Option<Tpm>,
    /// What the firmware says the machine is.
    pub dmi: Dmi,
    /// Kind of virtual machine; `None` on bare metal.
    pub virtualisation: Option<String>,
    /// Disks and drives, by path.
    pub disks: Vec<Disk>,
    /// Ethernet interfaces, by name.
    pub nics: Vec<Nic>,
}

/// Processors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// Model name of the first one.
    pub model: String,
    /// Manufacturer, as in `GenuineIntel`.
    #[serde(default)]
    pub vendor: Option<String>,
    /// Number of sockets, where the kernel tells.
    #[serde(default)]
    pub sockets: Option<u32>,
    /// Number of cores without their threads, where the kernel tells.
    #[serde(default)]
    pub physical_cores: Option<u32>,
    /// Level of the instruction set, `x86-64-v1` to `x86-64-v4`.
    #[serde(default)]
    pub level: Option<String>,
    /// Number of logical processors.
    pub cores: u32,
    /// Those of its features that somebody asks about, sorted.
    pub flags: Vec<String>,
}

/// A trusted platform module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tpm {
    /// `1.2` or `2.0`, where the kernel tells.
    pub version: Option<String>,
}

/// What a disk says of itself (SMART, NVMe health, eMMC end of life).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Why it fails, or why it could not be looked at.
    pub detail: Option<String>,
}

/// What is known of the health of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It says that it is well.
    Passed,
    /// It says that it fails, or soon will.
    Failing,
    /// It has no way to say anything: a virtual disk, an optical drive.
    None,
    /// Nobody could look. Never the same as well.
    #[default]
    Unknown,
}

/// Who is at the other end of a cable, from LLDP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// Name of the switch.
    pub system: Option<String>,
    /// Its port.
    pub port: Option<String>,
    /// VLANs it tells of, in its order.
    #[serde(default)]
    pub vlans: Vec<u16>,
}

/// What started the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// PC BIOS, or UEFI in its compatibility mode.
    Bios,
    /// UEFI.
    Uefi,
}

/// SMBIOS strings of the machine; placeholders such as `To be filled by O.E.M.` are left as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dmi {
    /// Manufacturer.
    pub vendor: Option<String>,
    /// Product name.
    pub product: Option<String>,
    /// System serial number.
    pub serial: Option<String>,
    /// System UUID.
    pub uuid: Option<Uuid>,
}

/// One disk or drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Device, such as `/dev/vda`. Changes from boot to boot; never an identity.
    pub path: String,
    /// The kernel's number for this very appearance of a disk (`diskseq`): never given twice in one boot, whatever the path. `None` in a
    /// saved inventory of another time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Names below `/dev/disk/by-id`, sorted.
    pub by_id: Vec<String>,
    /// Name below `/dev/disk/by-path`.
    pub by_path: Option<String>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Logical sector size in bytes.
    pub logical_sector_bytes: u64,
    /// Physical sector size in bytes.
    pub physical_sector_bytes: u64,
    /// True for turning disks.
    pub rotational: bool,
    /// `sata`, `nvme`, `usb`, `virtio`, …
    pub transport: Option<String>,
    /// True when the medium can be taken out, and for optical drives.
    pub removable: bool,
    /// True when it cannot be written.
    pub read_only: bool,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// World wide name.
    pub wwn: Option<String>,
    /// True when the live system was started from it, or it is a medium of ours.
    pub boot_medium: bool,
    /// What it says of its own health.
    #[serde(default)]
    pub health: Health,
    /// What uses it: mounts, swap, LVM, md, multipath, encryption, loop devices.
    pub holders: Vec<String>,
    /// What was found on it.
    pub contents: Vec<Signature>,
    /// True only when there is no signature, no partition, and nothing but zeros in the first and last 4 MiB and wherever a
    /// sample was taken between them.
    pub empty: bool,
    /// Id of an install of ours that began here and did not end.
    pub unfinished_install: Option<Uuid>,
    /// The system of ours that is installed here.
    pub install_record: Option<InstallSummary>,
    /// Whose data disk of ours it is. Says nothing about whether the data is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_mark: Option<DataMark>,
}

/// Something that was found on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// `gpt`, `ext4`, `LVM2_member`, …, or [`UNREADABLE`](super::UNREADABLE) when it could not be looked at.
    pub kind: String,
    /// Label of the file system or partition.
    pub label: Option<String>,
    /// Device it was found on.
    #[serde(rename = "where")]
    pub place: String,
}

/// What an install record says, shortened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallSummary {
    /// Identity of that install.
    pub install_id: Uuid,
    /// Cluster name.
    pub cluster: String,
    /// Host name.
    pub hostname: String,
    /// Version of the image.
    pub image: String,
}

/// One Ethernet interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nic {
    /// Name in the live system.
    pub name: String,
    /// Permanent address.
    pub mac: Option<MacAddr>,
    /// Kernel driver.
    pub driver: Option<String>,
    /// Place in the machine, such as `pci0000:00/0000:00:03.0`.
    pub bus_path: Option<String>,
    /// Whether a cable is in; `None` while the interface is down.
    pub carrier: Option<bool>,
    /// Speed in Mbit/s.
    pub speed_mbit: Option<u32>,
    /// The bond or bridge it is part of in the live system.
    #[serde(default)]
    pub master: Option<String>,
    /// Who is at the other end of the cable, where LLDP tells.
    #[serde(default)]
    pub neighbour: Option<Neighbour>,
    /// True for bridges, bonds, tunnels and the like, which never identify a machine.
    pub is_virtual: bool,
}

/// How the disks of hypervisors call themselves where the transport does not tell.
const VIRTUAL_MODELS: [&str; 8] = [
    "QEMU HARDDISK",
    "VBOX HARDDISK",
    "VMware Virtual",
    "Virtual disk",
    "Virtual Disk",
    "Virtual_Disk",
    "PersistentDisk",
    "BHYVE",
];

impl Disk {
    /// What it is, in the words of the cluster file.
    pub fn kind(&self) -> DiskKind {
        let model = self.model.as_deref().unwrap_or_default();
        match self.transport.as_deref() {
            Some("nvme") => DiskKind::Nvme,
            Some("mmc") => DiskKind::Emmc,
            Some("virtio" | "xen") => DiskKind::Virtual,
            _ if VIRTUAL_MODELS.iter().any(|prefix| model.starts_with(prefix)) => DiskKind::Virtual,
            _ if self.rotational => DiskKind::Hdd,
            _ => DiskKind::Ssd,
        }
    }
}

impl Inventory {
    /// The interfaces that are real ports.
    pub fn ports(&self) -> impl Iterator<Item = &Nic> {
        self.nics.iter().filter(|nic| !nic.is_virtual)
    }

    /// Whether a disk carries the record of this install. An id that no disk has any more is that of one that was made again.
    pub fn has_install(&self, id: Uuid) -> bool {
        self.disks.iter().any(|disk| disk.install_record.as_ref().is_some_and(|r| r.install_id == id))
    }
}

/// Why a text is no inventory.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// Not JSON of this form.
    #[error("the inventory is not readable")]
    Form(#[source] serde_json::Error),
    /// Another schema.
    #[error("the inventory has the schema {0:?}, expected \"{INVENTORY_SCHEMA}\"")]
    Schema(String),
}

/// Reads a serialised inventory.
///
/// # Errors
/// Wrong form or wrong schema.
pub fn parse_inventory(text: &str) -> Result<Inventory, InventoryError> {
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    let head: Head = serde_json::from_str(text).map_err(InventoryError::Form)?;
    if head.schema != INVENTORY_SCHEMA {
        return Err(InventoryError::Schema(head.schema));
    }
    serde_json::from_str(text).map_err(InventoryError::Form)
}

//! The inventory as data: what one machine is made of. Serialised as `metalstrap.inventory/v1`.

use profiles::node::MacAddr;
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
    /// Number of logical processors.
    pub cores: u32,
    /// Those of its features that somebody asks about, sorted.
    pub flags: Vec<String>,
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
    /// What uses it: mounts, LVM, md, encryption.
    pub holders: Vec<String>,
    /// What was found on it.
    pub contents: Vec<Signature>,
    /// True only when there is no signature, no partition, and the first and last MiB hold nothing but zeros.
    pub empty: bool,
    /// Id of an install of ours that began here and did not end.
    pub unfinished_install: Option<Uuid>,
    /// The system of ours that is installed here.
    pub install_record: Option<InstallSummary>,
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
    /// True for bridges, bonds, tunnels and the like, which never identify a machine.
    pub is_virtual: bool,
}

impl Inventory {
    /// The interfaces that are real ports.
    pub fn ports(&self) -> impl Iterator<Item = &Nic> {
        self.nics.iter().filter(|nic| !nic.is_virtual)
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

//! The `disk` table of a node, as the operator writes it.

use crate::disk::{DiskKind, DiskSelector, DiskTransport, SizeRange};
use crate::format;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which disk may be taken. All given keys must fit the same disk, and exactly one eligible disk must be left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiskTable {
    /// Serial number, exact.
    #[serde(default)]
    #[schemars(schema_with = "format::hardware_id")]
    pub serial: Option<String>,
    /// World wide name, exact.
    #[serde(default)]
    #[schemars(schema_with = "format::hardware_id")]
    pub wwn: Option<String>,
    /// Link in `/dev/disk/by-path`, with or without the folder; `*` stands for any characters, `?` for one. Example: `"pci-0000:00:17.0-ata-*"`.
    #[serde(default)]
    #[schemars(schema_with = "format::device_link")]
    pub by_path: Option<String>,
    /// Size: a lower bound, an upper bound or both, in decimal (`GB`) or binary (`GiB`) units. Example: `">= 100GB, < 2TB"`.
    #[serde(default)]
    #[schemars(schema_with = "format::size_range")]
    pub size: Option<SizeRange>,
    /// Model; `*` stands for any characters, `?` for one, and case counts. Example: `"Samsung SSD 8*"`.
    #[serde(default)]
    #[schemars(schema_with = "format::hardware_id")]
    pub model: Option<String>,
    /// What it is. `ssd` and `hdd` are neither NVMe, eMMC nor virtual.
    #[serde(default, rename = "type")]
    pub kind: Option<DiskKind>,
    /// How it is attached. A disk on USB is taken only when `"usb"` is given here, and never when it is removable.
    #[serde(default)]
    pub transport: Option<DiskTransport>,
    /// Serial number of the disk whose contents may be lost. Consent for that very disk. For a disk that has no serial number: its WWN;
    /// for one that has neither: its whole link, `/dev/disk/by-path/` and the name.
    #[serde(default)]
    #[schemars(schema_with = "format::hardware_id")]
    pub wipe: Option<String>,
}

impl DiskTable {
    /// The same for one machine.
    pub(super) fn selector(&self) -> DiskSelector {
        DiskSelector {
            serial: self.serial.clone(),
            wwn: self.wwn.clone(),
            by_path: self.by_path.clone(),
            size: self.size.clone(),
            model: self.model.clone(),
            kind: self.kind,
            transport: self.transport,
            wipe: self.wipe.clone(),
        }
    }
}

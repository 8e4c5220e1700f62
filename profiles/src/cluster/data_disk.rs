//! The `data_disks` of a node, as the operator writes them.

use super::disk_table::DiskTable;
use crate::format;
use crate::node::DataDisk;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One more disk of the node, with one ext4 on it that is mounted in one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataDiskEntry {
    /// Where it is mounted: a folder below `/var/lib`. Example: `"/var/lib/rancher"`, where k3s keeps everything.
    #[schemars(schema_with = "format::data_mount")]
    pub mount: String,
    /// Which disk may be taken, in the words of the system disk. Left out: the one eligible disk that is not the system disk.
    #[serde(default)]
    pub disk: DiskTable,
    /// Keep what is on it when an earlier install of this very node made it for this place. With `false` such a disk counts as one that
    /// holds data, and `disk.wipe` has to name it before it is made anew.
    #[serde(default = "default_keep")]
    pub keep: bool,
}

impl DataDiskEntry {
    /// The same for one machine.
    pub(super) fn resolved(&self) -> DataDisk {
        DataDisk { mount: self.mount.clone(), disk: self.disk.selector(), keep: self.keep }
    }
}

fn default_keep() -> bool {
    true
}

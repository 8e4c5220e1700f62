//! The install plan as data: what will be done, in which order, with which bytes. Serialised as `metalstrap.plan/v1`.

use super::boot::Slot;
use super::data::PlannedDataDisk;
use super::ids::InstallIds;
use super::layout::{ByteRange, Layout};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Schema id of a serialised [`InstallPlan`].
pub const PLAN_SCHEMA: &str = "metalstrap.plan/v1";

/// Everything an install will do to one machine. Made only by [`plan_install`](super::plan_install).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallPlan {
    /// Always [`PLAN_SCHEMA`].
    pub schema: String,
    /// The node the machine becomes.
    pub node: PlannedNode,
    /// The image that is installed; `None` when the plan is made away from a medium.
    pub image: Option<PlannedImage>,
    /// The system disk. It and the data disks are all that is written to.
    pub disk: PlannedDisk,
    /// The data disks, by mount point: a folder comes before what is mounted below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_disks: Vec<PlannedDataDisk>,
    /// Identities of this install.
    pub ids: InstallIds,
    /// Partition table.
    pub layout: Layout,
    /// What is done, in order.
    pub phases: Vec<Phase>,
    /// Files that are rendered for this node, sorted by path.
    pub files: Vec<PlannedFile>,
    /// Units enabled on the node, sorted.
    pub units_enabled: Vec<String>,
    /// Units masked on the node, sorted.
    pub units_masked: Vec<String>,
    /// What the operator should know and what does not stop the install.
    pub warnings: Vec<String>,
}

impl InstallPlan {
    /// All steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.phases.iter().flat_map(|phase| &phase.steps)
    }

    /// The data disk for a mount point.
    pub fn data_disk(&self, mount: &str) -> Option<&PlannedDataDisk> {
        self.data_disks.iter().find(|data| data.mount == mount)
    }
}

/// The node the machine becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedNode {
    /// Cluster name.
    pub cluster: String,
    /// Host name.
    pub hostname: String,
    /// Role.
    pub role: String,
    /// Address on the cluster network.
    pub address: Option<String>,
    /// Its network in words, one line for each link.
    pub interfaces: Vec<String>,
}

/// The image that is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedImage {
    /// Version.
    pub version: String,
    /// Build id.
    pub build_id: String,
    /// Kernel release.
    pub kernel: String,
    /// k3s version.
    pub k3s: Option<String>,
    /// True when that k3s is the project's test double.
    pub double: bool,
}

/// A disk that is written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedDisk {
    /// Device path.
    pub path: String,
    /// Serial number, as far as the disk has one.
    pub serial: String,
    /// Stable name below `/dev/disk/by-id`.
    pub by_id: Option<String>,
    /// The kernel's number for this appearance of the disk; what is written to must have it. `None` where nobody looked at a kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Model.
    pub model: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Logical sector size in bytes.
    pub sector_bytes: u64,
    /// Why this disk and no other.
    pub reason: String,
}

/// A named group of steps; one line on the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name.
    pub name: String,
    /// Steps in order.
    pub steps: Vec<Step>,
}

/// A file that is rendered for this node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFile {
    /// Path on the node.
    pub path: String,
    /// Mode in octal, as in `0644`.
    pub mode: String,
    /// True when it holds a secret: then neither length nor hash is shown.
    pub secret: bool,
    /// Length in bytes.
    pub length: Option<u64>,
    /// sha256 in hex.
    pub sha256: Option<String>,
}

/// Where a file of the ESP comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case", deny_unknown_fields)]
pub enum EspSource {
    /// A file beside `root.squashfs` on the medium.
    Medium {
        /// Its name.
        name: String,
    },
    /// A file of the running root image.
    Image {
        /// Its path.
        path: String,
    },
    /// Text made by the plan itself.
    Text {
        /// The text.
        text: String,
    },
    /// GRUB's boot state.
    BootState {},
}

/// One effect. The names are part of the plan's schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Look again: is the disk still the one that was chosen, and is it nobody else's?
    CheckDisk {},
    /// Does the image have every unit that the node enables?
    CheckUnits {},
    /// Are all files of the medium there, with the right length and hash?
    CheckMedium {
        /// Names beside `root.squashfs`.
        names: Vec<String>,
    },
    /// Are all artefacts there, with the right length and hash?
    CheckArtifacts {
        /// Their names.
        names: Vec<String>,
    },
    /// Look again at a data disk: nobody else's, and when it is kept, really the one that was made for this place?
    CheckDataDisk {
        /// Its mount point.
        mount: String,
    },
    /// Write the unfinished mark of a new data disk.
    WriteDataMark {
        /// Its mount point.
        mount: String,
        /// Where.
        at: ByteRange,
    },
    /// Overwrite what is at the places of a new data disk where somebody would look for a system or for data.
    EraseData {
        /// Its mount point.
        mount: String,
        /// What is overwritten with zeros.
        ranges: Vec<ByteRange>,
    },
    /// Write the partition table of a new data disk.
    WriteDataTable {
        /// Its mount point.
        mount: String,
    },
    /// Wait until the kernel shows the partitions of a data disk.
    WaitDataPartitions {
        /// Its mount point.
        mount: String,
    },
    /// Make the ext4 of a new data disk.
    MakeDataFs {
        /// Its mount point.
        mount: String,
        /// File system UUID.
        uuid: Uuid,
    },
    /// Replay the journal of a data disk that is kept, and repair what is safe to repair.
    RepairData {
        /// Its mount point.
        mount: String,
    },
    /// Mount a data disk below the state, so that files go where the node will look for them.
    OpenData {
        /// Its mount point.
        mount: String,
    },
    /// Read table, marks and file system id of a data disk back.
    VerifyData {
        /// Its mount point.
        mount: String,
    },
    /// Say on a new data disk whose data it holds, then remove its unfinished mark.
    FinishData {
        /// Its mount point.
        mount: String,
    },
    /// Write the unfinished mark. The first write.
    WriteMark {
        /// Install id in the mark.
        install: Uuid,
        /// Where.
        at: ByteRange,
    },
    /// Overwrite what an earlier system could be started from.
    Erase {
        /// What is overwritten with zeros.
        ranges: Vec<ByteRange>,
    },
    /// Write the partition table.
    WriteTable {},
    /// Wait until the kernel shows all partitions.
    WaitPartitions {},
    /// Make the FAT of the ESP.
    MakeEsp {
        /// Volume id.
        volume: String,
    },
    /// Make the ext4 of the state.
    MakeState {
        /// File system UUID.
        uuid: Uuid,
    },
    /// Measure how long the new file system takes to sync small writes, as etcd makes them: into a file that is removed again.
    MeasureSync {},
    /// Copy the root image into a slot, hashing what is read.
    CopyRoot {
        /// Slot.
        slot: Slot,
        /// Length in bytes.
        length: Option<u64>,
        /// sha256 in hex.
        sha256: Option<String>,
    },
    /// Read the slot back from the disk, past the cache, and compare.
    VerifyRoot {
        /// Slot.
        slot: Slot,
        /// Length in bytes.
        length: Option<u64>,
        /// sha256 in hex.
        sha256: Option<String>,
    },
    /// Make the folders of the state and fill `/var` from the slot that was just verified.
    SeedState {
        /// Slot.
        slot: Slot,
    },
    /// Write the rendered files.
    WriteFiles {
        /// How many.
        count: u64,
    },
    /// Enable and mask units.
    LinkUnits {},
    /// Copy one artefact into the state and read it back.
    CopyArtifact {
        /// Name in the pins.
        name: String,
        /// Where it lies in the image.
        path: String,
        /// Where it goes on the node.
        install_to: String,
        /// Length in bytes.
        length: u64,
        /// sha256 in hex.
        sha256: String,
    },
    /// Sync and let go of the state.
    CloseState {},
    /// Make the folders of the ESP.
    EspFolders {
        /// Paths.
        folders: Vec<String>,
    },
    /// Write one file of the ESP.
    EspFile {
        /// Path.
        path: String,
        /// Where it comes from.
        source: EspSource,
        /// Length in bytes, when known.
        length: Option<u64>,
        /// sha256 in hex, when known.
        sha256: Option<String>,
    },
    /// Give the UEFI loader the name that firmware looks for.
    RenameLoader {
        /// Path it was written under.
        from: String,
        /// Path firmware looks for.
        to: String,
    },
    /// Write GRUB's core image into the BIOS boot partition.
    WriteCoreImage {
        /// Modules in it.
        modules: Vec<String>,
        /// Where it looks for its configuration.
        prefix: String,
    },
    /// Write GRUB's boot code into the first sector.
    WriteBootCode {},
    /// Read the files and artefacts in the state back.
    VerifyState {},
    /// Read the boot files and the boot code back.
    VerifyBoot {},
    /// Read the partition table back.
    VerifyTable {},
    /// Write the install record: GRUB starts no slot without it. This commits the install.
    WriteRecord {},
    /// Remove the unfinished mark. The last write.
    RemoveMark {
        /// Where.
        at: ByteRange,
    },
}

impl Step {
    /// The name it has in the serialised plan.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CheckDisk {} => "check-disk",
            Self::CheckUnits {} => "check-units",
            Self::CheckMedium { .. } => "check-medium",
            Self::CheckArtifacts { .. } => "check-artifacts",
            Self::CheckDataDisk { .. } => "check-data-disk",
            Self::WriteDataMark { .. } => "write-data-mark",
            Self::EraseData { .. } => "erase-data",
            Self::WriteDataTable { .. } => "write-data-table",
            Self::WaitDataPartitions { .. } => "wait-data-partitions",
            Self::MakeDataFs { .. } => "make-data-fs",
            Self::RepairData { .. } => "repair-data",
            Self::OpenData { .. } => "open-data",
            Self::VerifyData { .. } => "verify-data",
            Self::FinishData { .. } => "finish-data",
            Self::WriteMark { .. } => "write-mark",
            Self::Erase { .. } => "erase",
            Self::WriteTable {} => "write-table",
            Self::WaitPartitions {} => "wait-partitions",
            Self::MakeEsp { .. } => "make-esp",
            Self::MakeState { .. } => "make-state",
            Self::MeasureSync {} => "measure-sync",
            Self::CopyRoot { .. } => "copy-root",
            Self::VerifyRoot { .. } => "verify-root",
            Self::SeedState { .. } => "seed-state",
            Self::WriteFiles { .. } => "write-files",
            Self::LinkUnits {} => "link-units",
            Self::CopyArtifact { .. } => "copy-artifact",
            Self::CloseState {} => "close-state",
            Self::EspFolders { .. } => "esp-folders",
            Self::EspFile { .. } => "esp-file",
            Self::RenameLoader { .. } => "rename-loader",
            Self::WriteCoreImage { .. } => "write-core-image",
            Self::WriteBootCode {} => "write-boot-code",
            Self::VerifyState {} => "verify-state",
            Self::VerifyBoot {} => "verify-boot",
            Self::VerifyTable {} => "verify-table",
            Self::WriteRecord {} => "write-record",
            Self::RemoveMark { .. } => "remove-mark",
        }
    }

    /// True when the step writes to the disk.
    pub const fn writes(&self) -> bool {
        !matches!(
            self,
            Self::CheckDisk {}
                | Self::CheckUnits {}
                | Self::CheckMedium { .. }
                | Self::CheckArtifacts { .. }
                | Self::CheckDataDisk { .. }
                | Self::WaitDataPartitions { .. }
                | Self::VerifyData { .. }
                | Self::WaitPartitions {}
                | Self::VerifyRoot { .. }
                | Self::VerifyState {}
                | Self::VerifyBoot {}
                | Self::VerifyTable {}
        )
    }
}

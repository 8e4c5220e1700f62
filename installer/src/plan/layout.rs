//! Where everything lies on the disk: the partition table of an installed node, to the sector.
//!
//! In: size and sector size of the disk, the identities. Out: a [`Layout`]. No I/O.

use super::data::{DATA_LABEL, DataIds, MARKS_LABEL};
use super::ids::InstallIds;
use profiles::disk::DATA_DISK_MIN_MIB;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use uuid::Uuid;

/// One MiB in bytes; every partition starts and ends on a multiple of it.
pub const MIB: u64 = 1024 * 1024;
/// Size of the BIOS boot partition. GRUB's core image needs about 160 KiB of it.
pub const BIOS_MIB: u64 = 1;
/// Size of the ESP: kernel and initrd of two slots are about 160 MiB with firmware.
pub const ESP_MIB: u64 = 512;
/// Size of one root slot: an image with all k3s artefacts is below 900 MiB.
pub const ROOT_MIB: u64 = 1536;
/// Least size of the state partition that is worth an install.
pub const STATE_MIN_MIB: u64 = 1024;
/// Least size of a disk: everything above, the first MiB and the backup table.
pub const DISK_MIN_MIB: u64 = 1 + BIOS_MIB + ESP_MIB + 2 * ROOT_MIB + STATE_MIN_MIB + 1;
/// Where the unfinished mark starts: the last 4096 bytes of the BIOS boot partition.
pub const MARK_OFFSET: u64 = 2 * MIB - MARK_LENGTH;
/// Length of the unfinished mark: one sector of a 4096-byte disk.
pub const MARK_LENGTH: u64 = 4096;
/// Label of the BIOS boot partition, whose end is the unfinished mark.
pub const BIOS_LABEL: &str = "metalstrap-bios";

/// GPT type of a BIOS boot partition.
const TYPE_BIOS: &str = "21686148-6449-6E6F-744E-656564454649";
/// GPT type of an EFI system partition.
const TYPE_ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
/// GPT type of plain Linux data. Not the root or var type: systemd's gpt-auto would mount those by itself.
const TYPE_LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
/// Bytes of the GPT entry array (128 entries of 128 bytes).
const GPT_ARRAY_BYTES: u64 = 128 * 128;

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionRole {
    /// GRUB's core image for BIOS.
    Bios,
    /// EFI system partition.
    Esp,
    /// Root slot a.
    RootA,
    /// Root slot b.
    RootB,
    /// State.
    State,
    /// The marks of a data disk.
    Marks,
    /// The file system of a data disk.
    Data,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Number, from 1.
    pub number: u32,
    /// What it is for.
    pub role: PartitionRole,
    /// GPT label.
    pub label: String,
    /// GPT type GUID.
    pub type_guid: String,
    /// PARTUUID.
    pub guid: Uuid,
    /// First sector.
    pub first_lba: u64,
    /// Last sector, included.
    pub last_lba: u64,
    /// First byte.
    pub offset_bytes: u64,
    /// Length in bytes.
    pub length_bytes: u64,
}

/// The partition table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// GUID of the table.
    pub disk_guid: Uuid,
    /// Logical sector size in bytes: 512 or 4096.
    pub sector_bytes: u64,
    /// Size of the disk in bytes.
    pub disk_bytes: u64,
    /// The partitions in the order of their numbers.
    pub partitions: Vec<Partition>,
}

/// A range of bytes on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByteRange {
    /// First byte.
    pub offset_bytes: u64,
    /// Length in bytes.
    pub length_bytes: u64,
}

/// Why a disk cannot hold the layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Neither 512 nor 4096 bytes.
    #[error("the disk has sectors of {0} bytes; 512 and 4096 are supported")]
    SectorSize(u64),
    /// No room.
    #[error("the disk has {have_mib} MiB, the layout needs {need_mib} MiB")]
    TooSmall {
        /// Size of the disk.
        have_mib: u64,
        /// Size needed.
        need_mib: u64,
    },
}

impl Layout {
    /// Computes the table for a disk of this size.
    ///
    /// # Errors
    /// A sector size that is not supported, or a disk that is too small.
    pub fn compute(disk_bytes: u64, sector_bytes: u64, ids: &InstallIds) -> Result<Self, LayoutError> {
        if !matches!(sector_bytes, 512 | 4096) {
            return Err(LayoutError::SectorSize(sector_bytes));
        }
        if disk_bytes < DISK_MIN_MIB * MIB {
            return Err(LayoutError::TooSmall { have_mib: disk_bytes / MIB, need_mib: DISK_MIN_MIB });
        }
        let wanted = [
            (PartitionRole::Bios, BIOS_LABEL, TYPE_BIOS, ids.bios, BIOS_MIB * MIB),
            (PartitionRole::Esp, "metalstrap-esp", TYPE_ESP, ids.esp, ESP_MIB * MIB),
            (PartitionRole::RootA, "metalstrap-root-a", TYPE_LINUX, ids.root_a, ROOT_MIB * MIB),
            (PartitionRole::RootB, "metalstrap-root-b", TYPE_LINUX, ids.root_b, ROOT_MIB * MIB),
            (PartitionRole::State, "metalstrap-state", TYPE_LINUX, ids.state, 0),
        ];
        Ok(Self::place(disk_bytes, sector_bytes, ids.disk, &wanted))
    }

    /// Computes the table of a data disk.
    ///
    /// # Errors
    /// As [`compute`](Self::compute).
    pub fn compute_data(disk_bytes: u64, sector_bytes: u64, ids: &DataIds) -> Result<Self, LayoutError> {
        if !matches!(sector_bytes, 512 | 4096) {
            return Err(LayoutError::SectorSize(sector_bytes));
        }
        if disk_bytes < DATA_DISK_MIN_MIB * MIB {
            return Err(LayoutError::TooSmall { have_mib: disk_bytes / MIB, need_mib: DATA_DISK_MIN_MIB });
        }
        let wanted = [
            (PartitionRole::Marks, MARKS_LABEL, TYPE_LINUX, ids.marks, MIB),
            (PartitionRole::Data, DATA_LABEL, TYPE_LINUX, ids.data, 0),
        ];
        Ok(Self::place(disk_bytes, sector_bytes, ids.disk, &wanted))
    }

    /// Puts the partitions one behind the other; length 0 takes the rest.
    fn place(
        disk_bytes: u64,
        sector_bytes: u64,
        disk_guid: Uuid,
        wanted: &[(PartitionRole, &str, &str, Uuid, u64)],
    ) -> Self {
        // The backup table takes the last sector and the entry array before it; the last partition ends on the MiB before that.
        let usable_end = disk_bytes / sector_bytes * sector_bytes - sector_bytes - GPT_ARRAY_BYTES;
        let mut offset = MIB;
        let mut partitions = Vec::with_capacity(wanted.len());
        for (number, &(role, label, type_guid, guid, length)) in (1..).zip(wanted) {
            let length_bytes = if length == 0 { usable_end / MIB * MIB - offset } else { length };
            partitions.push(Partition {
                number,
                role,
                label: label.to_owned(),
                type_guid: type_guid.to_owned(),
                guid,
                first_lba: offset / sector_bytes,
                last_lba: (offset + length_bytes) / sector_bytes - 1,
                offset_bytes: offset,
                length_bytes,
            });
            offset += length_bytes;
        }
        Self { disk_guid, sector_bytes, disk_bytes, partitions }
    }

    /// The partition of this role. Every layout of a system disk has all five of them.
    pub fn partition(&self, role: PartitionRole) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.role == role)
    }

    /// The places of boot code and both partition tables.
    pub fn table_ranges(&self) -> [ByteRange; 2] {
        let tail = (self.disk_bytes - MIB) / MIB * MIB;
        [
            ByteRange { offset_bytes: 0, length_bytes: MIB },
            ByteRange { offset_bytes: tail, length_bytes: self.disk_bytes - tail },
        ]
    }

    /// What is wiped before the new table is written, so that a cut of power between the two leaves nothing of an
    /// earlier system that firmware or an installer could take for whole: boot code and both tables first, then the
    /// head of every new partition. The unfinished mark is spared.
    pub fn erase_ranges(&self) -> Vec<ByteRange> {
        let range = |offset_bytes, length_bytes| ByteRange { offset_bytes, length_bytes };
        let mut ranges = self.table_ranges().to_vec();
        ranges.push(range(MIB, MARK_OFFSET - MIB));
        ranges.extend(self.partitions.iter().skip(1).map(|p| range(p.offset_bytes, MIB)));
        ranges
    }

    /// Input of `sfdisk` for this table.
    pub fn sfdisk_script(&self) -> String {
        let guid = |id: Uuid| id.hyphenated().to_string().to_uppercase();
        let mut script = format!(
            "label: gpt\nlabel-id: {}\nunit: sectors\nsector-size: {}\n\n",
            guid(self.disk_guid),
            self.sector_bytes
        );
        for p in &self.partitions {
            // Writing to a String cannot fail.
            let _ = writeln!(
                script,
                "{} : start={}, size={}, type={}, uuid={}, name=\"{}\"",
                p.number,
                p.first_lba,
                p.last_lba - p.first_lba + 1,
                p.type_guid,
                guid(p.guid),
                p.label
            );
        }
        script
    }
}

#[cfg(test)]
mod tests {
    use super::{DISK_MIN_MIB, Layout, LayoutError, MARK_OFFSET, MIB, PartitionRole};
    use crate::plan::ids::InstallIds;

    fn layout(disk_bytes: u64, sector_bytes: u64) -> Result<Layout, LayoutError> {
        Layout::compute(disk_bytes, sector_bytes, &InstallIds::for_plan("lab", "n", "S"))
    }

    #[test]
    fn sectors_are_exact_for_both_sector_sizes() {
        let spans = |sector| {
            let layout = layout(16 * 1024 * MIB, sector).unwrap();
            layout
                .partitions
                .iter()
                .map(|p| format!("{}-{}", p.first_lba, p.last_lba))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(spans(512), "2048-4095 4096-1052671 1052672-4198399 4198400-7344127 7344128-33552383");
        assert_eq!(spans(4096), "256-511 512-131583 131584-524799 524800-918015 918016-4194047");
    }

    #[test]
    fn the_smallest_disk_fits_and_one_sector_less_does_not() {
        assert!(layout(DISK_MIN_MIB * MIB, 512).is_ok());
        assert_eq!(
            layout(DISK_MIN_MIB * MIB - 512, 512).unwrap_err().to_string(),
            "the disk has 4610 MiB, the layout needs 4611 MiB"
        );
        assert_eq!(
            layout(1 << 40, 520).unwrap_err().to_string(),
            "the disk has sectors of 520 bytes; 512 and 4096 are supported"
        );
    }

    #[test]
    fn partitions_follow_each_other_and_leave_room_for_the_backup_table() {
        for disk in [DISK_MIN_MIB * MIB, 5_000_000_512, 16 * 1024 * MIB + 7 * 512, 4 << 40] {
            for sector in [512, 4096] {
                let layout = layout(disk, sector).unwrap();
                for pair in layout.partitions.windows(2) {
                    assert_eq!(pair[0].last_lba + 1, pair[1].first_lba);
                }
                let state = layout.partition(PartitionRole::State).unwrap();
                let last_usable = disk / sector - 1 - 16384 / sector - 1;
                assert!(state.last_lba <= last_usable, "{disk} {sector}");
                assert!(state.length_bytes >= 1023 * MIB);
            }
        }
    }

    #[test]
    fn erasing_stays_on_the_disk_and_spares_the_mark() {
        for disk in [DISK_MIN_MIB * MIB, 5_000_000_512, 16 * 1024 * MIB + 7 * 512] {
            for r in layout(disk, 512).unwrap().erase_ranges() {
                let end = r.offset_bytes + r.length_bytes;
                assert!(end <= disk, "{r:?}");
                assert!(end <= MARK_OFFSET || r.offset_bytes >= 2 * MIB, "{r:?}");
            }
        }
    }
}

//! Data disks: their identities, their table and the block that says whose data it is. Pure.
//!
//! A data disk has two partitions: 1 MiB for the marks, and one ext4 with the rest. Its identities follow from the install that made it and
//! from the mount point, so that a later install of the same node can prove that the table is still the one that was written.

use super::PlannedDisk;
use super::layout::{Layout, LayoutError, MARK_LENGTH, MARK_OFFSET};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// First words of the data mark; JSON follows.
const DATA_MARK_HEAD: &str = "METALSTRAP DATA v1 ";

/// Where the data mark starts: right before the place of the unfinished mark.
pub const DATA_MARK_OFFSET: u64 = MARK_OFFSET - MARK_LENGTH;

/// The data mark fits one sector of the smallest kind, so that a cut of power leaves either none or a whole one.
const DATA_MARK_MAX: usize = 512;

/// Label of the partition for the marks.
pub const MARKS_LABEL: &str = "metalstrap-marks";

/// Label of the partition with the file system.
pub const DATA_LABEL: &str = "metalstrap-data";

/// Whose data lies on a disk. Written when the disk is whole, and never changed while its data is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataMark {
    /// The install that made the file system; the identities of the disk follow from it.
    pub install: Uuid,
    /// Cluster name.
    pub cluster: String,
    /// Host name.
    pub hostname: String,
    /// Role the node had.
    pub role: String,
    /// Where it is mounted.
    pub mount: String,
}

impl DataMark {
    /// The block as it is written; `None` when a name is longer than any that the validation lets through.
    pub fn render(&self) -> Option<Vec<u8>> {
        let mut block = format!("{DATA_MARK_HEAD}{}\n", serde_json::to_string(self).ok()?).into_bytes();
        (block.len() <= DATA_MARK_MAX).then(|| {
            block.resize(usize::try_from(MARK_LENGTH).unwrap_or(4096), 0);
            block
        })
    }

    /// Reads a mark back; `None` when the block is anything else.
    pub fn parse(block: &[u8]) -> Option<Self> {
        let line = block.get(..block.len().min(DATA_MARK_MAX))?.split(|b| *b == b'\n').next()?;
        serde_json::from_str(std::str::from_utf8(line).ok()?.strip_prefix(DATA_MARK_HEAD)?).ok()
    }

    /// Whether it speaks of the same node, role and place, whichever install made it.
    pub fn is_same_place(&self, other: &Self) -> bool {
        (&self.cluster, &self.hostname, &self.role, &self.mount)
            == (&other.cluster, &other.hostname, &other.role, &other.mount)
    }
}

/// The identities of a data disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataIds {
    /// GUID of the partition table.
    pub disk: Uuid,
    /// PARTUUID of the partition for the marks.
    pub marks: Uuid,
    /// PARTUUID of the partition with the file system.
    pub data: Uuid,
    /// UUID of the ext4.
    pub fs: Uuid,
}

impl DataIds {
    /// The identities that an install gives to the disk for one mount point.
    pub fn new(install: Uuid, mount: &str) -> Self {
        let derived = |name: &str| Uuid::new_v5(&install, format!("data\n{mount}\n{name}").as_bytes());
        Self { disk: derived("disk"), marks: derived("marks"), data: derived("data"), fs: derived("fs") }
    }
}

/// A data disk that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataChoice {
    /// Where it is mounted.
    pub mount: String,
    /// The disk.
    pub disk: PlannedDisk,
    /// The mark on it, when its data is kept.
    pub kept: Option<DataMark>,
}

/// What becomes of one data disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedDataDisk {
    /// Where it is mounted on the node.
    pub mount: String,
    /// The disk.
    pub disk: PlannedDisk,
    /// True when the file system on it is kept; false when everything on the disk is lost.
    pub keep: bool,
    /// The mark that it has, or will have.
    pub mark: DataMark,
    /// Identities.
    pub ids: DataIds,
    /// Partition table.
    pub layout: Layout,
}

impl PlannedDataDisk {
    /// Computes identities and table. `mark` is what a new disk will carry.
    ///
    /// # Errors
    /// The disk cannot hold the table.
    pub(super) fn new(choice: &DataChoice, mark: DataMark) -> Result<Self, LayoutError> {
        let mark = choice.kept.clone().unwrap_or(mark);
        let ids = DataIds::new(mark.install, &choice.mount);
        let layout = Layout::compute_data(choice.disk.size_bytes, choice.disk.sector_bytes, &ids)?;
        let (mount, disk, keep) = (choice.mount.clone(), choice.disk.clone(), choice.kept.is_some());
        Ok(Self { mount, disk, keep, mark, ids, layout })
    }
}

/// Where k3s keeps etcd's log.
pub const ETCD_FOLDER: &str = "/var/lib/rancher/k3s/server/db";

/// The data disk that a folder lies on: of several, one below the other, the innermost. None when it lies on the state.
pub fn disk_below<'a>(disks: &'a [PlannedDataDisk], folder: &str) -> Option<&'a PlannedDataDisk> {
    let holds = |data: &&PlannedDataDisk| {
        folder.strip_prefix(data.mount.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    disks.iter().filter(holds).max_by_key(|data| data.mount.len())
}

#[cfg(test)]
mod tests {
    use super::{DATA_MARK_OFFSET, DataIds, DataMark};
    use crate::plan::layout::{Layout, LayoutError, MARK_OFFSET, MIB};
    use std::collections::BTreeSet;
    use uuid::Uuid;

    fn mark(name: &str, mount: &str) -> DataMark {
        DataMark {
            install: Uuid::from_u128(7),
            cluster: name.to_owned(),
            hostname: name.to_owned(),
            role: "master".to_owned(),
            mount: mount.to_owned(),
        }
    }

    #[test]
    fn reads_back_what_was_written_and_nothing_else() {
        // As long as the validation allows: two DNS labels and a mount point.
        let longest = mark(&"n".repeat(63), &format!("/var/lib/{}", "m".repeat(51)));
        let block = longest.render().unwrap();
        assert_eq!((block.len(), DataMark::parse(&block)), (4096, Some(longest)));
        assert!(block[512..].iter().all(|b| *b == 0));
        assert_eq!(mark(&"n".repeat(400), "/var/lib/x").render(), None);
        let good = String::from_utf8(mark("lab", "/var/lib/x").render().unwrap()).unwrap();
        for other in [
            String::new(),
            "\0".repeat(4096),
            good.replace("v1", "v2"),
            good.replace("\"mount\"", "\"mounts\""),
            good[..100].to_owned(),
        ] {
            assert_eq!(DataMark::parse(other.as_bytes()), None);
        }
    }

    #[test]
    fn identities_belong_to_one_install_and_one_place() {
        let all: BTreeSet<Uuid> = [(1, "/var/lib/a"), (1, "/var/lib/b"), (2, "/var/lib/a")]
            .iter()
            .flat_map(|(install, mount)| {
                let ids = DataIds::new(Uuid::from_u128(*install), mount);
                [ids.disk, ids.marks, ids.data, ids.fs]
            })
            .collect();
        assert_eq!(all.len(), 12);
    }

    #[test]
    fn the_table_leaves_the_marks_alone_and_takes_the_rest() {
        let ids = DataIds::new(Uuid::from_u128(1), "/var/lib/a");
        for sector in [512, 4096] {
            let layout = Layout::compute_data(1024 * MIB, sector, &ids).unwrap();
            let spans: Vec<_> = layout
                .partitions
                .iter()
                .map(|p| (p.number, p.label.as_str(), p.offset_bytes / MIB, p.length_bytes / MIB))
                .collect();
            assert_eq!(spans, [(1, "metalstrap-marks", 1, 1), (2, "metalstrap-data", 2, 1021)]);
            let marks = DATA_MARK_OFFSET..2 * MIB;
            assert_eq!(marks.end - marks.start, 8192);
            for range in layout.erase_ranges() {
                let end = range.offset_bytes + range.length_bytes;
                assert!(end <= MARK_OFFSET || range.offset_bytes >= 2 * MIB, "{range:?}");
                assert!(end <= 1024 * MIB);
            }
        }
        assert_eq!(
            Layout::compute_data(1023 * MIB, 512, &ids).unwrap_err(),
            LayoutError::TooSmall { have_mib: 1023, need_mib: 1024 }
        );
    }
}

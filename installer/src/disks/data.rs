//! Choosing the data disks, after the system disk: the same rule for each, and three more.
//!
//! The system disk is never one of them. A disk that holds data of this very node for this very place is the one, and no other is taken
//! instead of it, whatever keeps it from being taken. No disk serves two places.

use super::choose::{DiskOverrides, TargetDisk, choose_disk, pick};
use super::refusal::DiskRefusal;
use super::verdict::{DiskVerdict, describe, judge};
use super::wishes::{DataPurpose, Wishes};
use crate::inventory::{Disk, Inventory};
use crate::plan::data::DataMark;
use profiles::disk::DATA_DISK_MIN_MIB;
use profiles::node::{DataDisk, NodeConfig, Requirements};
use uuid::Uuid;

/// What a disk must have to be a data disk.
const NEEDS: Requirements = Requirements { memory_min_mib: 0, disk_min_mib: DATA_DISK_MIN_MIB };

/// A data disk that may be written to. Only [`choose_data_disks`] can make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataTarget {
    target: TargetDisk,
    mount: String,
    kept: Option<DataMark>,
    warnings: Vec<String>,
}

impl DataTarget {
    /// The disk.
    pub fn target(&self) -> &TargetDisk {
        &self.target
    }

    /// Where it is mounted.
    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// The mark on it, when its data is kept.
    pub fn kept(&self) -> Option<&DataMark> {
        self.kept.as_ref()
    }

    /// What the operator should know of it, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Chooses the data disks of a node.
///
/// # Errors
/// [`DiskRefusal`] that names the mount point, unless each has exactly one disk of its own.
pub fn choose_data_disks(
    inventory: &Inventory,
    system: &TargetDisk,
    node: &NodeConfig,
    overrides: &DiskOverrides,
) -> Result<Vec<DataTarget>, DiskRefusal> {
    let mut chosen: Vec<DataTarget> = Vec::new();
    for entry in &node.data_disks {
        let wishes = wishes(entry, system, node, overrides);
        let verdicts = judge(inventory, &wishes, &NEEDS);
        let target =
            choose_one(inventory, &wishes, verdicts.clone()).map_err(|e| e.for_data(&entry.mount))?;
        if let Some(other) = chosen.iter().find(|other| other.target.path() == target.path()) {
            let (first, second) = (other.mount.as_str(), entry.mount.as_str());
            return Err(DiskRefusal::claimed_twice(target.path(), first, second, verdicts));
        }
        let warnings = target.warnings().iter().cloned().chain(left_behind(inventory, &wishes, &target));
        chosen.push(DataTarget {
            mount: entry.mount.clone(),
            kept: target.disk().data_mark.clone().filter(|_| wishes.keeps(target.disk())),
            warnings: warnings.collect(),
            target,
        });
    }
    Ok(chosen)
}

/// The verdict over every disk for one data disk of a node.
pub fn judge_data_disk(
    inventory: &Inventory,
    system: &TargetDisk,
    node: &NodeConfig,
    entry: &DataDisk,
    overrides: &DiskOverrides,
) -> Vec<DiskVerdict> {
    judge(inventory, &wishes(entry, system, node, overrides), &NEEDS)
}

fn wishes(entry: &DataDisk, system: &TargetDisk, node: &NodeConfig, overrides: &DiskOverrides) -> Wishes {
    let mark = DataMark {
        install: Uuid::nil(),
        cluster: node.cluster.name.clone(),
        hostname: node.hostname.clone(),
        role: node.role.role().to_string(),
        mount: entry.mount.clone(),
    };
    let purpose = DataPurpose { mark, keep: entry.keep, system_disk: system.path().to_owned() };
    Wishes::for_data(&entry.disk, overrides, purpose)
}

/// The disk with the data of this node before any other.
fn choose_one(
    inventory: &Inventory,
    wishes: &Wishes,
    verdicts: Vec<DiskVerdict>,
) -> Result<TargetDisk, DiskRefusal> {
    let is_own = |disk: &&Disk| wishes.keeps(disk) && wishes.misfits(disk).is_empty();
    let own: Vec<&Disk> = inventory.disks.iter().filter(is_own).collect();
    match own.as_slice() {
        [] => pick(inventory, wishes, verdicts),
        [only] => {
            let (mine, others): (Vec<_>, Vec<_>) = verdicts.into_iter().partition(|v| v.path == only.path);
            match mine.first().and_then(|verdict| verdict.obstacle.clone()) {
                Some(obstacle) => {
                    Err(DiskRefusal::own_data(&obstacle, mine.into_iter().chain(others).collect()))
                }
                None => pick(inventory, wishes, mine),
            }
        }
        several => Err(DiskRefusal::own_data_twice(several.len(), verdicts)),
    }
}

/// Disks with data of this node for this place that nothing takes, in order of their paths.
fn left_behind(inventory: &Inventory, wishes: &Wishes, target: &TargetDisk) -> Vec<String> {
    let Some(DataPurpose { mark, system_disk, .. }) = wishes.data() else { return Vec::new() };
    let is_other =
        |disk: &&Disk| wishes.is_own_data(disk) && disk.path != target.path() && disk.path != *system_disk;
    let mut others: Vec<&Disk> = inventory.disks.iter().filter(is_other).collect();
    others.sort_by(|a, b| a.path.cmp(&b.path));
    let warn = |disk: &&Disk| {
        format!("{}: it holds data of this node for {} and is not taken", describe(disk), mark.mount)
    };
    others.iter().map(warn).collect()
}

/// All disks of a node that may be written to. Only [`choose_disks`] can make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDisks {
    system: TargetDisk,
    data: Vec<DataTarget>,
}

impl NodeDisks {
    /// The system disk.
    pub fn system(&self) -> &TargetDisk {
        &self.system
    }

    /// The data disks, in the order of the cluster file.
    pub fn data(&self) -> &[DataTarget] {
        &self.data
    }

    /// What the operator should know of them, one sentence each.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        self.system.warnings().iter().chain(self.data.iter().flat_map(|data| data.warnings()))
    }
}

/// Chooses the system disk, then the data disks.
///
/// # Errors
/// As [`choose_disk`] and [`choose_data_disks`].
pub fn choose_disks(
    inventory: &Inventory,
    node: &NodeConfig,
    overrides: &DiskOverrides,
) -> Result<NodeDisks, DiskRefusal> {
    let system = choose_disk(inventory, &node.disk, &node.requirements, overrides)?;
    let data = choose_data_disks(inventory, &system, node, overrides)?;
    Ok(NodeDisks { system, data })
}

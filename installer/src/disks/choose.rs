//! Choosing the one disk.

use super::refusal::DiskRefusal;
use super::verdict::{DiskVerdict, describe, judge};
use super::wishes::Wishes;
use crate::inventory::{Disk, Inventory};
use profiles::node::{DiskSelector, Requirements};
use uuid::Uuid;

/// What the kernel's arguments say about disks; stronger than the cluster file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskOverrides {
    /// `metalstrap.disk=SERIAL`: replaces the selector of the cluster file as a whole.
    pub serial: Option<String>,
    /// `metalstrap.wipe=SERIAL`: replaces `wipe` of the cluster file. For a disk without a serial number its WWN, without either its link.
    pub wipe: Option<String>,
    /// `metalstrap.reinstall=ID`: only the disk with the record of this install, whose contents are given up. An id is used once: the
    /// next install has another.
    pub reinstall: Option<Uuid>,
}

/// A disk that may be written to. Only [`choose_disk`] and [`choose_data_disks`](super::choose_data_disks) can make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetDisk {
    disk: Disk,
    reason: String,
    warnings: Vec<String>,
}

impl TargetDisk {
    /// What the inventory knows of it.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Device, such as `/dev/vda`; true for this boot only.
    pub fn path(&self) -> &str {
        &self.disk.path
    }

    /// Serial number; empty when the disk has none.
    pub fn serial(&self) -> &str {
        self.disk.serial.as_deref().unwrap_or_default()
    }

    /// What the operator should know of it, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Why this disk and no other.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Chooses the disk an install may write to.
///
/// # Errors
/// [`DiskRefusal`] with a code, a sentence and the verdict over every disk, unless exactly one disk may be taken.
pub fn choose_disk(
    inventory: &Inventory,
    selector: &DiskSelector,
    requirements: &Requirements,
    overrides: &DiskOverrides,
) -> Result<TargetDisk, DiskRefusal> {
    let wishes = Wishes::new(selector, overrides);
    pick(inventory, &wishes, judge(inventory, &wishes, requirements))
}

/// Takes the one disk without an obstacle.
pub(super) fn pick(
    inventory: &Inventory,
    wishes: &Wishes,
    verdicts: Vec<DiskVerdict>,
) -> Result<TargetDisk, DiskRefusal> {
    let eligible: Vec<&DiskVerdict> = verdicts.iter().filter(|v| v.obstacle.is_none()).collect();
    match (&eligible[..], wishes.selector_text()) {
        ([], named) => Err(DiskRefusal::none(named.as_deref(), verdicts)),
        // Two paths can be the same only in an inventory that was written by hand; then nothing is certain.
        ([only], named) => {
            let mut disks = inventory.disks.iter().filter(|disk| disk.path == only.path);
            match (disks.next(), disks.next()) {
                (Some(disk), None) => {
                    let reason = render_reason(disk, named.as_deref(), wishes);
                    let warn = |text: &String| format!("{}: {text}", only.description);
                    let warnings = only.warnings.iter().map(warn).collect();
                    Ok(TargetDisk { reason, warnings, disk: disk.clone() })
                }
                _ => Err(DiskRefusal::ambiguous(named.as_deref(), 2, verdicts)),
            }
        }
        (several, named) => {
            let count = several.len();
            Err(DiskRefusal::ambiguous(named.as_deref(), count, verdicts))
        }
    }
}

fn render_reason(disk: &Disk, named: Option<&str>, wishes: &Wishes) -> String {
    if wishes.keeps(disk) {
        return format!("{} holds the data of this node for this place, which is kept", describe(disk));
    }
    let state = match (disk.unfinished_install, disk.empty) {
        (Some(id), _) if disk.install_record.is_none() => format!("an unfinished install ({id}) is on it"),
        (_, true) => "it is empty".to_owned(),
        _ if wishes.is_reinstalled(disk) => "its install is made again".to_owned(),
        _ => "its contents are given up by wipe".to_owned(),
    };
    match named {
        Some(selector) => format!("{} was asked for ({selector}), {state}", describe(disk)),
        None => format!("{} is the only disk that may be taken, {state}", describe(disk)),
    }
}

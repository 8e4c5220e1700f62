//! Choosing the one disk.

use super::refusal::DiskRefusal;
use super::verdict::{DiskVerdict, describe, judge_disks};
use crate::inventory::{Disk, Inventory, sanitise};
use profiles::node::{DiskSelector, Requirements};

/// What the kernel's arguments say about disks; stronger than the cluster file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskOverrides {
    /// `metalstrap.disk=SERIAL`: replaces the selector of the cluster file as a whole.
    pub serial: Option<String>,
    /// `metalstrap.wipe=SERIAL`: replaces `wipe` of the cluster file.
    pub wipe: Option<String>,
}

/// The disk that may be written to. Only [`choose_disk`] can make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetDisk {
    disk: Disk,
    reason: String,
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

    /// Why this disk and no other.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// What the operator wants, from both sources.
pub(super) struct Wishes {
    serial: Option<String>,
    wwn: Option<String>,
    by_path: Option<String>,
    pub(super) wipe: Option<String>,
}

impl Wishes {
    pub(super) fn new(selector: &DiskSelector, overrides: &DiskOverrides) -> Self {
        let wipe = overrides.wipe.clone().or_else(|| selector.wipe.clone());
        match &overrides.serial {
            Some(serial) => Self { serial: Some(serial.clone()), wwn: None, by_path: None, wipe },
            None => Self {
                serial: selector.serial.clone(),
                wwn: selector.wwn.clone(),
                by_path: selector.by_path.clone(),
                wipe,
            },
        }
    }

    /// The selector in words; `None` when no disk is named.
    pub(super) fn selector_text(&self) -> Option<String> {
        let parts = [("serial", &self.serial), ("wwn", &self.wwn), ("by_path", &self.by_path)];
        let named =
            parts.iter().filter_map(|(key, value)| Some(format!("{key} \"{}\"", sanitise(value.as_ref()?))));
        let text = named.collect::<Vec<_>>().join(" and ");
        (!text.is_empty()).then_some(text)
    }

    /// True when everything the selector says fits. An empty selector fits every disk.
    pub(super) fn selects(&self, disk: &Disk) -> bool {
        let fits = |wanted: &Option<String>, has: &Option<String>| wanted.is_none() || wanted == has;
        let by_path =
            self.by_path.as_ref().map(|path| path.trim_start_matches("/dev/disk/by-path/").to_owned());
        fits(&self.serial, &disk.serial) && fits(&self.wwn, &disk.wwn) && fits(&by_path, &disk.by_path)
    }

    /// True when the contents of this very disk are given up: its serial is named, and no other disk has the same.
    pub(super) fn gives_up(&self, disk: &Disk, inventory: &Inventory) -> bool {
        let Some(wipe) = &self.wipe else { return false };
        let with_serial = inventory.disks.iter().filter(|d| d.serial.as_ref() == Some(wipe)).count();
        disk.serial.as_ref() == Some(wipe) && with_serial == 1
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
    let verdicts = judge_disks(inventory, selector, requirements, overrides);
    let eligible: Vec<&DiskVerdict> = verdicts.iter().filter(|v| v.obstacle.is_none()).collect();
    match (&eligible[..], wishes.selector_text()) {
        ([], named) => Err(DiskRefusal::none(named.as_deref(), verdicts)),
        // Two paths can be the same only in an inventory that was written by hand; then nothing is certain.
        ([only], named) => {
            let mut disks = inventory.disks.iter().filter(|disk| disk.path == only.path);
            match (disks.next(), disks.next()) {
                (Some(disk), None) => {
                    Ok(TargetDisk { reason: render_reason(disk, named.as_deref()), disk: disk.clone() })
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

fn render_reason(disk: &Disk, named: Option<&str>) -> String {
    let state = match (disk.unfinished_install, disk.empty) {
        (Some(id), _) if disk.install_record.is_none() => format!("an unfinished install ({id}) is on it"),
        (_, true) => "it is empty".to_owned(),
        _ => "its contents are given up by wipe".to_owned(),
    };
    match named {
        Some(selector) => format!("{} was asked for ({selector}), {state}", describe(disk)),
        None => format!("{} is the only disk that may be taken, {state}", describe(disk)),
    }
}

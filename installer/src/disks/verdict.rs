//! The verdict over every disk: may it be taken, and if not, why.

use super::choose::{DiskOverrides, Wishes};
use crate::inventory::{Disk, Inventory, render_contents, render_size, sanitise};
use profiles::node::{DiskSelector, Requirements};
use serde::Serialize;

/// Sector sizes the layout is made for.
const SECTOR_SIZES: [u64; 2] = [512, 4096];

/// Why a disk may not be taken. In the order of the checks, the nearest to being usable last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "obstacle", rename_all = "kebab-case")]
pub enum Obstacle {
    /// The live system runs from it, or it carries our configuration.
    BootMedium {},
    /// It can be taken out of the machine.
    Removable {},
    /// It cannot be written.
    ReadOnly {},
    /// Something uses it.
    Busy {
        /// What.
        holders: Vec<String>,
    },
    /// The layout does not fit its sectors.
    SectorSize {
        /// Logical sector size.
        bytes: u64,
    },
    /// It is too small for the role.
    TooSmall {
        /// Needed size.
        needed_mib: u64,
    },
    /// The operator named another disk.
    NotSelected {
        /// What was asked for.
        selector: String,
    },
    /// It holds data and nobody gave it up.
    HasData {
        /// What was found.
        found: String,
    },
    /// It holds data, and the consent is for another disk, or for one that cannot be told apart.
    WipeMismatch {
        /// What was found.
        found: String,
        /// Serial number the consent is for.
        wipe: String,
    },
}

/// What was decided about one disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiskVerdict {
    /// Device.
    pub path: String,
    /// One line that tells the disk from others.
    pub description: String,
    /// Why it may not be taken; `None` when it may.
    pub obstacle: Option<Obstacle>,
    /// The verdict as a sentence.
    pub verdict: String,
}

/// Judges every disk, sorted by path.
pub fn judge_disks(
    inventory: &Inventory,
    selector: &DiskSelector,
    requirements: &Requirements,
    overrides: &DiskOverrides,
) -> Vec<DiskVerdict> {
    let wishes = Wishes::new(selector, overrides);
    let mut verdicts: Vec<DiskVerdict> = inventory
        .disks
        .iter()
        .map(|disk| {
            let obstacle = find_obstacle(disk, inventory, &wishes, requirements);
            let verdict = obstacle.as_ref().map_or_else(|| render_eligible(disk), render_obstacle);
            DiskVerdict { path: disk.path.clone(), description: describe(disk), obstacle, verdict }
        })
        .collect();
    verdicts.sort_by(|a, b| a.path.cmp(&b.path));
    verdicts
}

/// `PATH (SIZE TRANSPORT, MODEL, serial SERIAL)`.
pub(super) fn describe(disk: &Disk) -> String {
    let kind = disk.transport.as_deref().map(|t| format!(" {}", sanitise(t))).unwrap_or_default();
    let model = disk.model.as_deref().map(|m| format!(", {}", sanitise(m))).unwrap_or_default();
    let serial =
        disk.serial.as_deref().map_or(", no serial".to_owned(), |s| format!(", serial {}", sanitise(s)));
    format!("{} ({}{kind}{model}{serial})", sanitise(&disk.path), render_size(disk.size_bytes))
}

fn find_obstacle(
    disk: &Disk,
    inventory: &Inventory,
    wishes: &Wishes,
    requirements: &Requirements,
) -> Option<Obstacle> {
    if disk.boot_medium {
        return Some(Obstacle::BootMedium {});
    }
    if let Some(selector) = wishes.selector_text().filter(|_| !wishes.selects(disk)) {
        return Some(Obstacle::NotSelected { selector });
    }
    if disk.removable || disk.transport.as_deref() == Some("usb") {
        return Some(Obstacle::Removable {});
    }
    if disk.read_only {
        return Some(Obstacle::ReadOnly {});
    }
    if !disk.holders.is_empty() {
        return Some(Obstacle::Busy { holders: disk.holders.clone() });
    }
    if !SECTOR_SIZES.contains(&disk.logical_sector_bytes) {
        return Some(Obstacle::SectorSize { bytes: disk.logical_sector_bytes });
    }
    if disk.size_bytes >> 20 < requirements.disk_min_mib {
        return Some(Obstacle::TooSmall { needed_mib: requirements.disk_min_mib });
    }
    let is_free = disk.install_record.is_none() && (disk.empty || disk.unfinished_install.is_some());
    if is_free || wishes.gives_up(disk, inventory) {
        return None;
    }
    let found = render_contents(disk);
    Some(match &wishes.wipe {
        Some(wipe) => Obstacle::WipeMismatch { found, wipe: wipe.clone() },
        None => Obstacle::HasData { found },
    })
}

fn render_eligible(disk: &Disk) -> String {
    if disk.install_record.is_some() || (disk.unfinished_install.is_none() && !disk.empty) {
        return format!("may be taken: its contents ({}) are given up by wipe", render_contents(disk));
    }
    format!("may be taken: {}", render_contents(disk))
}

fn render_obstacle(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::BootMedium {} => "never taken: the live system or its configuration is on it".to_owned(),
        Obstacle::Removable {} => "never taken: removable".to_owned(),
        Obstacle::ReadOnly {} => "never taken: read-only".to_owned(),
        Obstacle::Busy { holders } => format!("in use: {}", sanitise(&holders.join(", "))),
        Obstacle::SectorSize { bytes } => {
            format!("sectors of {bytes} bytes are not supported (512 and 4096 are)")
        }
        Obstacle::TooSmall { needed_mib } => format!("too small: {needed_mib} MiB are needed"),
        Obstacle::NotSelected { selector } => format!("not the disk asked for ({selector})"),
        Obstacle::HasData { found } => format!("holds data: {found}"),
        Obstacle::WipeMismatch { found, wipe } => {
            format!("holds data: {found}; wipe = \"{}\" is not consent for this disk", sanitise(wipe))
        }
    }
}

/// The verdicts as lines for people.
pub fn render_verdicts(verdicts: &[DiskVerdict]) -> Vec<String> {
    verdicts.iter().map(|v| format!("{}: {}", v.description, v.verdict)).collect()
}

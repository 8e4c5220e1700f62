//! The verdict over every disk: may it be taken, and if not, why.

use super::choose::DiskOverrides;
use super::wishes::{Wishes, consent_name};
use crate::inventory::{Disk, HealthStatus, Inventory, render_contents, render_size, sanitise};
use profiles::node::{DiskSelector, Requirements};
use serde::Serialize;

/// Sector sizes the layout is made for.
const SECTOR_SIZES: [u64; 2] = [512, 4096];

/// Why a disk may not be taken. In the order of the checks, the nearest to being usable last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "obstacle", rename_all = "kebab-case")]
pub enum Obstacle {
    /// The live system runs from it, or it carries our configuration.
    BootMedium {
        /// Whether it fits the selector of the cluster file or of `metalstrap.disk`.
        asked_for: bool,
    },
    /// The system goes there; a data disk is another one.
    SystemDisk {},
    /// It can be taken out of the machine.
    Removable {},
    /// It cannot be written.
    ReadOnly {},
    /// Something uses it.
    Busy {
        /// What.
        holders: Vec<String>,
    },
    /// Another device is the same disk by another path.
    SeveralPaths {
        /// The other devices.
        others: Vec<String>,
    },
    /// It says that it fails.
    Failing {
        /// What it says.
        reason: String,
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
        /// What does not fit.
        misfits: Vec<String>,
    },
    /// It holds data and nobody gave it up.
    HasData {
        /// What was found.
        found: String,
        /// The `wipe` that would give it up; `None` for a disk that has no name of its own.
        consent: Option<String>,
    },
    /// It holds data, and the consent is for another disk, or for one that cannot be told apart.
    WipeMismatch {
        /// What was found.
        found: String,
        /// What the consent names.
        wipe: String,
        /// The `wipe` that would give it up; `None` for a disk that has no name of its own.
        consent: Option<String>,
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
    /// What the operator should know although it is no obstacle.
    pub warnings: Vec<String>,
}

/// Judges every disk, sorted by path.
pub fn judge_disks(
    inventory: &Inventory,
    selector: &DiskSelector,
    requirements: &Requirements,
    overrides: &DiskOverrides,
) -> Vec<DiskVerdict> {
    judge(inventory, &Wishes::new(selector, overrides), requirements)
}

/// The same for whatever is wished for.
pub(super) fn judge(inventory: &Inventory, wishes: &Wishes, requirements: &Requirements) -> Vec<DiskVerdict> {
    let mut verdicts: Vec<DiskVerdict> = inventory
        .disks
        .iter()
        .map(|disk| {
            let obstacle = find_obstacle(disk, inventory, wishes, requirements);
            let verdict = obstacle.as_ref().map_or_else(|| render_eligible(disk, wishes), render_obstacle);
            let warnings = find_warnings(disk, obstacle.as_ref());
            DiskVerdict { path: disk.path.clone(), description: describe(disk), obstacle, verdict, warnings }
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
    let misfits = wishes.misfits(disk);
    if disk.boot_medium {
        let asked_for = wishes.selector_text().is_some() && misfits.is_empty();
        return Some(Obstacle::BootMedium { asked_for });
    }
    if wishes.is_system_disk(disk) {
        return Some(Obstacle::SystemDisk {});
    }
    if let Some(selector) = wishes.selector_text().filter(|_| !misfits.is_empty()) {
        return Some(Obstacle::NotSelected { selector, misfits });
    }
    find_hardware_obstacle(disk, inventory, wishes).or_else(|| {
        if disk.size_bytes >> 20 < requirements.disk_min_mib {
            return Some(Obstacle::TooSmall { needed_mib: requirements.disk_min_mib });
        }
        find_data(disk, inventory, wishes)
    })
}

/// What no consent removes.
fn find_hardware_obstacle(disk: &Disk, inventory: &Inventory, wishes: &Wishes) -> Option<Obstacle> {
    let is_usb = disk.transport.as_deref() == Some("usb");
    if disk.removable || (is_usb && !wishes.wants_usb()) {
        return Some(Obstacle::Removable {});
    }
    if disk.read_only {
        return Some(Obstacle::ReadOnly {});
    }
    if !disk.holders.is_empty() {
        return Some(Obstacle::Busy { holders: disk.holders.clone() });
    }
    // Two devices with one world wide name are two ways to the same bytes: what uses one uses the other.
    let is_other = |d: &&Disk| d.path != disk.path && d.wwn.is_some() && d.wwn == disk.wwn;
    let mut others: Vec<String> = inventory.disks.iter().filter(is_other).map(|d| d.path.clone()).collect();
    if !others.is_empty() {
        others.sort();
        return Some(Obstacle::SeveralPaths { others });
    }
    if disk.health.status == HealthStatus::Failing {
        let reason = disk.health.detail.clone().unwrap_or_else(|| "it says that it fails".to_owned());
        return Some(Obstacle::Failing { reason });
    }
    if !SECTOR_SIZES.contains(&disk.logical_sector_bytes) {
        return Some(Obstacle::SectorSize { bytes: disk.logical_sector_bytes });
    }
    None
}

/// What somebody has to give up first.
fn find_data(disk: &Disk, inventory: &Inventory, wishes: &Wishes) -> Option<Obstacle> {
    let is_free = disk.install_record.is_none() && (disk.empty || disk.unfinished_install.is_some());
    if is_free || is_of_unfinished(disk, inventory) || wishes.keeps(disk) || wishes.gives_up(disk, inventory)
    {
        return None;
    }
    let (found, consent) = (render_contents(disk), consent_name(disk, inventory));
    Some(match wishes.wipe() {
        Some(wipe) => Obstacle::WipeMismatch { found, wipe: wipe.to_owned(), consent },
        None => Obstacle::HasData { found, consent },
    })
}

/// A data disk that an install has made whose system disk is still unfinished: no system has ever run with it.
fn is_of_unfinished(disk: &Disk, inventory: &Inventory) -> bool {
    let maker = disk.data_mark.as_ref().map(|mark| mark.install);
    maker.is_some() && inventory.disks.iter().any(|other| other.unfinished_install == maker)
}

/// Warnings are for a disk that may be taken; the others have their reason.
fn find_warnings(disk: &Disk, obstacle: Option<&Obstacle>) -> Vec<String> {
    if obstacle.is_some() || disk.health.status != HealthStatus::Unknown {
        return Vec::new();
    }
    let why = disk.health.detail.as_deref().unwrap_or("nobody looked");
    vec![format!("its health is not known ({})", sanitise(why))]
}

fn render_eligible(disk: &Disk, wishes: &Wishes) -> String {
    if wishes.keeps(disk) {
        return format!("may be taken: {}; it is kept", render_contents(disk));
    }
    if disk.install_record.is_some() || (disk.unfinished_install.is_none() && !disk.empty) {
        let by = if wishes.is_reinstalled(disk) { "reinstall" } else { "wipe" };
        return format!("may be taken: its contents ({}) are given up by {by}", render_contents(disk));
    }
    format!("may be taken: {}", render_contents(disk))
}

fn render_obstacle(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::BootMedium { .. } => {
            "never taken: the live system or its configuration is on it".to_owned()
        }
        Obstacle::SystemDisk {} => "not taken: it is the system disk".to_owned(),
        Obstacle::Removable {} => "never taken: removable".to_owned(),
        Obstacle::ReadOnly {} => "never taken: read-only".to_owned(),
        Obstacle::Busy { holders } => format!("in use: {}", sanitise(&holders.join(", "))),
        Obstacle::SeveralPaths { others } => {
            let others = sanitise(&others.join(", "));
            format!("never taken: it has the same WWN as {others}, so it is the same disk by another path")
        }
        Obstacle::Failing { reason } => format!("failing: {}", sanitise(reason)),
        Obstacle::SectorSize { bytes } => {
            format!("sectors of {bytes} bytes are not supported (512 and 4096 are)")
        }
        Obstacle::TooSmall { needed_mib } => format!("too small: {needed_mib} MiB are needed"),
        Obstacle::NotSelected { selector, misfits } => {
            format!("not the disk asked for ({selector}): {}", misfits.join(", "))
        }
        Obstacle::HasData { found, consent: Some(name) } => {
            format!("holds data: {found}; to lose it: wipe = \"{}\"", sanitise(name))
        }
        Obstacle::HasData { found, consent: None } => {
            format!("holds data: {found}; it has no name of its own to give it up by, so empty it by hand")
        }
        Obstacle::WipeMismatch { found, wipe, consent } => {
            let right = consent.as_ref().map(|name| format!(", wipe = \"{}\" is", sanitise(name)));
            let wipe = sanitise(wipe);
            format!(
                "holds data: {found}; wipe = \"{wipe}\" is not consent for this disk{}",
                right.unwrap_or_default()
            )
        }
    }
}

/// The verdicts as lines for people.
pub fn render_verdicts(verdicts: &[DiskVerdict]) -> Vec<String> {
    let render = |v: &DiskVerdict| {
        let warnings = v.warnings.iter().map(|text| format!("; warning: {text}"));
        format!("{}: {}{}", v.description, v.verdict, warnings.collect::<String>())
    };
    verdicts.iter().map(render).collect()
}

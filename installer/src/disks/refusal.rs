//! Why no disk is taken.

use super::verdict::{DiskVerdict, Obstacle, render_verdicts};
use crate::exit::ExitCode;
use crate::refusal::Refusal;

/// No disk is taken, with the verdict over every disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct DiskRefusal {
    /// Stable code.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// Verdict over every disk, by path.
    pub verdicts: Vec<DiskVerdict>,
}

/// A code, how near its disk is to being usable, and what to do.
struct Outcome {
    code: &'static str,
    advice: &'static str,
}

impl DiskRefusal {
    /// No disk may be taken. The code is that of the disk that comes nearest.
    pub(super) fn none(named: Option<&str>, verdicts: Vec<DiskVerdict>) -> Self {
        // The medium is no candidate, unless somebody asked for that very disk.
        let is_candidate = |o: &&Obstacle| {
            let apart = Obstacle::BootMedium { asked_for: false };
            !matches!(o, Obstacle::NotSelected { .. } | Obstacle::SystemDisk {}) && **o != apart
        };
        let nearest = verdicts.iter().filter_map(|v| v.obstacle.as_ref()).filter(is_candidate).max();
        let (code, message) = match (nearest, named) {
            (Some(obstacle), Some(selector)) => {
                let outcome = outcome_of(obstacle);
                (outcome.code, format!("the disk asked for ({selector}) cannot be taken: {}", outcome.advice))
            }
            (Some(obstacle), None) => {
                let outcome = outcome_of(obstacle);
                (outcome.code, format!("no disk can be taken: {}", outcome.advice))
            }
            (None, Some(selector)) => (
                "E_DISK_NO_MATCH",
                format!("no disk has {selector}; correct the selector or attach the disk"),
            ),
            (None, None) => ("E_DISK_NONE", "this machine has no disk to install to; attach one".to_owned()),
        };
        Self { code, message, verdicts }
    }

    /// More than one disk may be taken.
    pub(super) fn ambiguous(named: Option<&str>, count: usize, verdicts: Vec<DiskVerdict>) -> Self {
        let message = match named {
            Some(selector) => {
                format!(
                    "{count} disks fit {selector} and can be taken; name one by a serial, WWN or path that no other has"
                )
            }
            None => format!(
                "{count} disks can be taken; name one with disk.serial in the cluster file or metalstrap.disk=SERIAL"
            ),
        };
        Self { code: "E_DISK_AMBIGUOUS", message, verdicts }
    }

    /// The same about the data disk for a mount point.
    pub(super) fn for_data(self, mount: &str) -> Self {
        let message = match (self.code, self.message.as_str()) {
            ("E_DISK_NONE", _) => "this machine has no further disk; attach one".to_owned(),
            // The kernel's argument is about the system disk.
            ("E_DISK_AMBIGUOUS", text) => text.replace(" or metalstrap.disk=SERIAL", ""),
            (_, text) => text.to_owned(),
        };
        Self { message: format!("data disk for {mount}: {message}"), ..self }
    }

    /// The disk with the data of this node cannot be taken.
    pub(super) fn own_data(obstacle: &Obstacle, verdicts: Vec<DiskVerdict>) -> Self {
        let outcome = outcome_of(obstacle);
        let message = format!(
            "the disk that holds the data of this node cannot be taken: {}; no other is taken in its place",
            outcome.advice
        );
        Self { code: outcome.code, message, verdicts }
    }

    /// Several disks hold the data of this node for the same place.
    pub(super) fn own_data_twice(count: usize, verdicts: Vec<DiskVerdict>) -> Self {
        let message = format!(
            "{count} disks hold data of this node for this place; name the right one with disk.serial in the cluster file"
        );
        Self { code: "E_DISK_AMBIGUOUS", message, verdicts }
    }

    /// Two data disks would be the same disk.
    pub(super) fn claimed_twice(path: &str, first: &str, second: &str, verdicts: Vec<DiskVerdict>) -> Self {
        let message = format!(
            "the data disks for {first} and {second} would both be {path}; make their selectors exclude each other"
        );
        Self { code: "E_DISK_CLAIMED_TWICE", message, verdicts }
    }

    /// Exit code of every disk refusal: this machine, with what is on it, cannot become that node.
    pub fn exit(&self) -> ExitCode {
        ExitCode::UnsupportedHardware
    }
}

fn outcome_of(obstacle: &Obstacle) -> Outcome {
    let (code, advice) = match obstacle {
        Obstacle::BootMedium { .. } => {
            ("E_DISK_BOOT_MEDIUM", "the live system or its configuration is on it")
        }
        Obstacle::SystemDisk {} => ("E_DISK_NO_MATCH", "it is the system disk"),
        Obstacle::Removable {} => ("E_DISK_REMOVABLE", "removable disks are never taken"),
        Obstacle::ReadOnly {} => ("E_DISK_READ_ONLY", "it is read-only"),
        Obstacle::Busy { .. } => ("E_DISK_BUSY", "it is in use"),
        Obstacle::SeveralPaths { .. } => (
            "E_DISK_MULTIPATH",
            "it is reached by several paths, and nothing here joins them; leave one path connected",
        ),
        Obstacle::Failing { .. } => ("E_DISK_FAILING", "it says that it fails; replace it"),
        Obstacle::SectorSize { .. } => ("E_DISK_SECTOR_SIZE", "its sector size is not supported"),
        Obstacle::TooSmall { .. } => ("E_DISK_TOO_SMALL", "it is too small for this role"),
        Obstacle::HasData { .. } => (
            "E_DISK_HAS_DATA",
            "it holds data; to lose that for good set disk.wipe or metalstrap.wipe to the name given below",
        ),
        Obstacle::WipeMismatch { .. } => {
            ("E_DISK_WIPE_MISMATCH", "it holds data, and wipe does not name this very disk and no other")
        }
        Obstacle::NotSelected { .. } => ("E_DISK_NO_MATCH", "it is not the disk asked for"),
    };
    Outcome { code, advice }
}

impl From<DiskRefusal> for Refusal {
    fn from(refusal: DiskRefusal) -> Self {
        let exit = refusal.exit();
        Self::new(refusal.code, exit, refusal.message).with_details(render_verdicts(&refusal.verdicts))
    }
}

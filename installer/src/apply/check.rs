//! Preflight: everything that can be known to fail is found before the first write.

use super::{Run, StepError};
use crate::disks::{ensure_same_disk, ensure_unchanged};
use crate::exit::ExitCode;
use crate::medium::FileLook;
use crate::medium::sources::{efi_programs, found_length, medium_digest};
use crate::plan::image::FileDigest;
use crate::plan::phases::MEDIUM_FILES;
use crate::plan::{PlannedDisk, Step};
use crate::preflight::checks::image::judge_units;
use crate::preflight::checks::medium::ensure_length;
use crate::preflight::{Outcome, RecordedCheck};
use crate::refusal::Refusal;
use profiles::preflight::MEDIUM_HASHES;
use std::io;
use std::path::Path;
use sysio::block::BlockDevice;
use sysio::files::{FileError, hash_file};

impl Run<'_> {
    /// The disk must still be that of the plan and be nobody else's. From here on it is kept open: as long as it is, the kernel
    /// gives its name to no other disk.
    pub(super) fn check_disk(&mut self) -> Result<(), StepError> {
        let disk = self.plan().disk.clone();
        self.hold(&disk).map(drop)
    }

    /// Claims a disk of the plan for a moment, and holds its name to the end.
    pub(super) fn hold(&mut self, disk: &PlannedDisk) -> Result<BlockDevice, StepError> {
        let path = Path::new(&disk.path);
        // First, so that what is checked then is what is held.
        self.held.push(BlockDevice::open_read_only(path).map_err(busy)?);
        open_unchanged(disk)
    }

    /// Every unit that is enabled must be in the image or among the rendered files.
    pub(super) fn check_units(&mut self) -> Result<(), StepError> {
        let missing = self.sources.missing_units(self.planned);
        judge_units(&missing).refusal.map_or(Ok(()), |refusal| Err(in_step(refusal)))
    }

    /// Path on the node and text of a unit.
    pub(super) fn unit_text(&self, unit: &str) -> Option<(String, String)> {
        self.sources.unit_text(self.planned, unit)
    }

    /// The files of the medium must be what `image.json` says: nothing is written when one is not.
    pub(super) fn check_medium(&mut self, step: &Step, names: &[String]) -> Result<(), StepError> {
        for name in names {
            let path = self.sources.live.join(name);
            let expected = medium_digest(self.planned, name);
            let Some(expected) = expected else {
                let text = format!("{}: image.json gives no length and hash", path.display());
                return Err(StepError::text("E_ARTEFACT_MISSING", ExitCode::Download, text));
            };
            self.check_artefact(step, &path, &expected)?;
        }
        for path in efi_programs(self.planned) {
            found_length(&self.sources.image_path(&path))
                .map_err(|why| missing(&self.sources.image_path(&path), &why))?;
        }
        Ok(())
    }

    /// The artefacts in the image must be what their manifest says.
    pub(super) fn check_artifacts(&mut self, step: &Step) -> Result<(), StepError> {
        for artifact in &self.planned.artifacts {
            let expected = FileDigest { length: artifact.length, sha256: artifact.sha256.clone() };
            self.check_artefact(step, &self.sources.image_path(&artifact.path), &expected)?;
        }
        self.checks.push(RecordedCheck {
            id: MEDIUM_HASHES.name.to_owned(),
            outcome: Outcome::Pass,
            measured: format!("{} files", MEDIUM_FILES.len() + self.planned.artifacts.len()),
        });
        Ok(())
    }

    /// Length first, because it is cheap; then the hash.
    fn check_artefact(&mut self, step: &Step, path: &Path, expected: &FileDigest) -> Result<(), StepError> {
        let found = found_length(path);
        let look = FileLook { path: path.display().to_string(), wanted: expected.length, found };
        ensure_length(&look).map_err(in_step)?;
        let have = expected.length;
        let reporter = &mut *self.reporter;
        let digest = hash_file(path, &mut |done| reporter.progress(step, done, have)).map_err(unreadable)?;
        if digest.sha256 == expected.sha256 {
            Ok(())
        } else {
            Err(wrong_hash(path, &digest.sha256, &expected.sha256))
        }
    }
}

/// A refusal as a failed step: its sentence, told with phase and step.
fn in_step(refusal: Refusal) -> StepError {
    StepError::text(refusal.code, refusal.exit, refusal.message)
}

fn missing(path: &Path, why: &str) -> StepError {
    StepError::text("E_ARTEFACT_MISSING", ExitCode::Download, format!("{}: {why}", path.display()))
}

/// The bytes are there and are the wrong ones.
pub(super) fn wrong_hash(path: &Path, have: &str, want: &str) -> StepError {
    let text = format!("{} has the sha256 {have} instead of {want}", path.display());
    StepError::text("E_ARTEFACT_HASH", ExitCode::Download, text)
}

/// A medium that cannot be read to its end.
pub(super) fn unreadable(error: FileError) -> StepError {
    StepError::new("E_MEDIUM_IO", ExitCode::Download, error)
}

/// Claims a disk that is still the one of the plan, with its size and sectors.
pub(super) fn open_unchanged(disk: &PlannedDisk) -> Result<BlockDevice, StepError> {
    let device = BlockDevice::open_exclusive(Path::new(&disk.path)).map_err(busy)?;
    ensure_same_disk(&disk.path, disk.sequence, device.sequence()).map_err(in_step)?;
    let now = (device.size_bytes(), device.logical_sector_bytes());
    ensure_unchanged(&disk.path, (disk.size_bytes, disk.sector_bytes), now).map_err(in_step)?;
    Ok(device)
}

fn busy(error: FileError) -> StepError {
    let code = match error.source.kind() {
        io::ErrorKind::ResourceBusy => "E_DISK_BUSY",
        _ => "E_DISK_IO",
    };
    StepError::new(code, ExitCode::Environment, error)
}

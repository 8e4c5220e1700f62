//! Preflight: everything that can be known to fail is found before the first write.

use super::units::unit_file_name;
use super::{Run, StepError};
use crate::exit::ExitCode;
use crate::plan::Step;
use crate::plan::image::FileDigest;
use crate::plan::model::EspSource;
use std::io;
use std::path::Path;
use sysio::block::BlockDevice;
use sysio::files::{FileError, hash_file, read_text};

/// A unit file is small; more than this is none.
const UNIT_MAX_BYTES: u64 = 256 * 1024;
/// Where a unit file may lie in the image.
const UNIT_FOLDERS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

impl Run<'_> {
    /// The disk must still have the size and sectors of the plan and be nobody else's.
    pub(super) fn check_disk(&mut self) -> Result<(), StepError> {
        let disk = &self.plan().disk;
        let device = BlockDevice::open_exclusive(self.disk_path()).map_err(busy)?;
        if device.size_bytes() != disk.size_bytes || device.logical_sector_bytes() != disk.sector_bytes {
            let text = format!(
                "{} has {} bytes in sectors of {}, the plan was made for {} bytes in sectors of {}",
                disk.path,
                device.size_bytes(),
                device.logical_sector_bytes(),
                disk.size_bytes,
                disk.sector_bytes
            );
            return Err(StepError::text("E_DISK_CHANGED", ExitCode::Environment, text));
        }
        Ok(())
    }

    /// Every unit that is enabled must be in the image or among the rendered files.
    pub(super) fn check_units(&mut self) -> Result<(), StepError> {
        let missing: Vec<&str> = self
            .plan()
            .units_enabled
            .iter()
            .map(String::as_str)
            .filter(|u| self.unit_text(u).is_none())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let text = format!("the image lacks the units {}", missing.join(", "));
        Err(StepError::text("E_UNIT_MISSING", ExitCode::Environment, text))
    }

    /// Path on the node and text of a unit.
    pub(super) fn unit_text(&self, unit: &str) -> Option<(String, String)> {
        let name = unit_file_name(unit);
        let rendered = format!("/etc/systemd/system/{name}");
        if let Some(file) = self.planned.rendered.file(&rendered) {
            return Some((rendered, file.contents.expose().to_owned()));
        }
        UNIT_FOLDERS.iter().find_map(|folder| {
            let path = format!("{folder}/{name}");
            Some((path.clone(), read_text(&self.sources.image_path(&path), UNIT_MAX_BYTES).ok()?))
        })
    }

    /// The files of the medium must be what `image.json` says: nothing is written when one is not.
    pub(super) fn check_medium(&mut self, step: &Step, names: &[String]) -> Result<(), StepError> {
        for name in names {
            let path = self.sources.live.join(name);
            let expected = self.plan().steps().find_map(|s| medium_digest(s, name));
            let Some(expected) = expected else {
                let text = format!("{}: image.json gives no length and hash", path.display());
                return Err(StepError::text("E_ARTEFACT_MISSING", ExitCode::Download, text));
            };
            self.check_artefact(step, &path, &expected)?;
        }
        for path in self.efi_programs() {
            artefact_length(&self.sources.image_path(&path))?;
        }
        Ok(())
    }

    /// EFI programs that the plan takes from the image.
    fn efi_programs(&self) -> Vec<String> {
        let path = |step: &Step| match step {
            Step::EspFile { source: EspSource::Image { path }, .. } => Some(path.clone()),
            _ => None,
        };
        self.plan().steps().filter_map(path).collect()
    }

    /// The artefacts in the image must be what their manifest says.
    pub(super) fn check_artifacts(&mut self, step: &Step) -> Result<(), StepError> {
        for artifact in &self.planned.artifacts {
            let expected = FileDigest { length: artifact.length, sha256: artifact.sha256.clone() };
            self.check_artefact(step, &self.sources.image_path(&artifact.path), &expected)?;
        }
        Ok(())
    }

    /// Length first, because it is cheap; then the hash.
    fn check_artefact(&mut self, step: &Step, path: &Path, expected: &FileDigest) -> Result<(), StepError> {
        let have = artefact_length(path)?;
        if have != expected.length {
            let text = format!("{} has {have} bytes instead of {}", path.display(), expected.length);
            return Err(StepError::text("E_ARTEFACT_LENGTH", ExitCode::Download, text));
        }
        let reporter = &mut *self.reporter;
        let digest = hash_file(path, &mut |done| reporter.progress(step, done, have)).map_err(unreadable)?;
        if digest.sha256 == expected.sha256 {
            Ok(())
        } else {
            Err(wrong_hash(path, &digest.sha256, &expected.sha256))
        }
    }
}

/// What the plan says of a file of the medium.
fn medium_digest(step: &Step, name: &str) -> Option<FileDigest> {
    let (length, sha256) = match step {
        Step::CopyRoot { length, sha256, .. } if name == "root.squashfs" => (length, sha256),
        Step::EspFile { source: EspSource::Medium { name: of }, length, sha256, .. } if of == name => {
            (length, sha256)
        }
        _ => return None,
    };
    Some(FileDigest { length: (*length)?, sha256: sha256.clone()? })
}

/// Length of a file that must be there.
fn artefact_length(path: &Path) -> Result<u64, StepError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(metadata.len()),
        Ok(_) => Err(missing(path, "it is no file")),
        Err(error) => Err(missing(path, &error.to_string())),
    }
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

fn busy(error: FileError) -> StepError {
    let code = match error.source.kind() {
        io::ErrorKind::ResourceBusy => "E_DISK_BUSY",
        _ => "E_DISK_IO",
    };
    StepError::new(code, ExitCode::Environment, error)
}

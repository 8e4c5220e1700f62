//! Where the bytes of an install come from, and what is there. Looks only; used by the preflight checks and, right before the
//! first write, by the install itself.

use crate::plan::image::FileDigest;
use crate::plan::model::EspSource;
use crate::plan::phases::MEDIUM_FILES;
use crate::plan::{Planned, Step};
use std::path::{Path, PathBuf};
use sysio::files::read_text;

/// A unit file is small; more than this is none.
const UNIT_MAX_BYTES: u64 = 256 * 1024;
/// Where a unit file may lie in the image.
const UNIT_FOLDERS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// What GRUB for BIOS is made from.
const GRUB_FILES: [&str; 3] = ["boot.img", "kernel.img", "moddep.lst"];

/// A file that an install reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLook {
    /// Where.
    pub path: String,
    /// Length it should have.
    pub wanted: u64,
    /// Length it has, or why it is none.
    pub found: Result<u64, String>,
}

/// Where the bytes come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Folder with `root.squashfs`, `vmlinuz`, `initrd`, `image.json`.
    pub live: PathBuf,
    /// Root of the running image; `/` in the live system.
    pub image_root: PathBuf,
    /// GRUB's BIOS modules and boot image.
    pub grub: PathBuf,
}

impl Sources {
    /// The places in a live system whose medium is here.
    pub fn of_medium(medium: &Path) -> Self {
        Self {
            live: medium.join("live"),
            image_root: PathBuf::from("/"),
            grub: PathBuf::from("/usr/lib/grub/i386-pc"),
        }
    }

    /// A path of the running image.
    pub fn image_path(&self, path: &str) -> PathBuf {
        self.image_root.join(path.trim_start_matches('/'))
    }

    /// Path on the node and text of a unit, rendered or of the image.
    pub(crate) fn unit_text(&self, planned: &Planned, unit: &str) -> Option<(String, String)> {
        let name = unit_file_name(unit);
        let rendered = format!("/etc/systemd/system/{name}");
        if let Some(file) = planned.rendered.file(&rendered) {
            return Some((rendered, file.contents.expose().to_owned()));
        }
        UNIT_FOLDERS.iter().find_map(|folder| {
            let path = format!("{folder}/{name}");
            Some((path.clone(), read_text(&self.image_path(&path), UNIT_MAX_BYTES).ok()?))
        })
    }

    /// Units that the node enables and that are neither rendered nor in the image.
    pub(crate) fn missing_units(&self, planned: &Planned) -> Vec<String> {
        let enabled = planned.plan.units_enabled.iter();
        enabled.filter(|unit| self.unit_text(planned, unit).is_none()).cloned().collect()
    }

    /// Files of the boot loaders that are not there.
    pub(crate) fn missing_loaders(&self, planned: &Planned) -> Vec<String> {
        let efi = efi_programs(planned).into_iter().map(|path| self.image_path(&path));
        let has_bios = planned.plan.steps().any(|step| matches!(step, Step::WriteBootCode {}));
        let bios = GRUB_FILES.iter().filter(|_| has_bios).map(|name| self.grub.join(name));
        let missing = efi.chain(bios).filter(|path| found_length(path).is_err());
        missing.map(|path| path.display().to_string()).collect()
    }

    /// The files whose length is known to the plan, with what is there.
    pub(crate) fn look_at_files(&self, planned: &Planned) -> Vec<FileLook> {
        let look = |path: PathBuf, wanted: u64| FileLook {
            found: found_length(&path),
            path: path.display().to_string(),
            wanted,
        };
        let medium = MEDIUM_FILES
            .iter()
            .filter_map(|name| Some(look(self.live.join(name), medium_digest(planned, name)?.length)));
        let artifacts = planned.artifacts.iter().map(|a| look(self.image_path(&a.path), a.length));
        medium.chain(artifacts).collect()
    }
}

/// File name of a unit: that of the template for an instance.
pub fn unit_file_name(unit: &str) -> String {
    match (unit.split_once('@'), unit.rsplit_once('.')) {
        (Some((name, instance)), Some((_, suffix))) if !instance.starts_with('.') => {
            format!("{name}@.{suffix}")
        }
        _ => unit.to_owned(),
    }
}

/// What the plan says of a file of the medium.
pub(crate) fn medium_digest(planned: &Planned, name: &str) -> Option<FileDigest> {
    planned.plan.steps().find_map(|step| {
        let (length, sha256) = match step {
            Step::CopyRoot { length, sha256, .. } if name == "root.squashfs" => (length, sha256),
            Step::EspFile { source: EspSource::Medium { name: of }, length, sha256, .. } if of == name => {
                (length, sha256)
            }
            _ => return None,
        };
        Some(FileDigest { length: (*length)?, sha256: sha256.clone()? })
    })
}

/// EFI programs that the plan takes from the image.
pub(crate) fn efi_programs(planned: &Planned) -> Vec<String> {
    let path = |step: &Step| match step {
        Step::EspFile { source: EspSource::Image { path }, .. } => Some(path.clone()),
        _ => None,
    };
    planned.plan.steps().filter_map(path).collect()
}

/// Length of a file, or why there is none.
pub(crate) fn found_length(path: &Path) -> Result<u64, String> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(metadata.len()),
        Ok(_) => Err("it is no file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::unit_file_name;

    #[test]
    fn an_instance_lives_in_its_template() {
        assert_eq!(unit_file_name("serial-getty@ttyS0.service"), "serial-getty@.service");
        assert_eq!(unit_file_name("k3s.service"), "k3s.service");
        assert_eq!(unit_file_name("a@.service"), "a@.service");
    }
}

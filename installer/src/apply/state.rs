//! Steps on the state partition: folders, `/var`, rendered files, units, artefacts.

use super::check::{unreadable, wrong_hash};
use super::disk::slot_role;
use super::units::parse_install_section;
use super::{Run, StepError};
use crate::exit::ExitCode;
use crate::plan::Step;
use crate::plan::boot::Slot;
use crate::plan::layout::PartitionRole;
use crate::plan::place::on_state;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sysio::command::Cmd;
use sysio::files::{copy_atomic, create_folders, set_mode, symlink_atomic, write_atomic};
use sysio::mounts::Mount;

/// Folders of the state with their modes. `etc/work` belongs to the overlay.
const FOLDERS: [(&str, u32); 5] =
    [("etc", 0o755), ("etc/upper", 0o755), ("etc/work", 0o755), ("home", 0o755), ("root", 0o700)];
/// Folders of the image that the state starts with.
const SEEDED: [&str; 3] = ["var", "home", "root"];
/// Where units are linked.
const SYSTEMD_FOLDER: &str = "/etc/systemd/system";
/// Copying `/var` of an image: a few MiB in many small files.
const SEED_LIMIT: Duration = Duration::from_secs(300);

impl Run<'_> {
    /// The state's ext4, mounted.
    pub(crate) fn mount_state(&self) -> Result<sysio::mounts::MountGuard, StepError> {
        Ok(Mount::new(self.node(PartitionRole::State)?, "ext4").temporary()?)
    }

    /// Fills the state from the slot that was just verified: not from the live `/var`, which has been lived in. Mounting
    /// the slot also shows that the kernel takes it as a file system.
    pub(super) fn seed_state(&mut self, slot: Slot) -> Result<(), StepError> {
        let image = Mount::new(self.node(slot_role(slot))?, "squashfs").read_only().temporary()?;
        let state = self.mount_state()?;
        for (folder, mode) in FOLDERS {
            create_folders(&state.path().join(folder), mode)?;
            set_mode(&state.path().join(folder), mode)?;
        }
        for folder in SEEDED.iter().filter(|f| image.path().join(f).is_dir()) {
            Cmd::new("cp")
                .args(["--archive", "--no-target-directory"])
                .arg(image.path().join(folder))
                .arg(state.path().join(folder))
                .time_limit(SEED_LIMIT)
                .run()?;
        }
        set_mode(&state.path().join("root"), 0o700)?;
        image.unmount()?;
        self.state = Some(state);
        Ok(())
    }

    /// Where a path of the node lies in the mounted state.
    pub(super) fn state_path(&self, path: &str) -> Result<PathBuf, StepError> {
        let place = self.state.as_ref().zip(on_state(path)).map(|(state, below)| state.path().join(below));
        place.ok_or_else(|| {
            StepError::text("E_DISK_IO", ExitCode::Io, format!("{path} has no place in the open state"))
        })
    }

    pub(super) fn write_files(&mut self) -> Result<(), StepError> {
        let rendered = &self.planned.rendered;
        for directory in &rendered.directories {
            let path = self.state_path(&directory.path)?;
            create_folders(parent(&path), 0o755)?;
            create_folders(&path, directory.mode)?;
            set_mode(&path, directory.mode)?;
        }
        for file in &rendered.files {
            let path = self.state_path(&file.path)?;
            create_folders(parent(&path), 0o755)?;
            write_atomic(&path, file.contents.expose().as_bytes(), file.mode)?;
        }
        for link in &rendered.links {
            let path = self.state_path(&link.path)?;
            create_folders(parent(&path), 0o755)?;
            symlink_atomic(Path::new(&link.target), &path)?;
        }
        Ok(())
    }

    pub(super) fn link_units(&mut self) -> Result<(), StepError> {
        for unit in self.plan().units_enabled.clone() {
            let (file, text) = self.unit_text(&unit).ok_or_else(|| {
                StepError::text(
                    "E_UNIT_MISSING",
                    ExitCode::Environment,
                    format!("the image lacks the unit {unit}"),
                )
            })?;
            let links = parse_install_section(&text).links(&unit);
            if links.is_empty() {
                self.warn(format!(
                    "{unit} has no [Install] section: it starts only when another unit asks for it"
                ));
            }
            for link in links {
                self.link_unit(&link, &file)?;
            }
        }
        for unit in self.plan().units_masked.clone() {
            self.link_unit(&unit, "/dev/null")?;
        }
        Ok(())
    }

    fn link_unit(&self, link: &str, target: &str) -> Result<(), StepError> {
        let path = self.state_path(&format!("{SYSTEMD_FOLDER}/{link}"))?;
        create_folders(parent(&path), 0o755)?;
        Ok(symlink_atomic(Path::new(target), &path)?)
    }

    pub(super) fn copy_artifact(
        &mut self,
        step: &Step,
        path: &str,
        install_to: &str,
        length: u64,
        sha256: &str,
    ) -> Result<(), StepError> {
        let from = self.sources.image_path(path);
        let to = self.state_path(install_to)?;
        create_folders(parent(&to), 0o755)?;
        let reporter = &mut *self.reporter;
        let digest = copy_atomic(&from, &to, 0o644, &mut |done| reporter.progress(step, done, length))
            .map_err(unreadable)?;
        if digest.sha256 == sha256 { Ok(()) } else { Err(wrong_hash(&from, &digest.sha256, sha256)) }
    }

    pub(super) fn close_state(&mut self) -> Result<(), StepError> {
        self.close_data()?;
        self.state.take().map_or(Ok(()), |state| Ok(state.unmount()?))
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

//! Mounting, with a guard that unmounts.

use crate::files::{At, FileError, create_folders};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Folder below which [`Mount::temporary`] makes its mount points.
const TEMPORARY_FOLDER: &str = "/run/metalstrap/mnt";

/// A busy file system is tried again this often before it is detached; udev likes to look into fresh file systems.
const UNMOUNT_TRIES: u32 = 20;

/// Pause between the tries.
const UNMOUNT_PAUSE: Duration = Duration::from_millis(50);

/// A mount to be made. Always `nosuid,nodev,noexec`.
#[derive(Clone, Debug)]
pub struct Mount {
    source: PathBuf,
    fs_type: String,
    read_only: bool,
    options: Vec<String>,
}

impl Mount {
    /// A file system of a known type on a device.
    pub fn new(source: impl Into<PathBuf>, fs_type: impl Into<String>) -> Self {
        Self { source: source.into(), fs_type: fs_type.into(), read_only: false, options: Vec::new() }
    }

    /// Read-only, and for ext4 without replaying the journal: not one byte is written.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        match self.fs_type.as_str() {
            "ext3" | "ext4" => self.option("noload"),
            "xfs" => self.option("norecovery"),
            _ => self,
        }
    }

    /// Adds an option of the file system.
    #[must_use]
    pub fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Mounts on an existing folder.
    ///
    /// # Errors
    /// [`FileError`] naming the device.
    pub fn at(&self, target: &Path) -> Result<MountGuard, FileError> {
        let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        if self.read_only {
            flags |= MsFlags::MS_RDONLY;
        }
        let options = (!self.options.is_empty()).then(|| self.options.join(","));
        mount(Some(&self.source), target, Some(self.fs_type.as_str()), flags, options.as_deref())
            .at("mounting", &self.source)?;
        tracing::debug!(source = %self.source.display(), target = %target.display(), "mounted");
        Ok(MountGuard { target: target.to_owned(), mounted: true, folder: None })
    }

    /// Mounts on a new folder that only root can enter and that goes away with the guard.
    ///
    /// # Errors
    /// [`FileError`] naming the device or the folder.
    pub fn temporary(&self) -> Result<MountGuard, FileError> {
        let parent = Path::new(TEMPORARY_FOLDER);
        create_folders(parent, 0o700)?;
        let folder =
            tempfile::Builder::new().prefix("m-").tempdir_in(parent).at("making a folder in", parent)?;
        let mut guard = self.at(folder.path())?;
        guard.folder = Some(folder);
        Ok(guard)
    }
}

/// A mounted file system, unmounted at the latest when this value goes away.
#[derive(Debug)]
pub struct MountGuard {
    target: PathBuf,
    mounted: bool,
    folder: Option<tempfile::TempDir>,
}

impl MountGuard {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.target
    }

    /// Syncs and unmounts, and says whether that worked; what was written is on the disk only after this.
    ///
    /// # Errors
    /// [`FileError`] naming the mount point; the file system is then detached when the guard goes away.
    pub fn unmount(mut self) -> Result<(), FileError> {
        crate::files::sync_file_system(&self.target)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match umount2(&self.target, MntFlags::UMOUNT_NOFOLLOW) {
                Err(nix::errno::Errno::EBUSY) if tries < UNMOUNT_TRIES => std::thread::sleep(UNMOUNT_PAUSE),
                result => {
                    result.at("unmounting", &self.target)?;
                    self.mounted = false;
                    return Ok(());
                }
            }
        }
    }
}

impl Drop for MountGuard {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = umount2(&self.target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
        {
            tracing::warn!(target = %self.target.display(), %error, "a file system stays mounted");
            // Its folder must not be emptied through the mount.
            if let Some(folder) = self.folder.take() {
                let _kept = folder.keep();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Mount;
    use std::path::Path;

    #[test]
    fn a_journal_is_not_replayed_by_a_read_only_mount() {
        assert_eq!(Mount::new("/dev/x", "ext4").read_only().options, ["noload"]);
        assert_eq!(Mount::new("/dev/x", "vfat").read_only().options, Vec::<String>::new());
    }

    #[test]
    fn a_failed_mount_names_the_device() {
        let error = Mount::new("/dev/nonexistent", "ext4").at(Path::new("/nonexistent")).unwrap_err();
        assert_eq!(error.to_string(), "mounting /dev/nonexistent");
    }
}

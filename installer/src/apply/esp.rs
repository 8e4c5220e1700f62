//! The ESP, written and read with mtools on the partition itself and never mounted. So the same code runs on a build
//! host without a FAT driver and in the live system; nothing is written that was not asked for (no access times, no
//! dirty bit); and a rename between two plain 8.3 names changes one directory entry, which is one sector.

use super::error::StepError;
use std::path::{Path, PathBuf};
use sysio::block::BlockDevice;
use sysio::command::{Cmd, CommandError};

/// An ESP on a partition.
#[derive(Clone, Debug)]
pub struct Esp {
    device: PathBuf,
}

impl Esp {
    /// The ESP on this device.
    pub fn new(device: impl Into<PathBuf>) -> Self {
        Self { device: device.into() }
    }

    fn tool(&self, name: &str) -> Cmd {
        Cmd::new(name).env("MTOOLSRC", "/dev/null").env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(&self.device)
    }

    /// Makes folders, parents first.
    ///
    /// # Errors
    /// mtools fails, also when one is there already.
    pub fn make_folders(&self, folders: &[String]) -> Result<(), CommandError> {
        self.tool("mmd").args(folders.iter().map(|f| format!("::{f}"))).run().map(drop)
    }

    /// Writes a file from a file, replacing what is there.
    ///
    /// # Errors
    /// mtools fails; the file may then be there in part.
    pub fn put(&self, from: &Path, to: &str) -> Result<(), CommandError> {
        self.tool("mcopy").arg("-o").arg(from).arg(format!("::{to}")).run().map(drop)
    }

    /// Writes a file from bytes, replacing what is there.
    ///
    /// # Errors
    /// mtools fails; the file may then be there in part.
    pub fn put_bytes(&self, bytes: &[u8], to: &str) -> Result<(), CommandError> {
        self.tool("mcopy").args(["-o", "-"]).arg(format!("::{to}")).stdin(bytes).run().map(drop)
    }

    /// Renames a file within its folder; everything written before is on the disk before the new name is.
    ///
    /// # Errors
    /// mtools or the flush fails.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), StepError> {
        self.flush()?;
        self.tool("mren").arg(format!("::{from}")).arg(format!("::{to}")).run()?;
        self.flush()
    }

    /// True when there is such a file or folder.
    ///
    /// # Errors
    /// mtools cannot be started.
    pub fn has(&self, path: &str) -> Result<bool, CommandError> {
        self.tool("mdir")
            .arg("-b")
            .arg(format!("::{path}"))
            .run_any_status()
            .map(|output| output.status.success())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// mtools fails, also when the file is not there.
    pub fn remove(&self, path: &str) -> Result<(), CommandError> {
        self.tool("mdel").arg(format!("::{path}")).run().map(drop)
    }

    /// Copies a file out of the ESP.
    ///
    /// # Errors
    /// mtools fails, also when the file is not there.
    pub fn get(&self, from: &str, to: &Path) -> Result<(), CommandError> {
        self.tool("mcopy").arg("-n").arg(format!("::{from}")).arg(to).run().map(drop)
    }

    /// Contents of a small file.
    ///
    /// # Errors
    /// mtools fails, also when the file is not there.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, CommandError> {
        self.tool("mtype").arg(format!("::{path}")).run().map(|output| output.stdout)
    }

    /// Waits until everything is on the disk and forgets the cache, so that what is read next comes from the disk.
    ///
    /// # Errors
    /// The device is in use or does not take the bytes.
    pub fn flush(&self) -> Result<(), StepError> {
        let device = BlockDevice::open_exclusive(&self.device)?;
        Ok(device.drop_cache(0, device.size_bytes())?)
    }
}

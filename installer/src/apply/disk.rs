//! Steps on the disk itself: mark, table, file systems, root slot.

use super::check::{unreadable, wrong_hash};
use super::partitions::{Quiet, find_partitions, not_shown, wait_partitions};
use super::{Run, StepError};
use crate::exit::ExitCode;
use crate::plan::Step;
use crate::plan::boot::Slot;
use crate::plan::data::{ETCD_FOLDER, disk_below};
use crate::plan::layout::{ByteRange, Layout, PartitionRole};
use crate::plan::mark::{parse_mark, render_mark};
use crate::preflight::checks::disk_speed::{FSYNC, judge_fsync};
use crate::preflight::{Outcome, RecordedCheck};
use profiles::preflight::DISK_FSYNC;
use std::fs::File;
use std::path::Path;
use std::time::Duration;
use sysio::block::{BlockDevice, lock_disk};
use sysio::command::Cmd;
use sysio::files::FileError;
use sysio::filesystem::measure_sync;
use uuid::Uuid;

/// Label of the FAT. Not `METALSTRAP`: that is how a config medium is recognised.
const ESP_LABEL: &str = "MSTRAP-ESP";
/// Label of the state's ext4.
const STATE_LABEL: &str = "metalstrap-state";
/// Making a file system on a slow, large disk.
const MKFS_LIMIT: Duration = Duration::from_secs(600);

/// etcd's recipe for `fio`: the size of a write of its log.
const SYNC_WRITE_BYTES: usize = 2300;
/// Enough for a 99th percentile of which two writes are above.
const SYNC_WRITES: usize = 200;
/// A disk that is so slow that this ends the measuring has shown enough.
const SYNC_LIMIT: Duration = Duration::from_secs(1);

/// The partition of a slot.
pub(crate) fn slot_role(slot: Slot) -> PartitionRole {
    match slot {
        Slot::A => PartitionRole::RootA,
        Slot::B => PartitionRole::RootB,
    }
}

/// Zeros over some ranges of a disk, and out of the cache.
pub(super) fn erase_ranges(disk: &Path, ranges: &[ByteRange]) -> Result<(), StepError> {
    let device = BlockDevice::open_exclusive(disk)?;
    for range in ranges {
        device.write_zeros(range.offset_bytes, range.length_bytes)?;
        // In this order on the disk as well: boot code and tables are gone before what they lead to.
        device.flush()?;
    }
    Ok(device.drop_cache(0, device.size_bytes())?)
}

/// The first write to a disk: its unfinished mark, read back. Over the mark of an earlier attempt only when the tables that attempt
/// has left are gone: they are known as its own by its id, and beside another mark they would be somebody's data.
pub(super) fn write_first_mark(
    disk: &Path,
    layout: &Layout,
    at: ByteRange,
    mark: &[u8],
) -> Result<(), StepError> {
    let mut device = BlockDevice::open_exclusive(disk)?;
    let mut block = vec![0; usize::try_from(at.length_bytes).unwrap_or_default()];
    device.read_at(at.offset_bytes, &mut block)?;
    if parse_mark(&block).is_some_and(|earlier| parse_mark(mark) != Some(earlier)) {
        for range in layout.table_ranges() {
            device.write_zeros(range.offset_bytes, range.length_bytes)?;
        }
        device.flush()?;
        drop(device);
        forget_partitions(disk);
        device = BlockDevice::open_exclusive(disk)?;
    }
    device.write_at(at.offset_bytes, mark)?;
    device.drop_cache(at.offset_bytes, at.length_bytes)?;
    device.read_at(at.offset_bytes, &mut block)?;
    if block == mark {
        return Ok(());
    }
    Err(StepError::read_back(format!("{} does not keep the unfinished mark", disk.display())))
}

/// Makes the kernel forget the partitions of a table that is gone: who looks before the next table is there must not find them.
fn forget_partitions(disk: &Path) {
    match Cmd::new("partx").arg("--delete").arg(disk).run_any_status() {
        // Also when there was none.
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "the partitions of the earlier table stay"),
    }
}

/// sfdisk takes the disk exclusively and the lock that udev honours.
pub(super) fn write_table_to(disk: &Path, layout: &Layout) -> Result<(), StepError> {
    Cmd::new("sfdisk")
        .args(["--quiet", "--lock=yes", "--wipe=always", "--wipe-partitions=always"])
        .arg(disk)
        .stdin(layout.sfdisk_script())
        .run()?;
    Ok(BlockDevice::open_exclusive(disk)?.flush()?)
}

impl Run<'_> {
    /// The first write. From here on the disk is touched.
    pub(super) fn write_mark(&mut self, install: Uuid, at: ByteRange) -> Result<(), StepError> {
        drop(BlockDevice::open_exclusive(self.disk_path())?);
        self.touched = true;
        write_first_mark(self.disk_path(), &self.plan().layout, at, &render_mark(install))
    }

    pub(super) fn erase(&mut self, ranges: &[ByteRange]) -> Result<(), StepError> {
        erase_ranges(self.disk_path(), ranges)
    }

    pub(super) fn write_table(&mut self) -> Result<(), StepError> {
        write_table_to(self.disk_path(), &self.plan().layout)
    }

    /// From here on udev leaves the disk alone: a table that it rereads takes the partitions away for a moment.
    pub(super) fn wait_partitions(&mut self) -> Result<(), StepError> {
        if self.lock.is_none() {
            wait_partitions(self.disk_path(), &self.plan().layout, Quiet::Settle)?;
            self.lock = Some(lock_disk(self.disk_path())?);
        }
        self.nodes = find_partitions(self.disk_path(), &self.plan().layout)
            .ok_or_else(|| StepError::text("E_DISK_IO", ExitCode::Io, not_shown(self.disk_path())))?;
        Ok(())
    }

    pub(super) fn make_esp(&mut self, volume: &str) -> Result<(), StepError> {
        let node = self.node(PartitionRole::Esp)?;
        let volume = volume.replace('-', "");
        Cmd::new("mkfs.vfat")
            .args(["-F", "32", "-n", ESP_LABEL, "-i", &volume])
            .arg(node)
            .time_limit(MKFS_LIMIT)
            .run()?;
        self.esp()?.flush()
    }

    pub(super) fn make_state(&mut self, uuid: Uuid) -> Result<(), StepError> {
        let node = self.node(PartitionRole::State)?;
        Cmd::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "1", "-e", "remount-ro", "-L", STATE_LABEL, "-U", &uuid.to_string()])
            .arg(node)
            .time_limit(MKFS_LIMIT)
            .run()?;
        Ok(BlockDevice::open_exclusive(node)?.flush()?)
    }

    /// A slow disk is a warning: the operator was promised an install. A disk that cannot do it at all shows soon enough.
    pub(super) fn measure_sync(&mut self) -> Result<(), StepError> {
        if self.planned.checks.iter().any(|check| check.id == DISK_FSYNC.name) {
            return Ok(()); // left out by the operator
        }
        let state = match disk_below(&self.plan().data_disks, ETCD_FOLDER).map(|data| data.mount.clone()) {
            Some(mount) => self.mount_data(&mount)?,
            None => self.mount_state()?,
        };
        let took = measure_sync(state.path(), SYNC_WRITE_BYTES, SYNC_WRITES, SYNC_LIMIT);
        state.unmount()?;
        let (outcome, measured) = match took.map(|took| judge_fsync(&took)) {
            Ok(Some(finding)) => (finding.outcome, finding.measured),
            Ok(None) => (Outcome::CouldNotRun, "no write was done in time".to_owned()),
            Err(error) => (Outcome::CouldNotRun, error.to_string()),
        };
        let id = DISK_FSYNC.name.to_owned();
        if outcome != Outcome::Pass {
            self.warn(format!("{id}: {measured}; {}", FSYNC.remedy));
        }
        self.checks.push(RecordedCheck { id, outcome, measured });
        Ok(())
    }

    /// Copies the root image and hashes what it reads, so that a medium that changes under us is found here.
    pub(super) fn copy_root(
        &mut self,
        step: &Step,
        slot: Slot,
        length: Option<u64>,
        sha256: Option<&str>,
    ) -> Result<(), StepError> {
        let path = self.sources.live.join("root.squashfs");
        let (Some(length), Some(sha256)) = (length, sha256) else {
            let text = format!("{}: image.json gives no length and hash", path.display());
            return Err(StepError::text("E_ARTEFACT_MISSING", ExitCode::Download, text));
        };
        let device = BlockDevice::open_exclusive(self.node(slot_role(slot))?)?;
        let mut source = File::open(&path)
            .map_err(|source| unreadable(FileError { action: "opening", path: path.clone(), source }))?;
        let reporter = &mut *self.reporter;
        let progress = &mut |done| reporter.progress(step, done, length);
        let digest = device.copy_from(&mut source, &path, 0, length, progress)?;
        if digest.sha256 != sha256 {
            return Err(wrong_hash(&path, &digest.sha256, sha256));
        }
        self.slots.insert(slot, digest);
        Ok(())
    }

    /// The last write.
    pub(super) fn remove_mark(&mut self, at: ByteRange) -> Result<(), StepError> {
        let device = BlockDevice::open_exclusive(self.disk_path())?;
        device.write_zeros(at.offset_bytes, at.length_bytes)?;
        device.drop_cache(at.offset_bytes, at.length_bytes)?;
        if device.is_zero(at.offset_bytes, at.length_bytes)? {
            Ok(())
        } else {
            Err(StepError::read_back(format!("{} keeps the unfinished mark", self.plan().disk.path)))
        }
    }
}

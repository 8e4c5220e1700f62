//! Steps on the data disks. A new one carries the unfinished mark from its first write until it is whole; one that is kept is proven to be
//! what its mark says before anything on any disk is written.

use super::disk::write_first_mark;
use super::partitions::{PartitionNodes, Quiet, find_partitions, not_shown, wait_partitions};
use super::{Run, StepError};
use crate::exit::ExitCode;
use crate::plan::data::{DATA_MARK_OFFSET, DataMark, PlannedDataDisk};
use crate::plan::layout::{ByteRange, MARK_LENGTH, MARK_OFFSET, PartitionRole};
use crate::plan::mark::{parse_mark, render_mark_of_data};
use crate::plan::place::on_state;
use crate::verify::table_is;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sysio::block::{BlockDevice, DiskLock, lock_disk};
use sysio::command::Cmd;
use sysio::files::{create_folders, list_folder, remove_if_there};
use sysio::mounts::{Mount, MountGuard};
use uuid::Uuid;

/// Label of the ext4. ext4 has room for 16 bytes.
const FS_LABEL: &str = "metalstrap-data";
/// Making or checking a file system on a slow, large disk.
const FS_LIMIT: Duration = Duration::from_secs(1800);
/// The part of an ext4 that holds its superblock.
const SUPERBLOCK_BYTES: u64 = 4096;
/// e2fsck: nothing to do, or everything was repaired.
const CHECKED: [i32; 2] = [0, 1];

/// What an install puts on a node below k3s' folder, and puts there anew each time.
const K3S_IMAGES: &str = "/var/lib/rancher/k3s/agent/images";
const K3S_MANIFESTS: &str = "/var/lib/rancher/k3s/agent/pod-manifests";
const K3S_SERVER_MANIFESTS: &str = "/var/lib/rancher/k3s/server/manifests";
/// What a node of another time may not need any more: the static pod, and what k3s is told of Traefik.
const MANIFESTS_OF_OURS: [&str; 2] = [
    "/var/lib/rancher/k3s/agent/pod-manifests/kube-vip.yaml",
    "/var/lib/rancher/k3s/server/manifests/metalstrap-traefik.yaml",
];

/// A data disk in the course of an install.
#[derive(Debug, Default)]
pub(crate) struct OpenDataDisk {
    nodes: PartitionNodes,
    /// Keeps udev away as long as the install runs.
    _lock: Option<DiskLock>,
    mounted: Option<MountGuard>,
}

impl Run<'_> {
    fn data(&self, mount: &str) -> Result<&PlannedDataDisk, StepError> {
        let missing = || io_error(format!("the plan has no data disk for {mount}"));
        self.planned.plan.data_disk(mount).ok_or_else(missing)
    }

    fn data_node(&self, mount: &str, role: PartitionRole) -> Result<PathBuf, StepError> {
        let node = self.data_disks.get(mount).and_then(|open| open.nodes.get(&role)).cloned();
        node.ok_or_else(|| io_error(format!("the partition for {mount} is not there yet")))
    }

    /// As for the system disk; a kept one must have the table, the mark and the file system that were made for this place.
    pub(super) fn check_data_disk(&mut self, mount: &str) -> Result<(), StepError> {
        let data = self.data(mount)?.clone();
        let device = self.hold(&data.disk)?;
        self.ensure_free_mount_point(mount)?;
        if !data.keep {
            return Ok(());
        }
        let marks = read_marks(&device)?;
        drop(device);
        let path = Path::new(&data.disk.path);
        if marks != (None, Some(data.mark.clone())) || !table_is(path, &data.layout)? {
            return Err(damaged(&data, "it carries our mark and not our partition table"));
        }
        let nodes = find_partitions(path, &data.layout);
        let node = nodes.and_then(|mut nodes| nodes.remove(&PartitionRole::Data));
        let node = node.ok_or_else(|| io_error(not_shown(path)))?;
        let head = read_superblock(&node)?;
        if head.uuid != Some(data.ids.fs) {
            return Err(damaged(&data, "it carries our mark and not our file system"));
        }
        if head.has_errors {
            let text = format!("its file system has errors; run e2fsck -f {} first", node.display());
            return Err(damaged(&data, &text));
        }
        Ok(())
    }

    /// What the image has at the mount point would be hidden.
    fn ensure_free_mount_point(&self, mount: &str) -> Result<(), StepError> {
        if list_folder(&self.sources.image_path(mount))?.is_empty() {
            return Ok(());
        }
        let text = format!("{mount} is not empty in the image; a data disk would hide what is there");
        Err(StepError::text("E_DATA_MOUNT", ExitCode::InvalidInput, text))
    }

    /// The first write to this disk.
    pub(super) fn write_data_mark(&mut self, mount: &str, at: ByteRange) -> Result<(), StepError> {
        let data = self.data(mount)?;
        let disk = Path::new(&data.disk.path);
        write_first_mark(disk, &data.layout, at, &render_mark_of_data(data.mark.install, mount))
    }

    pub(super) fn erase_data(&mut self, mount: &str, ranges: &[ByteRange]) -> Result<(), StepError> {
        super::disk::erase_ranges(Path::new(&self.data(mount)?.disk.path), ranges)
    }

    pub(super) fn write_data_table(&mut self, mount: &str) -> Result<(), StepError> {
        let data = self.data(mount)?;
        super::disk::write_table_to(Path::new(&data.disk.path), &data.layout)
    }

    pub(super) fn wait_data_partitions(&mut self, mount: &str) -> Result<(), StepError> {
        let data = self.data(mount)?;
        let path = Path::new(&data.disk.path);
        // The system disk is locked already: waiting for udev would take until its time is up.
        let lock = Some(lock_disk(path)?);
        let nodes = wait_partitions(path, &data.layout, Quiet::Locked)?;
        self.data_disks.insert(mount.to_owned(), OpenDataDisk { nodes, _lock: lock, mounted: None });
        Ok(())
    }

    pub(super) fn make_data_fs(&mut self, mount: &str, uuid: Uuid) -> Result<(), StepError> {
        let node = self.data_node(mount, PartitionRole::Data)?;
        Cmd::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "1", "-e", "remount-ro", "-L", FS_LABEL, "-U", &uuid.to_string()])
            .arg(&node)
            .time_limit(FS_LIMIT)
            .run()?;
        Ok(BlockDevice::open_exclusive(&node)?.flush()?)
    }

    /// What every boot does as well. Whatever needs a decision is left as it is.
    pub(super) fn repair_data(&mut self, mount: &str) -> Result<(), StepError> {
        let node = self.data_node(mount, PartitionRole::Data)?;
        let output = Cmd::new("e2fsck").arg("-p").arg(&node).time_limit(FS_LIMIT).run_any_status()?;
        if output.code().is_some_and(|code| CHECKED.contains(&code)) {
            return Ok(());
        }
        let text = format!("e2fsck cannot repair it without you; run e2fsck -f {}", node.display());
        Err(damaged(self.data(mount)?, &text))
    }

    /// The folder below the mount point can never be written to: should the disk be missing one day, nothing goes there by mistake.
    pub(super) fn open_data(&mut self, mount: &str) -> Result<(), StepError> {
        let node = self.data_node(mount, PartitionRole::Data)?;
        let place = self.state_path(mount)?;
        create_folders(&place, 0o755)?;
        Cmd::new("chattr").arg("+i").arg(&place).run()?;
        let mounted = Mount::new(node, "ext4").at(&place)?;
        if self.data(mount)?.keep {
            self.clear_installed(mount)?;
        }
        if let Some(open) = self.data_disks.get_mut(mount) {
            open.mounted = Some(mounted);
        }
        Ok(())
    }

    /// Takes away what an earlier install has put on a disk that is kept: archives of another version, a pod that is no longer wanted.
    /// Everything else stays, etcd and the images that were loaded among it.
    fn clear_installed(&self, mount: &str) -> Result<(), StepError> {
        let below = |path: &str| path.strip_prefix(mount).is_some_and(|rest| rest.starts_with('/'));
        let folders = [K3S_IMAGES, K3S_MANIFESTS, K3S_SERVER_MANIFESTS];
        for folder in folders.into_iter().filter(|folder| below(folder)) {
            self.ensure_no_links(mount, folder)?;
        }
        for manifest in MANIFESTS_OF_OURS.into_iter().filter(|manifest| below(manifest)) {
            remove_if_there(&self.state_path(manifest)?)?;
        }
        if below(K3S_IMAGES) {
            let files = list_folder(&self.state_path(K3S_IMAGES)?)?;
            files.iter().filter(|(_, is_file)| *is_file).try_for_each(|(path, _)| remove_if_there(path))?;
        }
        Ok(())
    }

    /// A link on the disk would lead the installer into the live system.
    fn ensure_no_links(&self, mount: &str, folder: &str) -> Result<(), StepError> {
        let mut path = mount.to_owned();
        for part in folder[mount.len()..].split('/').filter(|part| !part.is_empty()) {
            path = format!("{path}/{part}");
            let found = std::fs::symlink_metadata(self.state_path(&path)?);
            if found.is_ok_and(|found| !found.is_dir()) {
                return Err(damaged(self.data(mount)?, &format!("{path} on it is no folder")));
            }
        }
        Ok(())
    }

    /// The file system of a data disk, mounted by itself for a moment.
    pub(super) fn mount_data(&self, mount: &str) -> Result<MountGuard, StepError> {
        Ok(Mount::new(self.data_node(mount, PartitionRole::Data)?, "ext4").temporary()?)
    }

    /// Lets go of all data disks, what is mounted below another one first.
    pub(super) fn close_data(&mut self) -> Result<(), StepError> {
        for open in self.data_disks.values_mut().rev() {
            open.mounted.take().map_or(Ok(()), MountGuard::unmount)?;
        }
        Ok(())
    }

    /// The data disks mounted for reading below a state that is mounted for reading.
    pub(crate) fn mount_data_below(&self, state: &Path) -> Result<Vec<MountGuard>, StepError> {
        let mut guards = Vec::new();
        for (mount, open) in &self.data_disks {
            let node = open.nodes.get(&PartitionRole::Data).cloned().unwrap_or_default();
            let place = state.join(on_state(mount).unwrap_or_default());
            guards.push(Mount::new(node, "ext4").read_only().at(&place)?);
        }
        Ok(guards)
    }

    /// Table, marks and file system, from the disk and not from the cache.
    pub(super) fn verify_data(&mut self, mount: &str) -> Result<(), StepError> {
        let data = self.data(mount)?;
        let path = Path::new(&data.disk.path);
        let device = BlockDevice::open_read_only(path)?;
        device.drop_cache(0, device.size_bytes())?;
        let marks = read_marks(&device)?;
        let expected =
            if data.keep { (None, Some(data.mark.clone())) } else { (Some(data.mark.install), None) };
        let uuid = read_superblock(&self.data_node(mount, PartitionRole::Data)?)?.uuid;
        if marks == expected && uuid == Some(data.ids.fs) && table_is(path, &data.layout)? {
            return Ok(());
        }
        Err(StepError::read_back(format!("{} does not give back what was written", data.disk.path)))
    }

    /// First whose data it is, then that it is whole: a cut between the two leaves it unfinished.
    pub(super) fn finish_data(&mut self, mount: &str) -> Result<(), StepError> {
        let data = self.data(mount)?;
        let block = data.mark.render().ok_or_else(|| {
            io_error(format!("the names of this node do not fit the mark of {}", data.disk.path))
        })?;
        let device = BlockDevice::open_exclusive(Path::new(&data.disk.path))?;
        device.write_at(DATA_MARK_OFFSET, &block)?;
        device.drop_cache(DATA_MARK_OFFSET, MARK_LENGTH)?;
        if read_marks(&device)?.1.as_ref() != Some(&data.mark) {
            return Err(StepError::read_back(format!("{} does not keep its mark", data.disk.path)));
        }
        device.write_zeros(MARK_OFFSET, MARK_LENGTH)?;
        device.drop_cache(MARK_OFFSET, MARK_LENGTH)?;
        if device.is_zero(MARK_OFFSET, MARK_LENGTH)? {
            Ok(())
        } else {
            Err(StepError::read_back(format!("{} keeps the unfinished mark", data.disk.path)))
        }
    }
}

/// The unfinished mark and the data mark.
fn read_marks(device: &BlockDevice) -> Result<(Option<Uuid>, Option<DataMark>), StepError> {
    let mut block = vec![0; usize::try_from(MARK_LENGTH).unwrap_or(4096)];
    device.read_at(MARK_OFFSET, &mut block)?;
    let unfinished = parse_mark(&block);
    device.read_at(DATA_MARK_OFFSET, &mut block)?;
    Ok((unfinished, DataMark::parse(&block)))
}

/// What the superblock of an ext4 says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Superblock {
    uuid: Option<Uuid>,
    has_errors: bool,
}

/// From the disk: what the page cache holds of a partition may be older than what was written to the whole disk.
fn read_superblock(node: &Path) -> Result<Superblock, StepError> {
    BlockDevice::open_read_only(node)?.drop_cache(0, SUPERBLOCK_BYTES)?;
    let output = Cmd::new("dumpe2fs").arg("-h").arg(node).run_any_status()?;
    Ok(parse_superblock(&output.text()))
}

/// Reads what `dumpe2fs -h` prints; nothing of it when there is no ext4.
fn parse_superblock(text: &str) -> Superblock {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    Superblock {
        uuid: value("Filesystem UUID:").and_then(|text| text.parse().ok()),
        has_errors: value("Filesystem state:").is_some_and(|state| state.contains("with errors")),
    }
}

fn io_error(text: String) -> StepError {
    StepError::text("E_DISK_IO", ExitCode::Io, text)
}

/// A kept disk that is not what its mark says. Nothing is given up for it.
fn damaged(data: &PlannedDataDisk, why: &str) -> StepError {
    let text = format!(
        "{}, the data disk for {}, cannot be kept: {why}. To lose what is on it set keep = false and disk.wipe in the cluster file",
        data.disk.path, data.mount
    );
    StepError::text("E_DATA_DISK_DAMAGED", ExitCode::Environment, text)
}

#[cfg(test)]
mod tests {
    use super::{Superblock, parse_superblock};
    use uuid::Uuid;

    #[test]
    fn reads_id_and_state_of_a_superblock() {
        let text = |state: &str| {
            format!(
                "Filesystem volume name:   metalstrap-data\nFilesystem UUID:          00000000-0000-0000-0000-000000000007\n\
                 Filesystem state:         {state}\n"
            )
        };
        for (state, has_errors) in [
            ("clean", false),
            ("not clean", false),
            ("clean with errors", true),
            ("not clean with errors", true),
        ] {
            assert_eq!(
                parse_superblock(&text(state)),
                Superblock { uuid: Some(Uuid::from_u128(7)), has_errors }
            );
        }
        assert_eq!(parse_superblock("Couldn't find valid filesystem superblock.\n"), Superblock::default());
    }
}

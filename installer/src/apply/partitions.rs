//! The device nodes of the new partitions. A node counts only when the kernel's view of it, first sector and length,
//! is exactly the planned one: a stale table of the same disk never passes.

use super::error::StepError;
use crate::exit::ExitCode;
use crate::plan::layout::{Layout, Partition, PartitionRole};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;
use sysio::command::Cmd;
use sysio::files::read_text;

/// How often the nodes are looked for, with [`PAUSE`] between: 20 seconds in all.
const TRIES: u32 = 200;
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// The kernel is told about the partitions by hand after the second look, and again after this many: a loop device, for one, does not
/// read its table itself, and who looks into the disk at that moment makes it fail.
const PARTX_EVERY: u32 = 20;
/// sysfs counts in sectors of 512 bytes, whatever the disk has.
const SYSFS_SECTOR: u64 = 512;

/// Device nodes by role.
pub type PartitionNodes = BTreeMap<PartitionRole, PathBuf>;

/// Kernel name of a partition: a `p` comes between when the disk's name ends in a digit.
pub(crate) fn partition_name(disk: &str, number: u32) -> String {
    let separator = if disk.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{separator}{number}")
}

fn matches_kernel(name: &str, partition: &Partition) -> bool {
    let value = |file: &str| -> Option<u64> {
        read_text(&Path::new("/sys/class/block").join(name).join(file), 64).ok()?.trim().parse().ok()
    };
    value("start").zip(value("size"))
        == Some((partition.offset_bytes / SYSFS_SECTOR, partition.length_bytes / SYSFS_SECTOR))
}

/// The nodes, if the kernel shows all partitions of the layout.
pub fn find_partitions(disk: &Path, layout: &Layout) -> Option<PartitionNodes> {
    let disk = disk.file_name()?.to_str()?;
    layout
        .partitions
        .iter()
        .map(|p| {
            let name = partition_name(disk, p.number);
            let node = Path::new("/dev").join(&name);
            (matches_kernel(&name, p) && node.exists()).then_some((p.role, node))
        })
        .collect()
}

/// What keeps udev from reading the table again, which takes the partitions away for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// Nothing yet: udev is waited for.
    Settle,
    /// We have locked the disk. As long as any disk is locked udev keeps what happened to it in its queue and does not settle.
    Locked,
}

/// Waits until the kernel shows all partitions of the layout.
///
/// # Errors
/// They do not come up in 20 seconds.
pub fn wait_partitions(disk: &Path, layout: &Layout, quiet: Quiet) -> Result<PartitionNodes, StepError> {
    for look in 0..TRIES {
        // Where there is no udev, devtmpfs makes the nodes; the exact match below is the proof either way.
        if quiet == Quiet::Settle
            && let Err(error) = sysio::block::settle()
        {
            tracing::debug!(%error, "udev did not settle");
        }
        if let Some(nodes) = find_partitions(disk, layout) {
            return Ok(nodes);
        }
        if look % PARTX_EVERY == 1
            && let Err(error) = Cmd::new("partx").arg("--update").arg(disk).run()
        {
            tracing::warn!(%error, "telling the kernel about the partitions failed");
        }
        sleep(PAUSE);
    }
    Err(StepError::text("E_DISK_IO", ExitCode::Io, not_shown(disk)))
}

pub(super) fn not_shown(disk: &Path) -> String {
    format!("the kernel does not show the partitions of {}", disk.display())
}

#[cfg(test)]
mod tests {
    use super::partition_name;

    #[test]
    fn partition_names_follow_the_kernel() {
        let names: Vec<_> = ["vda", "sdb", "nvme0n1", "mmcblk0"].map(|d| partition_name(d, 2)).to_vec();
        assert_eq!(names, ["vda2", "sdb2", "nvme0n1p2", "mmcblk0p2"]);
    }
}

//! What the installed system does once, early in a boot: it removes an unfinished mark that a power cut between the last
//! two writes of the install has left (docs/design/0001). In: the node's own install record and the BIOS boot partition
//! that record names, whose last block the mark is. Nothing else is ever written here.

use crate::plan::layout::{BIOS_LABEL, MARK_LENGTH};
use crate::plan::mark::parse_mark;
use crate::record::{InstallRecord, RECORD_MAX_BYTES, RECORD_NODE_PATH, RecordError, parse_record};
use std::path::{Path, PathBuf};
use sysio::block::BlockDevice;
use sysio::files::{FileError, read_text};

/// What was found where the mark would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// No mark.
    Clean,
    /// The mark of this very install; it is gone now.
    Removed,
    /// A mark of another install, left alone.
    Foreign,
}

/// Why nothing could be settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// A file or the partition cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The record is none.
    #[error("reading {RECORD_NODE_PATH}")]
    Record(#[from] RecordError),
    /// The record names no BIOS boot partition.
    #[error("{RECORD_NODE_PATH} names no partition {0}")]
    NoPartition(&'static str),
}

/// Reads the record below `root` and removes its mark from the partition it names.
///
/// # Errors
/// The record or the partition cannot be read, or the partition is in use.
pub fn settle(root: &Path) -> Result<Settled, SettleError> {
    let text = read_text(&root.join(RECORD_NODE_PATH.trim_start_matches('/')), RECORD_MAX_BYTES)?;
    let record = parse_record(&text)?;
    remove_mark(&bios_partition(root, &record)?, &record)
}

fn bios_partition(root: &Path, record: &InstallRecord) -> Result<PathBuf, SettleError> {
    let id = record.partitions.get(BIOS_LABEL).ok_or(SettleError::NoPartition(BIOS_LABEL))?;
    Ok(root.join("dev/disk/by-partuuid").join(id.to_string()))
}

/// The BIOS boot partition is never mounted, so it can be held exclusively while the system runs from the same disk.
fn remove_mark(partition: &Path, record: &InstallRecord) -> Result<Settled, SettleError> {
    let device = BlockDevice::open_exclusive(partition)?;
    let at = device.size_bytes().saturating_sub(MARK_LENGTH);
    let mut block = vec![0; usize::try_from(MARK_LENGTH).unwrap_or(4096)];
    device.read_at(at, &mut block)?;
    match parse_mark(&block) {
        None => Ok(Settled::Clean),
        Some(id) if id != record.install_id => Ok(Settled::Foreign),
        Some(_) => {
            device.write_zeros(at, MARK_LENGTH)?;
            device.flush()?;
            Ok(Settled::Removed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Settled, settle};
    use crate::plan::mark::render_mark;
    use std::fs;
    use std::path::Path;
    use uuid::Uuid;

    const PARTITION: &str = "00000000-0000-0000-0000-000000000002";

    /// A node with install id 1, whose BIOS boot partition ends with `tail`.
    fn node(root: &Path, tail: &[u8]) {
        let record = serde_json::json!({
            "schema": "metalstrap.install/v1", "install_id": Uuid::from_u128(1), "installer": "0.1.0",
            "cluster": "lab", "hostname": "master-1", "role": "master", "image_version": "0.1.0",
            "image_build_id": "b", "double": false, "disk_serial": "S", "disk_by_id": null,
            "partitions": {"metalstrap-bios": PARTITION}, "slots": {}, "phases": [], "skipped_checks": [],
            "warnings": []
        });
        fs::create_dir_all(root.join("var/lib/metalstrap")).unwrap();
        fs::write(root.join("var/lib/metalstrap/install.json"), record.to_string()).unwrap();
        fs::create_dir_all(root.join("dev/disk/by-partuuid")).unwrap();
        let mut bytes = vec![0xab; 1024 * 1024];
        let at = bytes.len() - tail.len();
        bytes[at..].copy_from_slice(tail);
        fs::write(partition(root), bytes).unwrap();
    }

    fn partition(root: &Path) -> std::path::PathBuf {
        root.join("dev/disk/by-partuuid").join(PARTITION)
    }

    #[test]
    fn removes_its_own_mark_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        node(root.path(), &render_mark(Uuid::from_u128(1)));
        assert_eq!(settle(root.path()).unwrap(), Settled::Removed);
        let bytes = fs::read(partition(root.path())).unwrap();
        let (core, mark) = bytes.split_at(bytes.len() - 4096);
        assert!(core.iter().all(|b| *b == 0xab) && mark.iter().all(|b| *b == 0));
        assert_eq!(settle(root.path()).unwrap(), Settled::Clean);
        assert_eq!(fs::read(partition(root.path())).unwrap(), bytes);
    }

    #[test]
    fn leaves_the_mark_of_another_install_alone() {
        let root = tempfile::tempdir().unwrap();
        node(root.path(), &render_mark(Uuid::from_u128(9)));
        let before = fs::read(partition(root.path())).unwrap();
        assert_eq!(settle(root.path()).unwrap(), Settled::Foreign);
        assert_eq!(fs::read(partition(root.path())).unwrap(), before);
    }

    #[test]
    fn says_what_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let text = settle(root.path()).unwrap_err().to_string();
        assert!(text.starts_with("reading ") && text.ends_with("/var/lib/metalstrap/install.json"), "{text}");
        node(root.path(), &[]);
        let path = root.path().join("var/lib/metalstrap/install.json");
        let other = fs::read_to_string(&path).unwrap().replace("metalstrap-bios", "other");
        fs::write(&path, other).unwrap();
        assert_eq!(
            settle(root.path()).unwrap_err().to_string(),
            "/var/lib/metalstrap/install.json names no partition metalstrap-bios"
        );
    }
}

//! Whole disks: copies of them, what differs between two, and what is on one.

use super::{DISK_BYTES, ESP_OFFSET, Fixture};
use installer::plan::sha256_hex;
use nix::unistd::{Whence, lseek};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use sysio::command::Cmd;

/// Bytes compared at once.
const CHUNK: u64 = 1 << 20;

/// Everything that counts on an installed disk, by name. Free room is left out, and what the kernel writes by itself (times of files,
/// the order of inodes).
#[derive(Debug, PartialEq, Eq)]
pub struct Disk(BTreeMap<String, String>);

impl Disk {
    /// Names what differs.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, what: &str) {
        let names: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let differ: Vec<_> =
            names.into_iter().filter(|name| self.0.get(*name) != other.0.get(*name)).collect();
        assert!(differ.is_empty(), "{what}: {differ:?}");
    }
}

impl Fixture {
    /// Brings what the kernel holds of the disk and its partitions to the image.
    pub fn flush(&self) {
        for node in self.nodes() {
            File::open(node).unwrap().sync_all().unwrap();
        }
    }

    /// Copies the disk as it is now on the medium.
    pub fn copy_disk_to(&self, path: &Path) {
        self.flush();
        Cmd::new("cp")
            .args(["--sparse=always", "--reflink=auto"])
            .arg(self.image_path())
            .arg(path)
            .run()
            .unwrap();
    }

    /// Cuts the power, puts these contents onto the disk, and switches on again.
    pub fn start_again_with(&self, contents: &Path, written: &[(u64, [u8; 512])]) {
        let _none = Cmd::new("partx").arg("--delete").arg(self.device()).run();
        Cmd::new("losetup").arg("--detach").arg(self.device()).run().unwrap();
        Cmd::new("cp")
            .args(["--sparse=always", "--reflink=auto"])
            .arg(contents)
            .arg(self.image_path())
            .run()
            .unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(self.image_path()).unwrap();
        for (offset, sector) in written {
            file.write_all_at(sector, *offset).unwrap();
        }
        drop(file);
        Cmd::new("losetup")
            .args(["--sector-size", &self.sector_bytes.to_string()])
            .arg(self.device())
            .arg(self.image_path())
            .run()
            .unwrap();
        let _no_table = Cmd::new("partx").arg("--update").arg(self.device()).run();
    }

    /// The disk and its partitions, as far as they are there.
    fn nodes(&self) -> Vec<String> {
        let disk = self.device().display().to_string();
        let parts = (1..=5).map(|number| format!("{disk}p{number}"));
        let there = parts.filter(|node| Path::new(node).exists()).collect::<Vec<_>>();
        there.into_iter().chain([disk]).collect()
    }

    /// What is on the disk.
    pub fn read_disk(&self) -> Disk {
        self.flush();
        let mut found = BTreeMap::new();
        let image = File::open(self.image_path()).unwrap();
        let slot_bytes = std::fs::metadata(self.live().join("root.squashfs")).unwrap().len();
        let ranges = [
            ("head", 0, 2 << 20),
            ("tail", DISK_BYTES - (1 << 20), 1 << 20),
            ("slot a", 514 << 20, slot_bytes),
        ];
        for (name, offset, length) in ranges {
            let mut bytes = vec![0; usize::try_from(length).unwrap()];
            image.read_exact_at(&mut bytes, offset).unwrap();
            found.insert(name.to_owned(), sha256_hex(&bytes));
        }
        let listing = Cmd::new("mdir")
            .args(["-/", "-b", "-i"])
            .arg(format!("{}@@{ESP_OFFSET}", self.image_path().display()))
            .arg("::")
            .run()
            .unwrap();
        for path in listing.text().lines().filter_map(|line| line.trim().strip_prefix("::")) {
            let text =
                if path.ends_with('/') { String::new() } else { comparable(path, &self.esp_file(path)) };
            found.insert(format!("esp {path}"), text);
        }
        let state = self.mount_state();
        read_tree(state.path(), state.path(), &mut found);
        state.unmount().unwrap();
        Disk(found)
    }
}

fn read_tree(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let metadata = path.symlink_metadata().unwrap();
        let mode = metadata.permissions().mode();
        let contents = if metadata.is_symlink() {
            std::fs::read_link(&path).unwrap().display().to_string()
        } else if metadata.is_file() {
            comparable(&name, &std::fs::read(&path).unwrap())
        } else {
            read_tree(root, &path, found);
            String::new()
        };
        found.insert(format!("state {name}"), format!("{mode:o} {contents}"));
    }
}

/// The record says whether an install was resumed; all else of it must be the same.
fn comparable(name: &str, bytes: &[u8]) -> String {
    if !name.ends_with("install.json") {
        return sha256_hex(bytes);
    }
    let mut record: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    record.as_object_mut().unwrap().remove("resumed");
    record.to_string()
}

/// Offsets of the blocks in which two images of a disk differ. Holes of both are passed over.
pub fn blocks_that_differ(one: &Path, two: &Path, block: usize) -> Vec<u64> {
    let (one, two) = (File::open(one).unwrap(), File::open(two).unwrap());
    let mut differ = Vec::new();
    let (mut a, mut b) = (vec![0; CHUNK as usize], vec![0; CHUNK as usize]);
    let mut at = 0;
    while let Some(data) = [&one, &two].iter().filter_map(|file| next_data(file, at)).min() {
        at = data / CHUNK * CHUNK;
        one.read_exact_at(&mut a, at).unwrap();
        two.read_exact_at(&mut b, at).unwrap();
        if a != b {
            let blocks = a.chunks(block).zip(b.chunks(block)).enumerate().filter(|(_, (x, y))| x != y);
            differ.extend(blocks.map(|(number, _)| at + (number * block) as u64));
        }
        at += CHUNK;
    }
    differ
}

fn next_data(file: &File, from: u64) -> Option<u64> {
    let found = lseek(file, i64::try_from(from).unwrap(), Whence::SeekData).ok()?;
    u64::try_from(found).ok()
}

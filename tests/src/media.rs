//! Disks and sticks as files, made without root.

use crate::command::{output_of, stdout_of};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// One partition of a disk file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Name in the table, empty for MBR.
    pub name: String,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
}

impl Partition {
    /// Whether a byte of the disk belongs to it.
    pub fn contains(&self, offset: u64) -> bool {
        offset >= self.start && offset - self.start < self.length
    }
}

/// Makes an empty sparse disk.
///
/// # Errors
/// The file cannot be made.
pub fn make_disk(file: &Path, mib: u64) -> Result<()> {
    let disk = File::create(file).with_context(|| format!("creating {}", file.display()))?;
    disk.set_len(mib * 1024 * 1024).with_context(|| format!("sizing {}", file.display()))
}

/// Makes a disk that holds one ext4 without partition table.
///
/// # Errors
/// The file cannot be made, or `mkfs.ext4` fails.
pub fn make_ext4_disk(file: &Path, mib: u64) -> Result<()> {
    make_disk(file, mib)?;
    stdout_of("mkfs.ext4", &["-q", "-F", "-L", "SOMEDATA", &file.display().to_string()]).map(drop)
}

/// Makes a FAT volume with a label and files at its top.
///
/// # Errors
/// The file cannot be made, or `mkfs.vfat` or `mcopy` fails.
pub fn make_fat_volume(file: &Path, label: &str, mib: u64, files: &[(&str, &[u8])]) -> Result<()> {
    make_disk(file, mib)?;
    stdout_of("mkfs.vfat", &["-n", label, &file.display().to_string()])?;
    for (name, content) in files {
        copy_into_fat(&file.display().to_string(), name, content)?;
    }
    Ok(())
}

/// Puts files onto the FAT partition with `label` of a stick image, as an operator copies them there.
///
/// # Errors
/// There is no such partition, or `mcopy` fails.
pub fn put_on_stick(stick: &Path, label: &str, files: &[(&str, &[u8])]) -> Result<()> {
    let volume = fat_on_stick(stick, label)?;
    files.iter().try_for_each(|(name, content)| copy_into_fat(&volume, name, content))
}

/// Reads a file from the FAT partition with `label` of a stick image.
///
/// # Errors
/// There is no such partition or no such file.
pub fn read_from_stick(stick: &Path, label: &str, path: &str) -> Result<Vec<u8>> {
    let volume = fat_on_stick(stick, label)?;
    stdout_of("mtype", &["-i", volume.as_str(), &format!("::{path}")])
}

/// The FAT partition with `label` in mtools' words.
fn fat_on_stick(stick: &Path, label: &str) -> Result<String> {
    let partition = partitions(stick)?
        .into_iter()
        .find(|partition| {
            fat_label(stick, partition.start).is_ok_and(|found| found.as_deref() == Some(label))
        })
        .with_context(|| format!("no FAT partition labelled {label} in {}", stick.display()))?;
    Ok(format!("{}@@{}", stick.display(), partition.start))
}

/// The partitions of a disk file, by `sfdisk`.
///
/// # Errors
/// There is no table, or `sfdisk` fails.
pub fn partitions(disk: &Path) -> Result<Vec<Partition>> {
    let json = stdout_of("sfdisk", &["--json", &disk.display().to_string()])?;
    parse_partitions(&json).with_context(|| format!("reading the partition table of {}", disk.display()))
}

/// The sector (of 512 bytes) of a disk file at which `content` starts; file systems of the size used here keep a small file
/// together.
///
/// # Errors
/// It is nowhere on the disk.
pub fn find_sector(disk: &Path, content: &[u8]) -> Result<u64> {
    let head = &content[..content.len().min(512)];
    let bytes = fs::read(disk).with_context(|| format!("reading {}", disk.display()))?;
    let sector = bytes.chunks(512).position(|sector| sector.starts_with(head));
    sector.map(|sector| sector as u64).with_context(|| format!("the content is not on {}", disk.display()))
}

fn parse_partitions(json: &[u8]) -> Result<Vec<Partition>> {
    #[derive(Deserialize)]
    struct Dump {
        partitiontable: Table,
    }
    #[derive(Deserialize)]
    struct Table {
        #[serde(default = "default_sector")]
        sectorsize: u64,
        #[serde(default)]
        partitions: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        start: u64,
        size: u64,
        #[serde(default)]
        name: String,
    }
    fn default_sector() -> u64 {
        512
    }
    let table = serde_json::from_slice::<Dump>(json)?.partitiontable;
    let bytes = table.sectorsize;
    Ok(table
        .partitions
        .into_iter()
        .map(|entry| Partition { name: entry.name, start: entry.start * bytes, length: entry.size * bytes })
        .collect())
}

/// The label in the boot sector of a FAT at `start`, if there is a FAT.
fn fat_label(disk: &Path, start: u64) -> Result<Option<String>> {
    let mut sector = [0u8; 512];
    let mut file = File::open(disk)?;
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut sector)?;
    let label = match (&sector[54..57], &sector[82..85]) {
        (b"FAT", _) => &sector[43..54],
        (_, b"FAT") => &sector[71..82],
        _ => return Ok(None),
    };
    Ok(Some(String::from_utf8_lossy(label).trim_end().to_owned()))
}

/// A name may have a folder before it, which is made if need be.
fn copy_into_fat(image: &str, name: &str, content: &[u8]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let target = match name.split_once('/') {
        None => "::/".to_owned(),
        Some((_, file)) if file.contains('/') => bail!("`{name}` is in a folder of a folder"),
        Some((folder, _)) => {
            let target = format!("::/{folder}");
            // It fails where the folder is there already; where it is not, the copy below will.
            output_of("mmd", &["-D", "s", "-i", image, &target])?;
            target
        }
    };
    let source = dir.path().join(name.rsplit('/').next().unwrap_or(name));
    fs::write(&source, content)?;
    stdout_of("mcopy", &["-o", "-i", image, &source.display().to_string(), &target]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{
        Partition, find_sector, make_disk, make_fat_volume, parse_partitions, partitions, put_on_stick,
        read_from_stick,
    };
    use crate::command::stdout_of;

    #[test]
    fn finds_where_a_file_lies() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        make_fat_volume(&volume, "BROKEN", 4, &[("one", b"first"), ("two", b"second")]).unwrap();
        let sector = find_sector(&volume, b"second").unwrap();
        let bytes = std::fs::read(&volume).unwrap();
        assert!(bytes[sector as usize * 512..].starts_with(b"second"));
        let error = find_sector(&volume, b"third").unwrap_err();
        assert_eq!(error.to_string(), format!("the content is not on {}", volume.display()));
    }

    #[test]
    fn reads_a_table_in_bytes() {
        let json = br#"{"partitiontable": {"label": "gpt", "sectorsize": 512, "partitions": [
            {"node": "d1", "start": 2048, "size": 4096, "type": "x", "name": "metalstrap-esp"},
            {"node": "d2", "start": 6144, "size": 2048, "type": "y"}]}}"#;
        let found = parse_partitions(json).unwrap();
        assert_eq!(
            found[0],
            Partition { name: "metalstrap-esp".to_owned(), start: 1 << 20, length: 2 << 20 }
        );
        assert_eq!(found[1].name, "");
        assert!(found[0].contains(1 << 20) && !found[0].contains(3 << 20) && !found[0].contains(0));
    }

    #[test]
    fn puts_a_file_on_the_labelled_partition_of_a_stick() {
        let dir = tempfile::tempdir().unwrap();
        let (stick, volume) = (dir.path().join("stick"), dir.path().join("volume"));
        make_disk(&stick, 8).unwrap();
        let script = "printf 'label: gpt\\nstart=2048, size=4096, name=one\\nstart=6144, size=8192, name=two\\n' | sfdisk -q";
        stdout_of("sh", &["-c", &format!("{script} '{}'", stick.display())]).unwrap();
        make_fat_volume(&volume, "METALSTRAP", 4, &[]).unwrap();
        let at = partitions(&stick).unwrap()[1].start;
        let command = format!("dd conv=notrunc bs=1M seek={}", at >> 20);
        stdout_of("sh", &["-c", &format!("{command} if='{}' of='{}'", volume.display(), stick.display())])
            .unwrap();

        put_on_stick(&stick, "METALSTRAP", &[("cluster.toml", b"version = 1\n")]).unwrap();
        let image = format!("{}@@{at}", stick.display());
        assert_eq!(stdout_of("mtype", &["-i", &image, "::/cluster.toml"]).unwrap(), b"version = 1\n");
        assert_eq!(read_from_stick(&stick, "METALSTRAP", "/cluster.toml").unwrap(), b"version = 1\n");
        assert!(read_from_stick(&stick, "METALSTRAP", "/absent").is_err());
        assert_eq!(
            put_on_stick(&stick, "OTHER", &[]).unwrap_err().to_string(),
            format!("no FAT partition labelled OTHER in {}", stick.display())
        );
    }
}

//! What is really on a disk: its own bytes, not what udev remembers. Reading only.

use super::UNREADABLE;
use super::blkid::{AMBIVALENT, NOTHING_FOUND, parse_blkid};
use super::leftover::{Surroundings, find_unfinished};
use super::lsblk::Device;
use super::model::{Disk, InstallSummary, Signature};
use super::show::sanitise;
use super::sniff::sniff_signatures;
use super::tables::{Ends, TableIdentity, identify_tables, inspect_tables};
use super::wipefs::parse_wipefs;
use crate::plan::data::{DATA_MARK_OFFSET, DataMark};
use crate::plan::layout::{MARK_LENGTH, MARK_OFFSET};
use crate::plan::mark::parse_mark;
use crate::record::{RECORD_ESP_PATH, parse_record};
use std::path::Path;
use std::time::Duration;
use sysio::block::BlockDevice;
use sysio::command::{Cmd, CommandError};
use sysio::files::FileError;
use uuid::Uuid;

/// Label of the ESP of our layout.
const ESP_LABEL: &str = "metalstrap-esp";

/// The part of the ESP that holds the allocation tables: it must be readable before "no record" is believed.
const ESP_HEAD_BYTES: usize = 4 << 20;

/// What the C library calls a read error, in the locale `C`.
const IO_ERROR: &str = "Input/output error";

/// The part at either end of a disk that must be zero in an empty one: partition tables, boot code, RAID, ZFS and VMFS labels.
const ENDS_BYTES: u64 = 4 << 20;

/// The part at either end that is searched for partition tables.
const TABLE_BYTES: u64 = 1 << 20;

/// Samples between the ends that must be zero as well, evenly spread: data without any signature is data too.
const SAMPLES: u64 = 32;
const SAMPLE_BYTES: u64 = 64 << 10;

/// Where k3s keeps everything, on the disk of a system and on a partition of its own for `/var`.
const K3S_FOLDERS: [&str; 2] = ["/var/lib/rancher/k3s", "/lib/rancher/k3s"];

/// Kind of a [`Signature`] for a file system that holds a k3s node.
const K3S: &str = "k3s node";

/// Limit for one `blkid`; a disk that takes longer is broken.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// Fills in what can only be seen by reading the disk. What cannot be read is noted as [`UNREADABLE`], which is data.
pub(super) fn look_at(device: &Device, disk: &mut Disk) {
    if disk.boot_medium || device.kind == "rom" {
        return;
    }
    for place in std::iter::once(device).chain(device.partitions()) {
        let found = probe(&place.path);
        let other_node = has_k3s(&found, &place.path);
        for signature in found.into_iter().chain(other_node) {
            let known = |s: &Signature| {
                s.place == signature.place && (s.kind == signature.kind || s.kind == "partition")
            };
            match disk.contents.iter_mut().find(|s| known(s)) {
                Some(same) if same.kind == "partition" => *same = signature,
                Some(_) => {}
                None => disk.contents.push(signature),
            }
        }
    }
    if let Err(error) = look_at_bytes(device, disk) {
        tracing::warn!(disk = device.path, error = %error, source = %error.source, "a disk cannot be read");
        note_unreadable(disk, &device.path);
    }
}

/// Ends, mark and install record.
fn look_at_bytes(device: &Device, disk: &mut Disk) -> Result<(), FileError> {
    let block = BlockDevice::open_read_only(Path::new(&device.path))?;
    let (kinds, tables) = read_ends(&block)?;
    for kind in kinds {
        let signature = Signature { kind, label: None, place: device.path.clone() };
        if !disk.contents.iter().any(|known| known.kind == signature.kind && known.place == signature.place) {
            disk.contents.push(signature);
        }
    }
    let has_partitions = device.partitions().next().is_some();
    disk.empty = !has_partitions && disk.contents.is_empty() && is_blank(&block)?;
    let mut mark = vec![0; usize::try_from(MARK_LENGTH).unwrap_or(4096)];
    if block.size_bytes() >= MARK_OFFSET + MARK_LENGTH {
        block.read_at(MARK_OFFSET, &mut mark)?;
    }
    let marked = parse_mark(&mark);
    disk.data_mark = read_data_mark(&block, marked)?;
    match read_record(device) {
        Ok(record) => {
            let around = Surroundings {
                disk: &device.path,
                tables: &tables,
                partitions: device.partitions().count(),
                contents: &disk.contents,
            };
            disk.unfinished_install = find_unfinished(&mark, &around).filter(|_| record.is_none());
            disk.empty &= marked.is_none();
            disk.install_record = record;
        }
        // There may be a whole system here: neither empty nor unfinished.
        Err(error) => {
            tracing::warn!(
                disk = device.path,
                error = format!("{:#}", anyhow::Error::new(error)),
                "the ESP cannot be read"
            );
            disk.empty = false;
            note_unreadable(disk, &device.path);
        }
    }
    Ok(())
}

/// The data mark; none on a disk whose install has not ended.
fn read_data_mark(block: &BlockDevice, unfinished: Option<Uuid>) -> Result<Option<DataMark>, FileError> {
    if unfinished.is_some() || block.size_bytes() < DATA_MARK_OFFSET + MARK_LENGTH {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(MARK_LENGTH).unwrap_or(4096)];
    block.read_at(DATA_MARK_OFFSET, &mut bytes)?;
    // Bytes of a disk are anybody's words: only names that need no escaping are a mark of ours.
    let is_plain = |text: &String| sanitise(text) == *text;
    let is_ours = |m: &DataMark| [&m.cluster, &m.hostname, &m.role, &m.mount].into_iter().all(is_plain);
    Ok(DataMark::parse(&bytes).filter(is_ours))
}

/// What the ends of the disk look like, and what is odd about the partition tables in them.
fn read_ends(block: &BlockDevice) -> Result<(Vec<String>, TableIdentity), FileError> {
    let length = block.size_bytes().min(TABLE_BYTES);
    let mut head = vec![0; usize::try_from(length).unwrap_or_default()];
    let mut tail = head.clone();
    block.read_at(0, &mut head)?;
    block.read_at(block.size_bytes() - length, &mut tail)?;
    let (disk_bytes, sector_bytes) = (block.size_bytes(), block.logical_sector_bytes());
    let mut found: Vec<String> = sniff_signatures(&head).into_iter().map(str::to_owned).collect();
    let ends = Ends { head: &head, tail: &tail, disk_bytes, sector_bytes };
    found.extend(inspect_tables(&ends));
    Ok((found, identify_tables(&ends)))
}

/// Nothing but zeros at both ends and wherever a sample is taken.
fn is_blank(block: &BlockDevice) -> Result<bool, FileError> {
    let size = block.size_bytes();
    if !block.is_zero(0, ENDS_BYTES)? || !block.is_zero(size.saturating_sub(ENDS_BYTES), ENDS_BYTES)? {
        return Ok(false);
    }
    for n in 1..=SAMPLES {
        if !block.is_zero(size / (SAMPLES + 1) * n, SAMPLE_BYTES)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A signature more when one of the file systems found here is that of a k3s node. Read with `debugfs`, without mounting it: no
/// journal is replayed.
fn has_k3s(found: &[Signature], path: &str) -> Option<Signature> {
    found.iter().find(|signature| signature.kind.starts_with("ext"))?;
    let is_folder = |folder: &&&str| {
        let request = format!("stat {folder}");
        let cmd = Cmd::new("debugfs").args(["-R", &request, path]).time_limit(PROBE_LIMIT);
        // A file system that cannot be read is data as it is.
        cmd.run_any_status().is_ok_and(|output| output.text().contains("Type: directory"))
    };
    K3S_FOLDERS.iter().find(is_folder)?;
    Some(Signature { kind: K3S.to_owned(), label: None, place: path.to_owned() })
}

fn note_unreadable(disk: &mut Disk, place: &str) {
    let signature = Signature { kind: UNREADABLE.to_owned(), label: None, place: place.to_owned() };
    if !disk.contents.contains(&signature) {
        disk.contents.push(signature);
    }
}

/// What `blkid` finds on a device.
fn probe(path: &str) -> Vec<Signature> {
    let signature = |kind: &str| Signature { kind: kind.to_owned(), label: None, place: path.to_owned() };
    // To blkid a device it cannot open is the same as an empty one.
    if BlockDevice::open_read_only(Path::new(path)).is_err() {
        return vec![signature(UNREADABLE)];
    }
    let cmd = Cmd::new("blkid").args(["--probe", "--output", "export", path]).time_limit(PROBE_LIMIT);
    match cmd.run_any_status().map(|output| (output.code(), output.text())) {
        Ok((Some(0), text)) => parse_blkid(&text, path),
        // An extended partition or a bare BIOS boot partition has nothing in it, and so has an empty disk.
        Ok((Some(NOTHING_FOUND), _)) => Vec::new(),
        Ok((Some(AMBIVALENT), _)) => {
            let mut found = vec![signature("several contradicting signatures")];
            found.extend(list_signatures(path));
            found
        }
        Ok(_) => vec![signature(UNREADABLE)],
        Err(error) => {
            tracing::warn!(path, error = %error, "a disk cannot be probed");
            vec![signature(UNREADABLE)]
        }
    }
}

/// The signatures that contradict each other.
fn list_signatures(path: &str) -> Vec<Signature> {
    let cmd = Cmd::new("wipefs").args(["--no-act", "--json", path]).time_limit(PROBE_LIMIT);
    let output = cmd.run_any_status().ok();
    output.and_then(|output| parse_wipefs(&output.text(), path)).unwrap_or_default()
}

/// Why the ESP could not be looked into.
#[derive(Debug, thiserror::Error)]
enum EspError {
    #[error("reading the ESP")]
    File(#[from] FileError),
    #[error("reading the install record")]
    Command(#[from] CommandError),
    #[error("reading the install record: {0}")]
    Io(String),
}

/// The install record of our layout; `None` when there is no ESP of ours, or none that was ever finished. Reads the FAT with
/// mtools, without mounting it.
fn read_record(device: &Device) -> Result<Option<InstallSummary>, EspError> {
    let is_ours = |part: &&Device| part.partlabel.as_deref() == Some(ESP_LABEL);
    let Some(esp) = device.partitions().find(is_ours) else { return Ok(None) };
    let block = BlockDevice::open_read_only(Path::new(&esp.path))?;
    let mut head =
        vec![0u8; usize::try_from(block.size_bytes()).unwrap_or(ESP_HEAD_BYTES).min(ESP_HEAD_BYTES)];
    block.read_at(0, &mut head)?;
    let output = Cmd::new("mtype")
        .args(["-i", &esp.path])
        .arg(format!("::{RECORD_ESP_PATH}"))
        // Geometry is a matter of floppies.
        .env("MTOOLS_SKIP_CHECK", "1")
        .env("MTOOLSRC", "/dev/null")
        .time_limit(PROBE_LIMIT)
        .run_any_status()?;
    if output.code() != Some(0) {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains(IO_ERROR) {
            return Err(EspError::Io(said));
        }
        // The disk can be read: there is no record, or never was a whole file system.
        return Ok(None);
    }
    let text = output.text();
    let Ok(record) = parse_record(&text) else {
        tracing::warn!(disk = device.path, "an install record that cannot be understood is none");
        return Ok(None);
    };
    Ok(Some(InstallSummary {
        install_id: record.install_id,
        cluster: record.cluster,
        hostname: record.hostname,
        image: record.image_version,
    }))
}

#[cfg(test)]
#[path = "contents_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "image_tests.rs"]
mod image_tests;

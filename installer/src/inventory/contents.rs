//! What is really on a disk: its own bytes, not what udev remembers. Reading only.

use super::UNREADABLE;
use super::blkid::{AMBIVALENT, NOTHING_FOUND, parse_blkid};
use super::lsblk::Device;
use super::model::{Disk, InstallSummary, Signature};
use crate::plan::layout::{MARK_LENGTH, MARK_OFFSET};
use crate::plan::mark::parse_mark;
use crate::record::{RECORD_ESP_PATH, parse_record};
use std::path::Path;
use std::time::Duration;
use sysio::block::BlockDevice;
use sysio::command::{Cmd, CommandError};
use sysio::files::FileError;

/// Label of the ESP of our layout.
const ESP_LABEL: &str = "metalstrap-esp";

/// The part of the ESP that holds the allocation tables: it must be readable before "no record" is believed.
const ESP_HEAD_BYTES: usize = 4 << 20;

/// What the C library calls a read error, in the locale `C`.
const IO_ERROR: &str = "Input/output error";

/// The part at either end of a disk that must be zero in an empty one: partition tables, boot code, RAID and ZFS labels.
const ENDS_BYTES: u64 = 1 << 20;

/// Limit for one `blkid`; a disk that takes longer is broken.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// Fills in what can only be seen by reading the disk. What cannot be read is noted as [`UNREADABLE`], which is data.
pub(super) fn look_at(device: &Device, disk: &mut Disk) {
    if disk.boot_medium || device.kind == "rom" {
        return;
    }
    for place in std::iter::once(device).chain(device.partitions()) {
        for signature in probe(&place.path) {
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
    let end = block.size_bytes().saturating_sub(ENDS_BYTES);
    let ends_are_zero = block.is_zero(0, ENDS_BYTES)? && block.is_zero(end, ENDS_BYTES)?;
    let has_partitions = device.partitions().next().is_some();
    disk.empty = ends_are_zero && !has_partitions && disk.contents.is_empty();
    let marked = if block.size_bytes() >= MARK_OFFSET + MARK_LENGTH {
        let mut mark = vec![0; usize::try_from(MARK_LENGTH).unwrap_or(4096)];
        block.read_at(MARK_OFFSET, &mut mark)?;
        parse_mark(&mark)
    } else {
        None
    };
    match read_record(device) {
        Ok(record) => {
            disk.unfinished_install = if record.is_none() { marked } else { None };
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
        Ok((Some(AMBIVALENT), _)) => vec![signature("several contradicting signatures")],
        Ok(_) => vec![signature(UNREADABLE)],
        Err(error) => {
            tracing::warn!(path, error = %error, "a disk cannot be probed");
            vec![signature(UNREADABLE)]
        }
    }
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

//! Searches for a planted secret where it must not be.
//!
//! On a disk the secret may stand in one place only: the files of the state partition that are meant for it. Every hit
//! in the raw disk is traced to its partition and, on the state partition, to its file.

use crate::command::stdout_of;
use crate::media::{Partition, partitions};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{BufRead, Read};
use std::path::Path;

/// Label of the state partition of an installed node.
const STATE_PARTITION: &str = "metalstrap-state";

/// Bytes of a block of the state file system: what `mkfs.ext4` makes on any disk above 512 MiB.
const BLOCK_BYTES: u64 = 4096;

/// How much of a disk is looked at in one piece.
const PIECE_BYTES: usize = 1024 * 1024;

/// Where a secret was found on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Byte of the disk.
    pub offset: u64,
    /// Label of the partition, or `outside` the partitions.
    pub partition: String,
    /// File on the state partition, or `None` when the block belongs to no file.
    pub file: Option<String>,
}

/// Demands that `text` does not hold the secret.
///
/// # Errors
/// It does; the error names `place`, never the secret.
pub fn ensure_not_in(text: &[u8], secret: &str, place: &str) -> Result<()> {
    match offsets_in(text, secret.as_bytes())?.first() {
        Some(offset) => bail!("the planted secret stands in {place}, byte {offset}"),
        None => Ok(()),
    }
}

/// Finds the secret on a disk file.
///
/// # Errors
/// A host tool fails, or the disk has no partition table.
pub fn find_on_disk(disk: &Path, secret: &str) -> Result<Vec<Hit>> {
    let partitions = partitions(disk)?;
    let offsets = find_bytes(disk, secret)?;
    let state = partitions.iter().find(|partition| partition.name == STATE_PARTITION);
    let copy = match state.filter(|state| offsets.iter().any(|offset| state.contains(*offset))) {
        Some(state) => Some(StateCopy::extract(disk, state)?),
        None => None,
    };
    let mut hits = Vec::new();
    for offset in offsets {
        let partition = partitions.iter().find(|partition| partition.contains(offset));
        let file = match &copy {
            Some(copy) => copy.file_at(offset)?,
            None => None,
        };
        let partition = partition.map_or("no partition", |partition| &partition.name).to_owned();
        hits.push(Hit { offset, partition, file });
    }
    Ok(hits)
}

/// Demands that the secret stands on the disk, and in files of the state partition only whose path ends with one of
/// `allowed`.
///
/// # Errors
/// Any other hit, or none at all: then the search itself would be worth nothing.
pub fn ensure_only_in(disk: &Path, secret: &str, allowed: &[&str]) -> Result<usize> {
    let hits = find_on_disk(disk, secret)?;
    judge(&hits, allowed).with_context(|| format!("searching {}", disk.display()))
}

fn judge(hits: &[Hit], allowed: &[&str]) -> Result<usize> {
    if hits.is_empty() {
        bail!("the planted secret was found nowhere: the search is blind, or the node got no secret");
    }
    for hit in hits {
        let file = hit.file.as_deref().unwrap_or("a block of no file");
        if hit.partition != STATE_PARTITION {
            bail!("the planted secret stands at byte {}, in {}", hit.offset, hit.partition);
        }
        if !allowed.iter().any(|end| file.ends_with(end)) {
            bail!("the planted secret stands at byte {}, in {STATE_PARTITION}: {file}", hit.offset);
        }
    }
    Ok(hits.len())
}

/// Offsets of `secret` in a file of any size.
fn find_bytes(disk: &Path, secret: &str) -> Result<Vec<u64>> {
    let secret = secret.as_bytes();
    let mut file = File::open(disk).with_context(|| format!("opening {}", disk.display()))?;
    let mut buffer = vec![0u8; PIECE_BYTES];
    let mut found = Vec::new();
    let (mut start, mut kept) = (0u64, 0usize);
    loop {
        let count = file.read(&mut buffer[kept..]).with_context(|| format!("reading {}", disk.display()))?;
        if count == 0 {
            return Ok(found);
        }
        let filled = kept + count;
        found.extend(offsets_in(&buffer[..filled], secret)?.into_iter().map(|at| start + at as u64));
        // The end is looked at again together with what follows: a secret may lie across two pieces.
        kept = filled.min(secret.len() - 1);
        buffer.copy_within(filled - kept..filled, 0);
        start += (filled - kept) as u64;
    }
}

/// Offsets of `secret` in `bytes`. Looks for its first byte by `skip_until`, which the standard library has compiled
/// with optimisation, so that gigabytes take seconds in a debug build too.
fn offsets_in(bytes: &[u8], secret: &[u8]) -> Result<Vec<usize>> {
    let first = *secret.first().context("an empty secret cannot be searched for")?;
    let (mut rest, mut found) = (bytes, Vec::new());
    while rest.skip_until(first)? > 0 {
        let at = bytes.len() - rest.len() - 1;
        if bytes[at..].starts_with(secret) {
            found.push(at);
        }
    }
    Ok(found)
}

/// A copy of the state partition as the next boot would see it: a machine that was killed has its newest files in the
/// journal only.
struct StateCopy {
    file: tempfile::NamedTempFile,
    start: u64,
    length: u64,
}

impl StateCopy {
    fn extract(disk: &Path, partition: &Partition) -> Result<Self> {
        let file = tempfile::NamedTempFile::new_in(disk.parent().unwrap_or(Path::new(".")))?;
        let copy = file.path().display().to_string();
        let words = [
            format!("if={}", disk.display()),
            format!("of={copy}"),
            format!("skip={}", partition.start),
            format!("count={}", partition.length),
            "iflag=skip_bytes,count_bytes".to_owned(),
            "bs=1M".to_owned(),
            "conv=sparse".to_owned(),
            "status=none".to_owned(),
        ];
        stdout_of("dd", &words)?;
        stdout_of("e2fsck", &["-p", "-E", "journal_only", &copy])?;
        Ok(Self { file, start: partition.start, length: partition.length })
    }

    /// The path of the file that a byte of the disk belongs to; `None` outside the partition and in a block of no file.
    fn file_at(&self, offset: u64) -> Result<Option<String>> {
        let Some(inside) = offset.checked_sub(self.start).filter(|inside| *inside < self.length) else {
            return Ok(None);
        };
        let inode = self.ask(&format!("icheck {}", inside / BLOCK_BYTES))?;
        let Some(inode) = inode.filter(|inode| inode.bytes().all(|byte| byte.is_ascii_digit())) else {
            return Ok(None);
        };
        // The journal (inode 8) has no path.
        Ok(self.ask(&format!("ncheck {inode}"))?.or(Some(format!("inode {inode}"))))
    }

    fn ask(&self, request: &str) -> Result<Option<String>> {
        let output = stdout_of("debugfs", &["-R", request, &self.file.path().display().to_string()])?;
        Ok(second_column(&String::from_utf8_lossy(&output)))
    }
}

/// `debugfs` answers with a heading and one line of two columns.
fn second_column(output: &str) -> Option<String> {
    let line = output.lines().nth(1)?;
    line.split_once('\t').map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{
        Hit, PIECE_BYTES, ensure_not_in, ensure_only_in, find_bytes, find_on_disk, judge, offsets_in,
        second_column,
    };
    use crate::command::stdout_of;
    use crate::media::make_disk;
    use std::path::Path;

    const SECRET: &str = "CANARY-5f3b";

    /// A disk with an ESP-like and a state partition; the state holds the secret in `/etc/upper/token`.
    fn disk(dir: &Path) -> std::path::PathBuf {
        let disk = dir.join("disk");
        let script = format!(
            "set -e; cd '{0}'; truncate -s 48M disk; \
             printf 'label: gpt\\nstart=2048, size=16384, name=metalstrap-esp\\nstart=20480, size=65536, name=metalstrap-state\\n' \
             | sfdisk -q disk; \
             mkdir -p tree/etc/upper; printf 'K10x::server:{SECRET}' > tree/etc/upper/token; \
             truncate -s 32M fs; mkfs.ext4 -q -b 4096 -d tree fs; dd if=fs of=disk bs=1M seek=10 conv=notrunc status=none",
            dir.display()
        );
        stdout_of("sh", &["-c", &script]).unwrap();
        disk
    }

    fn plant(disk: &Path, mib: u64) {
        let script =
            format!("printf {SECRET} | dd of='{}' bs=1M seek={mib} conv=notrunc status=none", disk.display());
        stdout_of("sh", &["-c", &script]).unwrap();
    }

    #[test]
    fn finds_the_file_a_secret_stands_in() {
        let dir = tempfile::tempdir().unwrap();
        let disk = disk(dir.path());
        let hits = find_on_disk(&disk, SECRET).unwrap();
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].partition, "metalstrap-state");
        assert_eq!(hits[0].file.as_deref(), Some("/etc/upper/token"));
        assert_eq!(ensure_only_in(&disk, SECRET, &["/upper/token"]).unwrap(), 1);
    }

    #[test]
    fn sees_a_secret_outside_the_state_partition_and_outside_all() {
        let dir = tempfile::tempdir().unwrap();
        let disk = disk(dir.path());
        plant(&disk, 2);
        let error = ensure_only_in(&disk, SECRET, &["/upper/token"]).unwrap_err();
        assert_eq!(
            error.root_cause().to_string(),
            "the planted secret stands at byte 2097152, in metalstrap-esp"
        );
        plant(&disk, 45);
        let hits = find_on_disk(&disk, SECRET).unwrap();
        assert_eq!(hits.last().unwrap().partition, "no partition");
    }

    #[test]
    fn refuses_other_files_and_blocks_of_no_file() {
        let hit = |file: Option<&str>| Hit {
            offset: 7,
            partition: "metalstrap-state".to_owned(),
            file: file.map(str::to_owned),
        };
        assert_eq!(judge(&[hit(Some("/etc/upper/a/token"))], &["/a/token"]).unwrap(), 1);
        assert_eq!(
            judge(&[hit(Some("/var/log/x"))], &["/a/token"]).unwrap_err().to_string(),
            "the planted secret stands at byte 7, in metalstrap-state: /var/log/x"
        );
        assert_eq!(
            judge(&[hit(None)], &["/a/token"]).unwrap_err().to_string(),
            "the planted secret stands at byte 7, in metalstrap-state: a block of no file"
        );
    }

    #[test]
    fn does_not_take_a_blind_search_for_a_clean_disk() {
        let dir = tempfile::tempdir().unwrap();
        let disk = disk(dir.path());
        let error = ensure_only_in(&disk, "ANOTHER-SECRET", &[]).unwrap_err();
        assert_eq!(
            error.root_cause().to_string(),
            "the planted secret was found nowhere: the search is blind, or the node got no secret"
        );
    }

    #[test]
    fn finds_a_secret_across_two_pieces_and_at_the_very_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut content = vec![b'C'; 3 * PIECE_BYTES];
        for at in [PIECE_BYTES - 4, 2 * PIECE_BYTES - 20, 3 * PIECE_BYTES - SECRET.len()] {
            content[at..at + SECRET.len()].copy_from_slice(SECRET.as_bytes());
        }
        std::fs::write(file.path(), &content).unwrap();
        let expected =
            [PIECE_BYTES - 4, 2 * PIECE_BYTES - 20, 3 * PIECE_BYTES - SECRET.len()].map(|at| at as u64);
        assert_eq!(find_bytes(file.path(), SECRET).unwrap(), expected);
        assert!(find_bytes(file.path(), "DANARY").unwrap().is_empty());
    }

    #[test]
    fn last_byte_alike_is_no_hit() {
        assert!(offsets_in(b"xxC", b"CANARY").unwrap().is_empty());
        assert_eq!(
            offsets_in(b"CANARY", b"").unwrap_err().to_string(),
            "an empty secret cannot be searched for"
        );
    }

    #[test]
    fn searches_texts() {
        ensure_not_in(b"nothing here", SECRET, "the console").unwrap();
        let error = ensure_not_in(b"token=CANARY-5f3b", SECRET, "the console").unwrap_err();
        assert_eq!(error.to_string(), "the planted secret stands in the console, byte 6");
    }

    #[test]
    fn a_disk_without_table_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("empty");
        make_disk(&disk, 4).unwrap();
        assert!(find_on_disk(&disk, SECRET).unwrap_err().to_string().starts_with("sfdisk: "));
    }

    #[test]
    fn reads_debugfs_answers() {
        assert_eq!(second_column("Block\tInode number\n17\t12\n"), Some("12".to_owned()));
        assert_eq!(second_column("Inode\tPathname\n"), None);
    }
}

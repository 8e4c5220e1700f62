//! `install.record`: the install that made this system was finished.

use crate::catalogue::{ALL_ROLES, AT_ONCE, Check, Looking, Moment, always, secs};
use crate::context::{Context, read_bounded};
use crate::facts::kernel_argument;
use crate::verdict::Verdict;
use serde::Deserialize;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Copy of the install record on the state partition.
const RECORD_PATH: &str = "var/lib/metalstrap/install.json";

/// Schema of the record; the installer writes no other.
const RECORD_SCHEMA: &str = "metalstrap.install/v1";

/// The unfinished mark stands in the last 4096 bytes of the first 2 MiB of the disk (docs/design/0001).
const MARK_OFFSET: u64 = 2 * 1024 * 1024 - 4096;

/// First words of the mark.
const MARK_HEAD: &[u8] = b"METALSTRAP UNFINISHED v1 ";

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "install.record",
    title: "The install of this node was finished",
    source: "`/var/lib/metalstrap/install.json`, and the block of the disk where the unfinished mark would stand",
    limits: "Record missing or of another node, or the mark still there: warning; disk unreadable: unknown; preflight checks that were left out are named and are no warning",
    roles: ALL_ROLES,
    applies: always,
    interval: secs(300),
    timeout: secs(10),
    patience: AT_ONCE,
    depends_on: &[],
    action: "a mark alone is left by a power cut at the very end of an install and does no harm; otherwise install the node again",
    subject: "",
    look,
};

/// The part of the record this check looks at.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Record {
    schema: String,
    cluster: String,
    hostname: String,
    image_version: String,
    /// Preflight checks that were left out, each with who said so.
    #[serde(default)]
    skipped_checks: Vec<String>,
}

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move {
        let root = context.root.clone();
        let seen =
            context.blocking.run("install.record", move || (read_record(&root), read_mark(&root))).await;
        match seen {
            Ok((record, mark)) => judge(&context.node.cluster.name, &context.node.hostname, &record, &mark),
            Err(hung) => Verdict::unknown("Hung", format!("the disk does not answer: {hung}")),
        }
    })
}

fn read_record(root: &Path) -> Result<Record, String> {
    let text =
        read_bounded(&root.join(RECORD_PATH)).map_err(|error| format!("reading /{RECORD_PATH}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("parsing /{RECORD_PATH}: {error}"))
}

/// True when the mark stands on the disk that holds the state partition.
fn read_mark(root: &Path) -> Result<bool, String> {
    let cmdline = read_bounded(&root.join("proc/cmdline"))
        .map_err(|error| format!("reading /proc/cmdline: {error}"))?;
    let argument = kernel_argument(&cmdline, "metalstrap.state");
    let partition = argument
        .as_deref()
        .and_then(|value| value.strip_prefix("PARTUUID="))
        .filter(|id| id.chars().all(|c| c.is_ascii_hexdigit() || c == '-'))
        .ok_or("the kernel's command line names no state partition")?;
    let disk =
        disk_of(root, partition).map_err(|error| format!("finding the disk of {partition}: {error}"))?;
    let mut head = vec![0; MARK_HEAD.len()];
    let read = std::fs::File::open(&disk).and_then(|mut file| {
        file.seek(SeekFrom::Start(MARK_OFFSET))?;
        file.read_exact(&mut head)
    });
    read.map_err(|error| format!("reading {}: {error}", disk.display()))?;
    Ok(head == MARK_HEAD)
}

/// `/dev` node of the disk a partition lies on: udev's link gives the partition, sysfs its parent.
fn disk_of(root: &Path, partuuid: &str) -> std::io::Result<PathBuf> {
    let missing = || std::io::Error::other("no such block device");
    let partition =
        std::fs::canonicalize(root.join("dev/disk/by-partuuid").join(partuuid.to_ascii_lowercase()))?;
    let name = partition.file_name().ok_or_else(missing)?;
    let device = std::fs::canonicalize(root.join("sys/class/block").join(name))?;
    let disk = device.parent().and_then(Path::file_name).ok_or_else(missing)?;
    Ok(root.join("dev").join(disk))
}

/// Record and mark.
pub fn judge(
    cluster: &str,
    hostname: &str,
    record: &Result<Record, String>,
    mark: &Result<bool, String>,
) -> Verdict {
    let record = match record {
        Ok(record) => record,
        Err(why) => return Verdict::warning("NoRecord", why.clone()),
    };
    if record.schema != RECORD_SCHEMA {
        let text = format!("the record's schema is {:?}, expected {RECORD_SCHEMA:?}", record.schema);
        return Verdict::warning("UnknownSchema", text);
    }
    if (record.cluster.as_str(), record.hostname.as_str()) != (cluster, hostname) {
        let text = format!(
            "the record is of {} in {}, not of {hostname} in {cluster}",
            record.hostname, record.cluster
        );
        return Verdict::warning("OtherNode", text);
    }
    match mark {
        Err(why) => Verdict::unknown("MarkUnreadable", why.clone()),
        Ok(true) => {
            Verdict::warning("Unfinished", "the disk still carries the mark of an unfinished install")
        }
        Ok(false) => Verdict::ok(
            "Finished",
            format!("installed from image {}{}", record.image_version, left_out(record)),
        ),
    }
}

/// Said and no warning: the operator meant it, and a warning that nobody can ever clear hides the next one.
fn left_out(record: &Record) -> String {
    match record.skipped_checks.as_slice() {
        [] => String::new(),
        some => format!("; checks left out: {}", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{MARK_OFFSET, Record, judge, read_mark};
    use crate::verdict::Verdict;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn record(schema: &str, hostname: &str) -> Result<Record, String> {
        Ok(Record {
            schema: schema.to_owned(),
            cluster: "lab".to_owned(),
            hostname: hostname.to_owned(),
            image_version: "0.1.0".to_owned(),
            skipped_checks: Vec::new(),
        })
    }

    #[test]
    fn judges_record_and_mark() {
        let v1 = "metalstrap.install/v1";
        let table = [
            (record(v1, "m1"), Ok(false), Verdict::ok("Finished", "installed from image 0.1.0")),
            (
                record(v1, "m1"),
                Ok(true),
                Verdict::warning("Unfinished", "the disk still carries the mark of an unfinished install"),
            ),
            (
                record(v1, "m1"),
                Err("reading /dev/x".to_owned()),
                Verdict::unknown("MarkUnreadable", "reading /dev/x"),
            ),
            (
                record(v1, "m2"),
                Ok(false),
                Verdict::warning("OtherNode", "the record is of m2 in lab, not of m1 in lab"),
            ),
            (
                record("x/v9", "m1"),
                Ok(false),
                Verdict::warning(
                    "UnknownSchema",
                    "the record's schema is \"x/v9\", expected \"metalstrap.install/v1\"",
                ),
            ),
            (Err("reading x".to_owned()), Ok(false), Verdict::warning("NoRecord", "reading x")),
        ];
        let mut chosen = record(v1, "m1").unwrap();
        chosen.skipped_checks = vec!["network.speed: left out by the cluster file".to_owned()];
        let said = "installed from image 0.1.0; checks left out: network.speed: left out by the cluster file";
        assert_eq!(judge("lab", "m1", &Ok(chosen), &Ok(false)), Verdict::ok("Finished", said));
        for (record, mark, expected) in table {
            assert_eq!(judge("lab", "m1", &record, &mark), expected);
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn finds_the_mark_on_the_disk_of_the_state_partition() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for folder in ["proc", "dev/disk/by-partuuid", "sys/class/block", "sys/devices/vda/vda5"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("proc/cmdline"), "metalstrap.state=PARTUUID=ABCD-5\n").unwrap();
        fs::write(at("dev/vda5"), "").unwrap();
        symlink("../../vda5", at("dev/disk/by-partuuid/abcd-5")).unwrap();
        symlink("../../devices/vda/vda5", at("sys/class/block/vda5")).unwrap();
        let mut disk = vec![0; usize::try_from(MARK_OFFSET).unwrap() + 4096];
        fs::write(at("dev/vda"), &disk).unwrap();
        assert_eq!(read_mark(root.path()), Ok(false));
        let text = b"METALSTRAP UNFINISHED v1 0000\n";
        disk[MARK_OFFSET as usize..][..text.len()].copy_from_slice(text);
        fs::write(at("dev/vda"), &disk).unwrap();
        assert_eq!(read_mark(root.path()), Ok(true));
        fs::write(at("proc/cmdline"), "quiet\n").unwrap();
        let error = "the kernel's command line names no state partition".to_owned();
        assert_eq!(read_mark(root.path()), Err(error));
    }
}

//! `disk.data`: every data disk is mounted where it belongs, has room and is writable.

use crate::catalogue::{ALL_ROLES, AT_ONCE, Check, Looking, Moment, Wanted, secs};
use crate::context::{Context, read_bounded};
use crate::thresholds::{Floor, percent};
use crate::verdict::Verdict;
use profiles::node::NodeConfig;
use report::State;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;
use sysio::filesystem::{MountLine, Room, read_mountinfo, read_room};

/// Copy of the install record on the state partition; it says which partition belongs where.
const RECORD_PATH: &str = "var/lib/metalstrap/install.json";

/// What is mounted where, as the agent itself sees it.
const MOUNTINFO: &str = "proc/self/mountinfo";

/// Free share of bytes and of inodes. The kubelet starts to clean up at 15 %.
const FREE: Floor =
    Floor { warn_percent: 10, warn_leave_percent: 15, critical_percent: 3, critical_leave_percent: 6 };

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "disk.data",
    title: "Every data disk is mounted where it belongs, has room and is writable",
    source: "mountinfo, the partition that the install record names for each mount point, `statvfs`, and ext4's `errors_count`",
    limits: "Not mounted, another device there, or read-only: critical; under 10 % of bytes or inodes free: warning (until 15 %); under 3 %: critical (until 6 %); ext4 has seen errors: warning; record unreadable or no answer: unknown",
    roles: ALL_ROLES,
    applies: wanted,
    interval: secs(60),
    timeout: secs(10),
    patience: AT_ONCE,
    depends_on: &[],
    action: "systemctl status 'metalstrap-fsck-*' '*.mount'; lsblk -o NAME,PARTUUID,MOUNTPOINT; dmesg | grep -i -e ext4 -e 'I/O error'",
    subject: "",
    look,
};

/// Only a node with data disks wants it.
fn wanted(node: &NodeConfig) -> Wanted {
    if node.data_disks.is_empty() {
        return Wanted::No("this node has no data disk".to_owned());
    }
    Wanted::Yes(node.data_disks.iter().map(|data| data.mount.as_str()).collect::<Vec<_>>().join(" "))
}

/// The part of the record this check looks at.
#[derive(Debug, Deserialize)]
struct Record {
    #[serde(default)]
    data_disks: Vec<RecordedDisk>,
}

#[derive(Debug, Deserialize)]
struct RecordedDisk {
    mount: String,
    partition: String,
}

/// What was seen of one data disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Where it belongs.
    pub mount: String,
    /// What is there.
    pub found: Found,
}

/// What is at a mount point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The install record says nothing of it.
    NotRecorded,
    /// No partition with the PARTUUID that was recorded.
    NoPartition(String),
    /// Nothing is mounted.
    NotMounted,
    /// Another device is mounted.
    Stranger(String),
    /// The disk.
    Mounted {
        /// Room.
        room: Room,
        /// Options of the file system itself.
        super_options: Vec<String>,
        /// Errors that ext4 has noted.
        errors_count: Option<u64>,
    },
}

fn look(_: &'static str, context: Arc<Context>, moment: Moment) -> Looking {
    Box::pin(async move {
        let root = context.root.clone();
        let mounts: Vec<String> = context.node.data_disks.iter().map(|data| data.mount.clone()).collect();
        match context.blocking.run("disk.data", move || observe(&root, &mounts)).await {
            Ok(seen) => judge(&seen, moment.was),
            Err(hung) => Verdict::unknown("Hung", format!("a data disk does not answer: {hung}")),
        }
    })
}

fn observe(root: &Path, mounts: &[String]) -> Result<Vec<Observation>, String> {
    let read = |path: &str| read_bounded(&root.join(path)).map_err(|e| format!("reading /{path}: {e}"));
    let record: Record = serde_json::from_str(&read(RECORD_PATH)?)
        .map_err(|error| format!("parsing /{RECORD_PATH}: {error}"))?;
    let table = read_mountinfo(&root.join(MOUNTINFO), |line| mounts.contains(&line.mount_point))
        .map_err(|error| format!("reading /{MOUNTINFO}: {error}"))?;
    mounts
        .iter()
        .map(|mount| {
            let recorded = record.data_disks.iter().find(|disk| disk.mount == *mount);
            let found = match recorded {
                Some(disk) => find(root, disk, &table)?,
                None => Found::NotRecorded,
            };
            Ok(Observation { mount: mount.clone(), found })
        })
        .collect()
}

fn find(root: &Path, disk: &RecordedDisk, table: &[MountLine]) -> Result<Found, String> {
    let mount = &disk.mount;
    let is_plain = disk.partition.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let link = root.join("dev/disk/by-partuuid").join(&disk.partition);
    let device = std::fs::read_link(link).ok().filter(|_| is_plain);
    let Some(device) = device.as_deref().and_then(|target| target.file_name()?.to_str()) else {
        return Ok(Found::NoPartition(disk.partition.clone()));
    };
    // Of several mounts on one place the last one counts.
    let Some(line) = table.iter().rev().find(|line| line.mount_point == *mount) else {
        return Ok(Found::NotMounted);
    };
    if line.source.rsplit('/').next() != Some(device) {
        return Ok(Found::Stranger(line.source.clone()));
    }
    let errors = read_bounded(&root.join(format!("sys/fs/ext4/{device}/errors_count")));
    let place = root.join(mount.trim_start_matches('/'));
    Ok(Found::Mounted {
        room: read_room(&place).map_err(|error| format!("statvfs of {mount}: {error}"))?,
        super_options: line.super_options.clone(),
        errors_count: errors.ok().and_then(|count| count.trim().parse().ok()),
    })
}

/// State of all data disks: that of the worst.
pub fn judge(seen: &Result<Vec<Observation>, String>, was: State) -> Verdict {
    let seen = match seen {
        Ok(seen) => seen,
        Err(why) => return Verdict::unknown("CannotLook", why.clone()),
    };
    let verdicts: Vec<Verdict> = seen.iter().map(|one| judge_one(one, was)).collect();
    if verdicts.iter().all(|verdict| verdict.state == State::Ok) {
        let texts: Vec<&str> = verdicts.iter().map(|verdict| verdict.message.as_str()).collect();
        return Verdict::ok("Mounted", texts.join("; "));
    }
    let rank = |verdict: &&Verdict| match verdict.state {
        State::Critical => 3,
        State::Unknown => 2,
        State::Warning => 1,
        State::Ok | State::Disabled => 0,
    };
    // The first of the worst, so that the verdict does not change from look to look.
    let worst = verdicts.iter().rev().max_by_key(rank).cloned();
    worst.unwrap_or_else(|| Verdict::unknown("CannotLook", "this node has no data disk"))
}

fn judge_one(seen: &Observation, was: State) -> Verdict {
    let mount = &seen.mount;
    let (room, options, errors) = match &seen.found {
        Found::NotRecorded => {
            let text = format!("the install record knows no data disk for {mount}");
            return Verdict::critical("NotRecorded", text);
        }
        Found::NoPartition(id) => {
            let text = format!("the data disk for {mount} is not there (no partition {id})");
            return Verdict::critical("Missing", text);
        }
        Found::NotMounted => {
            return Verdict::critical("NotMounted", format!("the data disk for {mount} is not mounted"));
        }
        Found::Stranger(device) => {
            return Verdict::critical(
                "Stranger",
                format!("{device} is mounted on {mount}, not its data disk"),
            );
        }
        Found::Mounted { room, super_options, errors_count } => (room, super_options, errors_count),
    };
    if let Some(option) = options.iter().find(|o| matches!(o.as_str(), "ro" | "emergency_ro" | "shutdown")) {
        return Verdict::critical("ReadOnly", format!("the data disk on {mount} is read-only ({option})"));
    }
    let bytes = percent(room.available_bytes, room.total_bytes);
    let inodes = if room.total_inodes == 0 { 100 } else { percent(room.available_inodes, room.total_inodes) };
    let text = format!("{mount}: {bytes} % of the bytes and {inodes} % of the inodes are free");
    let state = FREE.judge(bytes.min(inodes), was);
    if state != State::Ok {
        return Verdict::new(state, if bytes <= inodes { "SpaceLow" } else { "InodesLow" }, text);
    }
    match errors {
        Some(count) if *count > 0 => {
            let text = format!("ext4 has noted {count} errors on the data disk on {mount}");
            Verdict::warning("FilesystemErrors", text)
        }
        _ => Verdict::ok("Mounted", text),
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, Observation, judge, observe};
    use crate::verdict::Verdict;
    use report::State;
    use std::fs;
    use std::os::unix::fs::symlink;
    use sysio::filesystem::Room;

    fn mounted(bytes: u64, inodes: u64, options: &[&str], errors_count: Option<u64>) -> Found {
        let room =
            Room { total_bytes: 100, available_bytes: bytes, total_inodes: 100, available_inodes: inodes };
        Found::Mounted {
            room,
            super_options: options.iter().map(|o| (*o).to_owned()).collect(),
            errors_count,
        }
    }

    fn judge_all(found: Vec<Found>) -> Verdict {
        let places = ["/var/lib/a", "/var/lib/b", "/var/lib/c"];
        let seen =
            places.iter().zip(found).map(|(mount, found)| Observation { mount: (*mount).to_owned(), found });
        judge(&Ok(seen.collect()), State::Unknown)
    }

    #[test]
    fn the_worst_disk_decides() {
        let good = || mounted(50, 60, &["rw"], Some(0));
        let share = |mount: &str| format!("{mount}: 50 % of the bytes and 60 % of the inodes are free");
        let table = [
            (vec![good()], Verdict::ok("Mounted", share("/var/lib/a"))),
            (
                vec![good(), good()],
                Verdict::ok("Mounted", format!("{}; {}", share("/var/lib/a"), share("/var/lib/b"))),
            ),
            (
                vec![good(), Found::NotMounted],
                Verdict::critical("NotMounted", "the data disk for /var/lib/b is not mounted"),
            ),
            (
                vec![
                    mounted(9, 60, &["rw"], Some(0)),
                    Found::NoPartition("0-1".to_owned()),
                    Found::NotMounted,
                ],
                Verdict::critical("Missing", "the data disk for /var/lib/b is not there (no partition 0-1)"),
            ),
            (
                vec![Found::Stranger("tmpfs".to_owned())],
                Verdict::critical("Stranger", "tmpfs is mounted on /var/lib/a, not its data disk"),
            ),
            (
                vec![Found::NotRecorded],
                Verdict::critical("NotRecorded", "the install record knows no data disk for /var/lib/a"),
            ),
            (
                vec![mounted(50, 60, &["rw", "emergency_ro"], Some(0))],
                Verdict::critical("ReadOnly", "the data disk on /var/lib/a is read-only (emergency_ro)"),
            ),
            (
                vec![mounted(9, 60, &["rw"], Some(0)), good()],
                Verdict::warning("SpaceLow", "/var/lib/a: 9 % of the bytes and 60 % of the inodes are free"),
            ),
            (
                vec![mounted(50, 2, &["rw"], Some(0))],
                Verdict::critical(
                    "InodesLow",
                    "/var/lib/a: 50 % of the bytes and 2 % of the inodes are free",
                ),
            ),
            (
                vec![good(), mounted(50, 60, &["rw"], Some(3))],
                Verdict::warning(
                    "FilesystemErrors",
                    "ext4 has noted 3 errors on the data disk on /var/lib/b",
                ),
            ),
        ];
        for (found, expected) in table {
            assert_eq!(judge_all(found.clone()), expected, "{found:?}");
        }
        assert_eq!(judge(&Err("x".to_owned()), State::Ok), Verdict::unknown("CannotLook", "x"));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn compares_what_is_mounted_with_the_partition_of_the_record() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for folder in ["proc/self", "dev/disk/by-partuuid", "var/lib/metalstrap", "var/lib/rancher"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        let mounts = ["/var/lib/rancher".to_owned()];
        assert!(observe(root.path(), &mounts).unwrap_err().starts_with("reading /var/lib/metalstrap/"));
        let record = r#"{"data_disks":[{"mount":"/var/lib/rancher","partition":"00-07"}]}"#;
        fs::write(at("var/lib/metalstrap/install.json"), record).unwrap();
        let table = |lines: &str| fs::write(at("proc/self/mountinfo"), lines).unwrap();
        let found = || observe(root.path(), &mounts).unwrap().remove(0).found;
        table("30 22 8:5 / /var rw - ext4 /dev/sda5 rw\n");
        assert_eq!(found(), Found::NoPartition("00-07".to_owned()));
        symlink("../../sdb2", at("dev/disk/by-partuuid/00-07")).unwrap();
        assert_eq!(found(), Found::NotMounted);
        table(
            "31 30 8:18 / /var/lib/rancher rw - ext4 /dev/sdb2 rw\n32 31 0:9 / /var/lib/rancher rw - tmpfs none rw\n",
        );
        assert_eq!(found(), Found::Stranger("none".to_owned()));
        table("31 30 8:18 / /var/lib/rancher ro - ext4 /dev/sdb2 rw,errors=remount-ro\n");
        assert!(matches!(found(), Found::Mounted { errors_count: None, .. }));
        let overlay = format!("40 30 0:50 / /run/x rw - overlay overlay rw,lowerdir={}\n", "l".repeat(3000));
        table(&format!("31 30 8:18 / /var/lib/rancher rw - ext4 /dev/sdb2 rw\n{}", overlay.repeat(700)));
        assert!(matches!(found(), Found::Mounted { .. }), "2 MiB of mounts of containers");
        let other = ["/var/lib/other".to_owned()];
        assert_eq!(observe(root.path(), &other).unwrap()[0].found, Found::NotRecorded);
    }
}

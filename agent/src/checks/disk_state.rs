//! `disk.state`: the state partition has room, is writable, and really takes writes.

use crate::catalogue::{ALL_ROLES, AT_ONCE, Check, Looking, Moment, always, secs};
use crate::context::{Context, read_bounded};
use crate::thresholds::{Floor, percent};
use crate::verdict::Verdict;
use report::State;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use sysio::filesystem::{Room, covering, probe_write, read_mountinfo, read_room};

/// A folder on the state partition; what `/var` is on another partition does not matter to us.
const STATE_PATH: &str = "/var/lib/metalstrap";

/// Free share of bytes and of inodes. The kubelet starts to clean up at 15 %.
const FREE: Floor =
    Floor { warn_percent: 10, warn_leave_percent: 15, critical_percent: 3, critical_leave_percent: 6 };

/// A write with its sync that takes this long is too slow for etcd and the kubelet by far.
const WRITE_SLOW: Duration = Duration::from_secs(10);

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "disk.state",
    title: "The state partition has room and takes writes",
    source: "`statvfs` of `/var/lib/metalstrap`, super options in mountinfo, ext4's `errors_count`, and a file written, synced and read back",
    limits: "Under 10 % of bytes or inodes free: warning (until 15 %); under 3 %: critical (until 6 %); read-only or write fails: critical; ext4 has seen errors, or the write takes 10 s or more: warning; no answer within 30 s: unknown, and while it still hangs at the next look: warning",
    roles: ALL_ROLES,
    applies: always,
    interval: secs(60),
    // A disk that other writers fill to the brim needs seconds for one sync, and is no less there for it.
    timeout: secs(30),
    patience: AT_ONCE,
    depends_on: &[],
    action: "df -h /var; df -i /var; dmesg | grep -i -e ext4 -e 'I/O error'",
    subject: "",
    look,
};

/// What was seen of the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Room.
    pub room: Room,
    /// Options of the file system itself.
    pub super_options: Vec<String>,
    /// Errors that ext4 has noted; `None` on another file system.
    pub errors_count: Option<u64>,
    /// How the trial write went, and how long it took.
    pub written: Result<Duration, String>,
}

fn look(_: &'static str, context: Arc<Context>, moment: Moment) -> Looking {
    Box::pin(async move {
        let root = context.root.clone();
        let text = moment.realtime.to_string();
        let seen = context.blocking.run("disk.state", move || observe(&root, &text)).await;
        match seen {
            Ok(seen) => judge(&seen, moment.was),
            // Not a look that was lost: the write of the look before still waits for the disk.
            Err(hung) => Verdict::warning("Hung", format!("the state partition does not answer: {hung}")),
        }
    })
}

fn observe(root: &Path, text: &str) -> Result<Observation, String> {
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let mounts = read_mountinfo(&below("/proc/self/mountinfo"), |mount| mount.holds(STATE_PATH))
        .map_err(|error| format!("reading mountinfo: {error}"))?;
    let mount = covering(&mounts, STATE_PATH).ok_or("no mount holds /var/lib/metalstrap")?;
    let device = mount.source.rsplit('/').next().unwrap_or_default();
    let errors = read_bounded(&below(&format!("/sys/fs/ext4/{device}/errors_count")));
    Ok(Observation {
        room: read_room(&below(STATE_PATH)).map_err(|error| format!("statvfs of {STATE_PATH}: {error}"))?,
        super_options: mount.super_options.clone(),
        errors_count: errors.ok().and_then(|count| count.trim().parse().ok()),
        written: timed_write(&below(STATE_PATH).join("agent"), text).map_err(|error| error.to_string()),
    })
}

fn timed_write(folder: &Path, text: &str) -> std::io::Result<Duration> {
    let begun = sysio::clock::boottime()?;
    probe_write(folder, text)?;
    Ok(sysio::clock::boottime()?.saturating_sub(begun))
}

/// State of the file system; the worst finding wins.
pub fn judge(seen: &Result<Observation, String>, was: State) -> Verdict {
    let seen = match seen {
        Ok(seen) => seen,
        Err(why) => return Verdict::unknown("CannotLook", why.clone()),
    };
    if let Some(option) =
        seen.super_options.iter().find(|o| matches!(o.as_str(), "ro" | "emergency_ro" | "shutdown"))
    {
        return Verdict::critical("ReadOnly", format!("the state partition is read-only ({option})"));
    }
    let write_took = match &seen.written {
        Ok(took) => *took,
        Err(why) => {
            return Verdict::critical("WriteFails", format!("writing to the state partition: {why}"));
        }
    };
    let bytes = percent(seen.room.available_bytes, seen.room.total_bytes);
    let inodes = if seen.room.total_inodes == 0 {
        100
    } else {
        percent(seen.room.available_inodes, seen.room.total_inodes)
    };
    let text = format!("{bytes} % of the bytes and {inodes} % of the inodes are free");
    let state = FREE.judge(bytes.min(inodes), was);
    if state != State::Ok {
        return Verdict::new(state, if bytes <= inodes { "SpaceLow" } else { "InodesLow" }, text);
    }
    match seen.errors_count {
        Some(count) if count > 0 => Verdict::warning(
            "FilesystemErrors",
            format!("ext4 has noted {count} errors on the state partition"),
        ),
        _ if write_took >= WRITE_SLOW => {
            let text = format!("a small write to the state partition took {} s", write_took.as_secs());
            Verdict::warning("WriteSlow", text)
        }
        _ => Verdict::ok("Writable", text),
    }
}

#[cfg(test)]
mod tests {
    use super::{Observation, judge, observe};
    use crate::verdict::Verdict;
    use report::State;
    use std::time::Duration;
    use sysio::filesystem::Room;

    fn seen(bytes: u64, inodes: u64) -> Observation {
        Observation {
            room: Room {
                total_bytes: 100,
                available_bytes: bytes,
                total_inodes: 100,
                available_inodes: inodes,
            },
            super_options: vec!["rw".to_owned()],
            errors_count: Some(0),
            written: Ok(Duration::from_millis(9_999)),
        }
    }

    #[test]
    fn the_worst_finding_wins() {
        let full = |bytes, inodes| format!("{bytes} % of the bytes and {inodes} % of the inodes are free");
        let mut no_inodes = seen(50, 0);
        no_inodes.room.total_inodes = 0;
        let table = [
            (seen(50, 60), Verdict::ok("Writable", full(50, 60))),
            (no_inodes, Verdict::ok("Writable", full(50, 100))),
            (seen(9, 60), Verdict::warning("SpaceLow", full(9, 60))),
            (seen(2, 60), Verdict::critical("SpaceLow", full(2, 60))),
            (seen(50, 9), Verdict::warning("InodesLow", full(50, 9))),
            (
                Observation {
                    super_options: vec!["rw".to_owned(), "emergency_ro".to_owned()],
                    ..seen(50, 50)
                },
                Verdict::critical("ReadOnly", "the state partition is read-only (emergency_ro)"),
            ),
            (
                Observation { written: Err("disk quota".to_owned()), ..seen(50, 50) },
                Verdict::critical("WriteFails", "writing to the state partition: disk quota"),
            ),
            (
                Observation { errors_count: Some(2), ..seen(50, 50) },
                Verdict::warning("FilesystemErrors", "ext4 has noted 2 errors on the state partition"),
            ),
            (
                Observation { written: Ok(Duration::from_secs(10)), ..seen(50, 50) },
                Verdict::warning("WriteSlow", "a small write to the state partition took 10 s"),
            ),
            (Observation { errors_count: None, ..seen(50, 50) }, Verdict::ok("Writable", full(50, 50))),
        ];
        for (observed, expected) in table {
            assert_eq!(judge(&Ok(observed.clone()), State::Unknown), expected, "{observed:?}");
        }
        let blind = judge(&Err("statvfs".to_owned()), State::Ok);
        assert_eq!(blind, Verdict::unknown("CannotLook", "statvfs"));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn sees_the_state_partition_among_the_mounts_of_many_containers() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["proc/self", "var/lib/metalstrap"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let layers = "l".repeat(3000);
        let overlay = format!("40 30 0:50 / /var/lib/rancher/x rw - overlay overlay rw,lowerdir={layers}\n");
        let table = format!("30 22 8:5 / /var rw - ext4 /dev/sda5 rw\n{}", overlay.repeat(700));
        assert!(table.len() > 2 * 1024 * 1024);
        std::fs::write(root.path().join("proc/self/mountinfo"), table).unwrap();
        let seen = observe(root.path(), "now").unwrap();
        assert_eq!((seen.super_options, seen.errors_count), (vec!["rw".to_owned()], None));
        assert!(seen.written.is_ok());
    }

    #[test]
    fn a_warning_about_room_ends_later_than_it_begins() {
        assert_eq!(judge(&Ok(seen(12, 60)), State::Ok).state, State::Ok);
        assert_eq!(judge(&Ok(seen(12, 60)), State::Warning).state, State::Warning);
    }
}

//! Is the chosen disk fast enough for etcd?

use crate::inventory::sanitise;
use crate::preflight::model::{Check, Class, Finding, NotRun};
use profiles::node::{DiskKind, Role};
use profiles::preflight::{DISK_FSYNC, DISK_ROTATIONAL};
use std::time::Duration;

/// etcd's own limit for the 99th percentile of a synced write (etcd.io, FAQ and hardware pages).
pub const FSYNC_P99_MAX: Duration = Duration::from_millis(10);

/// `disk.rotational`
pub const ROTATIONAL: Check = Check {
    id: DISK_ROTATIONAL,
    class: Class::Disk,
    title: "etcd does not stand on a turning disk",
    source: "`rotational` of the chosen disk; masters only",
    limits: "a turning disk: warning",
    why: "each write of etcd waits for the disk; a turning disk needs about 10 ms for one, and etcd loses its leader under load",
    remedy: "give masters a flash disk, however small",
    codes: &[],
    during_install: false,
    judge: |input| {
        if input.role()? != Role::Master {
            return Ok(Finding::not_applicable("no etcd on this node"));
        }
        let disk = input.disk()?.disk();
        let path = sanitise(&disk.path);
        Ok(match disk.kind() {
            DiskKind::Hdd => Finding::warn(format!("{path} is a turning disk")),
            DiskKind::Virtual => {
                Finding::not_applicable(format!("{path} is virtual: what is below it is not known"))
            }
            DiskKind::Ssd | DiskKind::Nvme | DiskKind::Emmc => Finding::pass(format!("{path} is flash")),
        })
    },
};

/// `disk.fsync`
pub const FSYNC: Check = Check {
    id: DISK_FSYNC,
    class: Class::Disk,
    title: "The disk syncs as fast as etcd needs it",
    source: "up to 200 writes of 2300 bytes in at most a second, each followed by `fdatasync`, into a file of the new state partition (etcd's own recipe for `fio`); masters only",
    limits: "99th percentile over 10 ms: warning",
    why: "a slower disk makes etcd miss heartbeats: leaders change, the API stalls",
    remedy: "give masters a disk with power-loss protection; switch on the cache of the controller, if it has a battery",
    codes: &[],
    during_install: true,
    judge: |input| {
        if input.role()? != Role::Master {
            return Ok(Finding::not_applicable("no etcd on this node"));
        }
        Err(NotRun::new("it has to write: an install measures it when the disk is its own"))
    },
};

/// What was measured, and whether it is good enough. `None` when nothing was measured.
pub fn judge_fsync(took: &[Duration]) -> Option<Finding> {
    let mut sorted = took.to_vec();
    sorted.sort();
    let (median, p99, max) = (percentile(&sorted, 50)?, percentile(&sorted, 99)?, *sorted.last()?);
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let text = format!(
        "99 % of {} synced writes took at most {:.1} ms (median {:.1} ms, longest {:.1} ms; etcd needs 10 ms)",
        sorted.len(),
        millis(p99),
        millis(median),
        millis(max)
    );
    Some(if p99 > FSYNC_P99_MAX { Finding::warn(text) } else { Finding::pass(text) })
}

/// The value that `percent` of the sorted values do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::judge_fsync;
    use crate::preflight::Outcome;
    use std::time::Duration;

    fn millis(values: impl Iterator<Item = u64>) -> Vec<Duration> {
        values.map(Duration::from_millis).collect()
    }

    #[test]
    fn one_slow_write_in_a_hundred_is_forgiven_and_two_are_not() {
        let quick = millis((0..99).map(|_| 2).chain([50]));
        let finding = judge_fsync(&quick).unwrap();
        assert_eq!(finding.outcome, Outcome::Pass);
        assert_eq!(
            finding.measured,
            "99 % of 100 synced writes took at most 2.0 ms (median 2.0 ms, longest 50.0 ms; etcd needs 10 ms)"
        );
        let slow = millis((0..98).map(|_| 2).chain([11, 50]));
        let finding = judge_fsync(&slow).unwrap();
        assert_eq!(finding.outcome, Outcome::Warn);
        assert_eq!(
            finding.measured,
            "99 % of 100 synced writes took at most 11.0 ms (median 2.0 ms, longest 50.0 ms; etcd needs 10 ms)"
        );
    }

    #[test]
    fn the_limit_itself_passes_and_nothing_measured_is_no_verdict() {
        assert_eq!(judge_fsync(&millis([10, 10].into_iter())).unwrap().outcome, Outcome::Pass);
        assert_eq!(judge_fsync(&[]), None);
    }
}

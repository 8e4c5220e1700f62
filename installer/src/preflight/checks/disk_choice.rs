//! The disk contract (docs/design/0004), and what else stands in the machine.

use crate::disks::{NodeDisks, ensure_unchanged};
use crate::exit::ExitCode;
use crate::inventory::{Disk, HealthStatus, sanitise};
use crate::plan::ids::InstallIds;
use crate::plan::layout::{Layout, MIB, PartitionRole};
use crate::preflight::model::{Check, Class, Finding, Input, Judged, NotRun, known};
use crate::refusal::Refusal;
use profiles::preflight::{DISK_CHOICE, DISK_HEALTH, DISK_OTHER_INSTALL, DISK_STATE_ROOM, DISK_UNCHANGED};
use uuid::Uuid;

/// What the state needs beside the artefacts: `/etc`, logs, etcd, and the images that are unpacked from the archive at first.
const STATE_SLACK_MIB: u64 = 512;
/// Below this a Kubernetes node soon deletes images to stay under the kubelet's 85 %.
const STATE_WARN_MIB: u64 = 8 * 1024;

/// `disk.choice`
pub const CHOICE: Check = Check {
    id: DISK_CHOICE,
    class: Class::Disk,
    title: "Exactly one disk may be taken for the system, and for each data disk",
    source: "the inventory, the selector and the consent (docs/design/0004)",
    limits: "no disk, several, data on it, in use, removable, read-only, failing, too small: fails, with the verdict over every disk",
    why: "nothing is written to a disk the install is not entitled to",
    remedy: "`metalstrap disks` shows every disk with its reason; name one in the cluster file, or give up its contents with `wipe`",
    codes: &[
        "E_DISK_NONE",
        "E_DISK_NO_MATCH",
        "E_DISK_AMBIGUOUS",
        "E_DISK_BOOT_MEDIUM",
        "E_DISK_REMOVABLE",
        "E_DISK_READ_ONLY",
        "E_DISK_BUSY",
        "E_DISK_MULTIPATH",
        "E_DISK_FAILING",
        "E_DISK_SECTOR_SIZE",
        "E_DISK_TOO_SMALL",
        "E_DISK_HAS_DATA",
        "E_DISK_WIPE_MISMATCH",
        "E_DISK_CLAIMED_TWICE",
    ],
    during_install: false,
    judge: |input| {
        input.node()?;
        match input.disks {
            Some(Ok(disks)) => Ok(Finding::pass(describe_choice(disks))),
            Some(Err(refusal)) => Ok(Finding::fail(refusal.clone())),
            None => Err(NotRun::new("no disk was asked for")),
        }
    },
};

fn describe_choice(disks: &NodeDisks) -> String {
    let data = disks.data().iter().map(|data| format!("{}: {}", data.mount(), data.target().reason()));
    std::iter::once(disks.system().reason().to_owned()).chain(data).collect::<Vec<_>>().join("; ")
}

/// `disk.unchanged`
pub const UNCHANGED: Check = Check {
    id: DISK_UNCHANGED,
    class: Class::Disk,
    title: "The chosen disk is still the one that was chosen, and nobody holds it",
    source: "size and sectors of the open device, and a claim (`O_EXCL`); looked at again right before the first write",
    limits: "another size or sector size, or claimed: fails",
    why: "between looking and writing a disk can be swapped, mounted or taken into a RAID",
    remedy: "find out who uses it (`lsblk`, `fuser`, `cat /proc/mdstat`), then try again",
    codes: &["E_DISK_CHANGED", "E_DISK_BUSY"],
    during_install: false,
    judge: |input| {
        let disk = input.disk()?.disk();
        let now = known(&input.facts.chosen_disk)?;
        let same = ensure_unchanged(
            &disk.path,
            (disk.size_bytes, disk.logical_sector_bytes),
            (now.size_bytes, now.sector_bytes),
        );
        if let Err(refusal) = same {
            return Ok(Finding::fail(refusal));
        }
        if now.claimed {
            let message = format!("{} is in use", sanitise(&disk.path));
            return Ok(Finding::fail(Refusal::new("E_DISK_BUSY", ExitCode::Environment, message)));
        }
        Ok(Finding::pass(format!("{} is as it was, and nobody holds it", sanitise(&disk.path))))
    },
};

/// `disk.state-room`
pub const STATE_ROOM: Check = Check {
    id: DISK_STATE_ROOM,
    class: Class::Disk,
    title: "The state partition has room",
    source: "the partition table of the plan, the artefacts that are copied",
    limits: "artefacts and 512 MiB do not fit: fails; a Kubernetes node with less than 8 GiB: warning",
    why: "the install would break off half way; later the kubelet deletes images when 85 % are used",
    remedy: "take a larger disk",
    codes: &["E_STATE_TOO_SMALL"],
    during_install: false,
    judge: state_room,
};

fn state_room(input: &Input<'_>) -> Judged {
    let disk = input.disk()?.disk();
    let ids = InstallIds::from_install(Uuid::nil());
    let layout = Layout::compute(disk.size_bytes, disk.logical_sector_bytes, &ids);
    let layout = layout.map_err(|error| NotRun::new(error.to_string()))?;
    let room_mib = layout.partition(PartitionRole::State).map_or(0, |state| state.length_bytes / MIB);
    let artifacts = input.planned().map(|planned| planned.artifacts.as_slice()).unwrap_or_default();
    let needs_mib = artifacts.iter().map(|a| a.length).sum::<u64>() / MIB + STATE_SLACK_MIB;
    if room_mib < needs_mib {
        let message = format!(
            "the state partition would have {room_mib} MiB, the artefacts of this image need {needs_mib} MiB; take a larger disk"
        );
        return Ok(Finding::fail(Refusal::new("E_STATE_TOO_SMALL", ExitCode::UnsupportedHardware, message)));
    }
    let text = format!("the state partition has {room_mib} MiB");
    let small = input.node()?.kubernetes.is_some() && room_mib < STATE_WARN_MIB;
    Ok(if small {
        Finding::warn(format!("{text}, a Kubernetes node should have {STATE_WARN_MIB} MiB"))
    } else {
        Finding::pass(text)
    })
}

/// `disk.health`
pub const HEALTH: Check = Check {
    id: DISK_HEALTH,
    class: Class::Disk,
    title: "Every disk of the machine says that it is well",
    source: "SMART, NVMe health, eMMC end of life (`smartctl --health`)",
    limits: "another disk fails: warning; nobody could ask the chosen one: could not run; the chosen one fails: `disk.choice` refuses it",
    why: "a failing disk beside the chosen one slows the whole controller down, and is the next to be reached for",
    remedy: "replace the disk that is named; a RAID controller may need its own tool",
    codes: &[],
    during_install: false,
    judge: health,
};

fn health(input: &Input<'_>) -> Judged {
    let failing = |disk: &&Disk| disk.health.status == HealthStatus::Failing;
    let failing: Vec<String> =
        input.inventory.disks.iter().filter(failing).map(|disk| sanitise(&disk.path)).collect();
    if !failing.is_empty() {
        return Ok(Finding::warn(format!("{} fails", failing.join(", "))));
    }
    let chosen = input.disk()?.disk();
    match chosen.health.status {
        HealthStatus::None => {
            Ok(Finding::not_applicable(format!("{} has no way to tell", sanitise(&chosen.path))))
        }
        HealthStatus::Unknown => {
            let why = chosen.health.detail.as_deref().unwrap_or("nobody looked");
            Err(NotRun::new(format!("the health of {} is not known ({why})", chosen.path)))
        }
        HealthStatus::Passed | HealthStatus::Failing => {
            Ok(Finding::pass(format!("{} says that it is well", sanitise(&chosen.path))))
        }
    }
}

/// `disk.other-install`
pub const OTHER_INSTALL: Check = Check {
    id: DISK_OTHER_INSTALL,
    class: Class::Disk,
    title: "No other disk carries a system of ours",
    source: "install records and unfinished marks of all disks but the chosen one",
    limits: "one: warning",
    why: "the firmware may start the old system from the other disk, under the same name",
    remedy: "take the other disk out, erase it, or set the firmware's boot order",
    codes: &[],
    during_install: false,
    judge: |input| {
        input.disk()?;
        let chosen = input.chosen_paths();
        let is_other = |disk: &&Disk| !chosen.contains(&disk.path.as_str()) && !disk.boot_medium;
        let others = input.inventory.disks.iter().filter(is_other);
        let found: Vec<String> = others.filter_map(describe_install).collect();
        Ok(if found.is_empty() { Finding::pass("none") } else { Finding::warn(found.join("; ")) })
    },
};

fn describe_install(disk: &Disk) -> Option<String> {
    let path = sanitise(&disk.path);
    match (&disk.install_record, disk.unfinished_install) {
        (Some(record), _) => Some(format!(
            "{path} holds {} of cluster {}",
            sanitise(&record.hostname),
            sanitise(&record.cluster)
        )),
        (None, Some(_)) => Some(format!("{path} holds an unfinished install")),
        (None, None) => None,
    }
}

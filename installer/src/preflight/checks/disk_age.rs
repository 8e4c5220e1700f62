//! Wear, errors and temperature of the chosen disk, from `smartctl`.

use crate::inventory::sanitise;
use crate::preflight::facts::Wear;
use crate::preflight::model::{Check, Class, Finding, Input, Judged, NotRun, known};
use profiles::node::DiskKind;
use profiles::preflight::{DISK_MEDIA_ERRORS, DISK_TEMPERATURE, DISK_WEAR};

/// Share of the rated life from which on a disk is not one to begin with.
const USED_WARN_PERCENT: u64 = 80;
/// What makers of flash, and of turning disks, give as the end of normal operation.
const FLASH_WARN_CELSIUS: i64 = 70;
const TURNING_WARN_CELSIUS: i64 = 55;

/// `disk.wear`
pub const WEAR: Check = Check {
    id: DISK_WEAR,
    class: Class::Disk,
    title: "The chosen disk has most of its life before it",
    source: "`smartctl --json --attributes`: percentage used and spare (NVMe), endurance (SAS, SATA)",
    limits: "80 % of the rated life used, or spare at the maker's threshold: warning",
    why: "etcd writes all the time; a worn disk gets slow, then read-only",
    remedy: "take a newer disk for a master; keep worn ones for workers without local storage",
    codes: &[],
    during_install: false,
    judge: |input| {
        if let Some(judged) = virtual_disk(input) {
            return judged;
        }
        let (path, wear) = of_chosen(input)?;
        let Some(used) = wear.used_percent else { return Err(NotRun::new(format!("{path} does not tell"))) };
        if let (Some(spare), Some(threshold)) = (wear.spare_percent, wear.spare_threshold_percent)
            && spare <= threshold
        {
            return Ok(Finding::warn(format!(
                "{path} has {spare} % spare left, its maker's limit is {threshold} %"
            )));
        }
        let text = format!("{path} has used {used} % of its rated life");
        Ok(if used >= USED_WARN_PERCENT { Finding::warn(text) } else { Finding::pass(text) })
    },
};

/// `disk.media-errors`
pub const MEDIA_ERRORS: Check = Check {
    id: DISK_MEDIA_ERRORS,
    class: Class::Disk,
    title: "The chosen disk has lost no data yet",
    source: "`smartctl --json --attributes`: media errors (NVMe); reallocated, pending and uncorrectable sectors (ATA)",
    limits: "one: warning",
    why: "such errors come in crowds: a disk with some has many times the risk of failing soon",
    remedy: "run `smartctl --test=long` and look again, or take another disk",
    codes: &[],
    during_install: false,
    judge: |input| {
        if let Some(judged) = virtual_disk(input) {
            return judged;
        }
        let (path, wear) = of_chosen(input)?;
        match wear.media_errors {
            None => Err(NotRun::new(format!("{path} does not tell"))),
            Some(0) => Ok(Finding::pass(format!("{path} counts none"))),
            Some(count) => Ok(Finding::warn(format!("{path} counts {count} media errors"))),
        }
    },
};

/// `disk.temperature`
pub const TEMPERATURE: Check = Check {
    id: DISK_TEMPERATURE,
    class: Class::Disk,
    title: "The chosen disk is not too hot",
    source: "`smartctl --json --attributes`",
    limits: "70 °C, a turning disk 55 °C: warning",
    why: "a hot disk slows itself down and dies early",
    remedy: "look at the air flow; an NVMe disk may need a heat sink",
    codes: &[],
    during_install: false,
    judge: |input| {
        if let Some(judged) = virtual_disk(input) {
            return judged;
        }
        let (path, wear) = of_chosen(input)?;
        let Some(celsius) = wear.celsius else { return Err(NotRun::new(format!("{path} does not tell"))) };
        let turning = input.disk()?.disk().kind() == DiskKind::Hdd;
        let limit = if turning { TURNING_WARN_CELSIUS } else { FLASH_WARN_CELSIUS };
        let text = format!("{path} has {celsius} °C");
        Ok(if celsius >= limit { Finding::warn(text) } else { Finding::pass(text) })
    },
};

/// The chosen disk and what it tells.
fn of_chosen<'a>(input: &Input<'a>) -> Result<(String, &'a Wear), NotRun> {
    let disk = input.disk()?.disk();
    Ok((sanitise(&disk.path), known(&input.facts.wear)?))
}

/// What all checks of this file say of a virtual disk, which has no age.
fn virtual_disk(input: &Input<'_>) -> Option<Judged> {
    let disk = input.disk().ok()?.disk();
    let text = format!("{} is a virtual disk", sanitise(&disk.path));
    (disk.kind() == DiskKind::Virtual).then(|| Ok(Finding::not_applicable(text)))
}

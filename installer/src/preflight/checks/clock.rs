//! The clock of the machine.

use crate::exit::ExitCode;
use crate::preflight::model::{Check, Class, Finding, Input, Judged, known};
use crate::refusal::Refusal;
use jiff::{SignedDuration, Timestamp};
use profiles::preflight::{CLOCK_CEILING, CLOCK_FLOOR, CLOCK_RTC, CLOCK_SYNC, TIME_ZONE};
use sysio::clock::SYNCHRONISED_MAX_ERROR;

/// As long as the certificate of the cluster's CA is valid (k3s: ten years): no image is installed that late.
const CEILING: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// The battery-backed clock may go this wrong before it is worth a word.
const RTC_OFF_WARN: SignedDuration = SignedDuration::from_mins(5);

/// `clock.floor`
pub const FLOOR: Check = Check {
    id: CLOCK_FLOOR,
    class: Class::Time,
    title: "The clock is not before the image",
    source: "time of day, against the build date of the running kernel (`/proc/version`)",
    limits: "earlier: fails",
    why: "certificates made under a wrong clock are not valid later; k3s does not start with them, and they are hard to replace",
    remedy: "set the clock (`date -s`, `hwclock -w`) or let the machine reach a time server, then try again; replace the battery of the board",
    codes: &["E_CLOCK_PAST"],
    during_install: false,
    judge: |input| {
        let (now, built) = both(input)?;
        if now < built {
            let message = format!(
                "the clock says {}, but the kernel of this image was built on {}; set the clock",
                day(now),
                day(built)
            );
            return Ok(Finding::fail(Refusal::new("E_CLOCK_PAST", ExitCode::Environment, message)));
        }
        Ok(Finding::pass(format!("{}, the kernel is of {}", day(now), day(built))))
    },
};

/// `clock.ceiling`
pub const CEILING_CHECK: Check = Check {
    id: CLOCK_CEILING,
    class: Class::Time,
    title: "The clock is not far in the future",
    source: "time of day, against the build date of the running kernel",
    limits: "more than ten years later: fails",
    why: "certificates made now would not be valid yet once the clock is right",
    remedy: "set the clock (`date -s`, `hwclock -w`), then try again; build a new image every few years",
    codes: &["E_CLOCK_FUTURE"],
    during_install: false,
    judge: |input| {
        let (now, built) = both(input)?;
        if now.duration_since(built) > CEILING {
            let message = format!(
                "the clock says {}, more than ten years after the kernel of this image was built ({}); set the clock",
                day(now),
                day(built)
            );
            return Ok(Finding::fail(Refusal::new("E_CLOCK_FUTURE", ExitCode::Environment, message)));
        }
        Ok(Finding::pass(day(now)))
    },
};

fn both(input: &Input<'_>) -> Result<(Timestamp, Timestamp), crate::preflight::NotRun> {
    Ok((*known(&input.facts.now)?, *known(&input.facts.kernel_built)?))
}

fn day(time: Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}

/// `clock.rtc`
pub const RTC: Check = Check {
    id: CLOCK_RTC,
    class: Class::Time,
    title: "The battery-backed clock keeps the time",
    source: "`/sys/class/rtc/rtc0/{date,time}`, against the time of day",
    limits: "none, or more than five minutes off: warning",
    why: "after a power cut at a site without time server the node comes up in another year, and nobody believes its certificates",
    remedy: "replace the battery, set it with `hwclock --systohc`; it has to run in UTC",
    codes: &[],
    during_install: false,
    judge: rtc,
};

fn rtc(input: &Input<'_>) -> Judged {
    let (rtc, now) = (known(&input.facts.rtc)?, *known(&input.facts.now)?);
    let Some(rtc) = rtc else { return Ok(Finding::warn("there is none")) };
    let off = now.duration_since(*rtc).abs();
    let text = format!("{} s off", off.as_secs());
    Ok(if off > RTC_OFF_WARN { Finding::warn(text) } else { Finding::pass(text) })
}

/// `clock.sync`, the same as the health agent's check of this id.
pub const SYNC: Check = Check {
    id: CLOCK_SYNC,
    class: Class::Time,
    title: "The clock is synchronised",
    source: "`adjtimex`: the kernel's error bound, as the health check `clock.sync`",
    limits: "bound of 16 s or more: warning",
    why: "chrony has not reached a time server yet: leases and certificates depend on the clock",
    remedy: "`chronyc sources`; a site without internet needs `ntp` in the cluster file",
    codes: &[],
    during_install: false,
    judge: |input| {
        let bound = *known(&input.facts.clock_error)?;
        Ok(if bound >= SYNCHRONISED_MAX_ERROR {
            Finding::warn("nobody has set the clock by a time server yet")
        } else {
            Finding::pass(format!("at most {:.3} s off", bound.as_secs_f64()))
        })
    },
};

/// `time.zone`
pub const ZONE: Check = Check {
    id: TIME_ZONE,
    class: Class::Time,
    title: "The image knows the time zone of the cluster",
    source: "`/usr/share/zoneinfo` of the image",
    limits: "not there: fails",
    why: "the node would silently run in UTC, and its logs lie by hours",
    remedy: "correct `cluster.timezone`; names are those of `timedatectl list-timezones`",
    codes: &["E_TIME_ZONE"],
    during_install: false,
    judge: |input| {
        let zone = &input.node()?.cluster.timezone;
        Ok(if *known(&input.facts.time_zone_known)? {
            Finding::pass(zone)
        } else {
            let message = format!("the image has no time zone {zone}; correct cluster.timezone");
            Finding::fail(Refusal::new("E_TIME_ZONE", ExitCode::InvalidInput, message))
        })
    },
};

//! `clock.sync`: somebody keeps the clock right.
//!
//! The kernel's error bound is used, not its `STA_UNSYNC` flag, which stays set for ever on many machines.

use crate::catalogue::{ALL_ROLES, AT_ONCE, Check, Looking, Moment, always, secs};
use crate::context::Context;
use crate::verdict::Verdict;
use std::sync::Arc;
use std::time::Duration;
use sysio::clock::SYNCHRONISED_MAX_ERROR;

/// Five minutes for the network and ten for chrony; before that an unsynchronised clock is no finding.
const GRACE: Duration = Duration::from_secs(15 * 60);

/// An hour after the grace no NTP server is going to answer by itself any more.
const CRITICAL_AFTER: Duration = Duration::from_secs(GRACE.as_secs() + 3600);

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: profiles::preflight::CLOCK_SYNC.name,
    title: "The clock is synchronised",
    source: "`adjtimex`: the kernel's error bound, as in systemd's `NTPSynchronized`",
    limits: "Bound 16 s or more: judged 15 min after boot, then warning, 75 min after boot critical",
    roles: ALL_ROLES,
    applies: always,
    interval: secs(30),
    timeout: secs(2),
    patience: AT_ONCE,
    depends_on: &[],
    action: "chronyc sources; is an NTP server of the cluster file reachable? A site without one needs `ntp_servers`",
    subject: "",
    look,
};

fn look(_: &'static str, context: Arc<Context>, moment: Moment) -> Looking {
    Box::pin(async move {
        let bound = (context.endpoints.clock_error)();
        judge(&bound.map_err(|error| error.to_string()), moment.boottime)
    })
}

/// The kernel's error bound.
pub fn judge(bound: &Result<Duration, String>, boottime: Duration) -> Verdict {
    let bound = match bound {
        Ok(bound) => *bound,
        Err(why) => return Verdict::unknown("CannotLook", format!("reading the clock's error bound: {why}")),
    };
    if bound < SYNCHRONISED_MAX_ERROR {
        return Verdict::ok("Synchronised", format!("the clock is right to {} ms", bound.as_millis()));
    }
    let minutes = boottime.as_secs() / 60;
    if boottime < GRACE {
        return Verdict::ok("NotYetJudged", "the clock is not synchronised; judged 15 min after boot");
    }
    let text = format!("the clock is not synchronised {minutes} min after boot");
    if boottime < CRITICAL_AFTER {
        Verdict::warning("NotSynchronised", text)
    } else {
        Verdict::critical("NotSynchronised", text)
    }
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::verdict::Verdict;
    use std::time::Duration;

    #[test]
    fn an_unsynchronised_clock_counts_after_a_grace() {
        let table = [
            (Ok(12_000), 60, Verdict::ok("Synchronised", "the clock is right to 12 ms")),
            (Ok(15_999_999), 9999, Verdict::ok("Synchronised", "the clock is right to 15999 ms")),
            (
                Ok(16_000_000),
                899,
                Verdict::ok("NotYetJudged", "the clock is not synchronised; judged 15 min after boot"),
            ),
            (
                Ok(16_000_000),
                900,
                Verdict::warning("NotSynchronised", "the clock is not synchronised 15 min after boot"),
            ),
            (
                Ok(16_000_000),
                4500,
                Verdict::critical("NotSynchronised", "the clock is not synchronised 75 min after boot"),
            ),
            (
                Err("EPERM".to_owned()),
                0,
                Verdict::unknown("CannotLook", "reading the clock's error bound: EPERM"),
            ),
        ];
        for (micros, boottime, expected) in table {
            assert_eq!(judge(&micros.map(Duration::from_micros), Duration::from_secs(boottime)), expected);
        }
    }
}

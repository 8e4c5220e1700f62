//! `memory.available`: the kernel can still hand out memory.

use crate::catalogue::{ALL_ROLES, AT_ONCE, Check, Looking, Moment, always, secs};
use crate::context::Context;
use crate::thresholds::{Floor, percent};
use crate::verdict::Verdict;
use report::State;
use std::sync::Arc;

/// Share of `MemTotal` that is available.
const AVAILABLE: Floor =
    Floor { warn_percent: 10, warn_leave_percent: 15, critical_percent: 3, critical_leave_percent: 6 };

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "memory.available",
    title: "There is memory to hand out",
    source: "`MemAvailable` and `MemTotal` in `/proc/meminfo`",
    limits: "Under 10 %: warning (until 15 %); under 3 %: critical (until 6 %)",
    roles: ALL_ROLES,
    applies: always,
    interval: secs(15),
    timeout: secs(2),
    patience: AT_ONCE,
    depends_on: &[],
    action: "ps aux --sort=-rss | head; k3s kubectl top pods -A --sort-by=memory",
    subject: "",
    look,
};

fn look(_: &'static str, context: Arc<Context>, moment: Moment) -> Looking {
    Box::pin(async move { judge(&context.read("/proc/meminfo").await, moment.was) })
}

/// Text of `/proc/meminfo`.
pub fn judge(text: &Result<String, String>, was: State) -> Verdict {
    let text = match text {
        Ok(text) => text,
        Err(why) => return Verdict::unknown("CannotLook", why.clone()),
    };
    let kib = |name: &str| -> Option<u64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.trim().strip_suffix(" kB")?.trim().parse().ok()
    };
    let (Some(available), Some(total)) = (kib("MemAvailable"), kib("MemTotal")) else {
        return Verdict::unknown("NotUnderstood", "/proc/meminfo has an unknown form");
    };
    let share = percent(available, total);
    let state = AVAILABLE.judge(share, was);
    let reason = if state == State::Ok { "Enough" } else { "MemoryLow" };
    Verdict::new(
        state,
        reason,
        format!("{} of {} MiB are available ({share} %)", available / 1024, total / 1024),
    )
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::verdict::Verdict;
    use report::State;

    #[test]
    fn judges_the_available_share() {
        let text = |kib: u64| Ok(format!("MemTotal:  1024000 kB\nMemFree: 1 kB\nMemAvailable:   {kib} kB\n"));
        let table = [
            (text(512_000), State::Ok, Verdict::ok("Enough", "500 of 1000 MiB are available (50 %)")),
            (text(92_160), State::Ok, Verdict::warning("MemoryLow", "90 of 1000 MiB are available (9 %)")),
            (
                text(122_880),
                State::Warning,
                Verdict::warning("MemoryLow", "120 of 1000 MiB are available (12 %)"),
            ),
            (text(20_480), State::Ok, Verdict::critical("MemoryLow", "20 of 1000 MiB are available (2 %)")),
            (
                Ok("MemTotal: many".to_owned()),
                State::Ok,
                Verdict::unknown("NotUnderstood", "/proc/meminfo has an unknown form"),
            ),
            (Err("no".to_owned()), State::Ok, Verdict::unknown("CannotLook", "no")),
        ];
        for (observed, was, expected) in table {
            assert_eq!(judge(&observed, was), expected);
        }
    }
}

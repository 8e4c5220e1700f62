//! `units.failed`: no unit of the whole system has failed.

use crate::catalogue::{ALL_ROLES, AT_ONCE, Check, Looking, Moment, always, secs};
use crate::checks::unit::units_error;
use crate::context::Context;
use crate::verdict::Verdict;
use std::sync::Arc;
use sysio::units::Unit;

/// More names than this are only counted.
const NAMED_MAX: usize = 5;

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "units.failed",
    title: "No systemd unit has failed",
    source: "systemd over D-Bus (`ListUnitsFiltered`); units whose file is gone are ignored",
    limits: "Any failed unit: warning",
    roles: ALL_ROLES,
    applies: always,
    interval: secs(30),
    timeout: secs(2),
    patience: AT_ONCE,
    depends_on: &[],
    action: "systemctl --failed; when it is of no more interest: systemctl reset-failed",
    subject: "",
    look,
};

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move {
        let failed = context.systemd.failed_units().await.map_err(|error| units_error(&error));
        judge(&failed)
    })
}

/// Failed units.
pub fn judge(failed: &Result<Vec<Unit>, String>) -> Verdict {
    let failed = match failed {
        Ok(failed) => failed,
        Err(why) => return Verdict::unknown("SystemdUnreachable", why.clone()),
    };
    if failed.is_empty() {
        return Verdict::ok("NoneFailed", "no unit has failed");
    }
    let mut names: Vec<&str> = failed.iter().take(NAMED_MAX).map(|unit| unit.name.as_str()).collect();
    let more = format!("and {} more", failed.len().saturating_sub(NAMED_MAX));
    if failed.len() > NAMED_MAX {
        names.push(&more);
    }
    Verdict::warning("UnitsFailed", format!("failed: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::verdict::Verdict;
    use sysio::units::Unit;

    #[test]
    fn names_what_failed_but_not_without_end() {
        let units = |count: usize| -> Vec<Unit> {
            (0..count).map(|n| Unit { name: format!("u{n}.service"), ..Unit::default() }).collect()
        };
        let table = [
            (Ok(units(0)), Verdict::ok("NoneFailed", "no unit has failed")),
            (Ok(units(2)), Verdict::warning("UnitsFailed", "failed: u0.service, u1.service")),
            (
                Ok(units(7)),
                Verdict::warning(
                    "UnitsFailed",
                    "failed: u0.service, u1.service, u2.service, u3.service, u4.service, and 2 more",
                ),
            ),
            (Err("no bus".to_owned()), Verdict::unknown("SystemdUnreachable", "no bus")),
        ];
        for (observed, expected) in table {
            assert_eq!(judge(&observed), expected);
        }
    }
}

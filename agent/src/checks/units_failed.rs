//! `units.failed`: no unit of the whole system has failed.

use crate::catalogue::{ALL_ROLES, AT_ONCE, Check, Looking, Moment, always, secs};
use crate::checks::unit::units_error;
use crate::context::Context;
use crate::verdict::Verdict;
use std::sync::Arc;
use sysio::units::Unit;

/// More names than this are only counted.
const NAMED_MAX: usize = 5;

/// Waits at boot until the links are online, and fails when a switch needs longer than its two minutes. Nothing starts it again.
const WAIT_ONLINE: &str = "systemd-networkd-wait-online.service";

/// networkd's own word on the links.
const NETIF_STATE: &str = "/run/systemd/netif/state";

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "units.failed",
    title: "No systemd unit has failed",
    source: "systemd over D-Bus (`ListUnitsFiltered`); units whose file is gone are ignored, and `systemd-networkd-wait-online.service` while `/run/systemd/netif/state` says that the links are online",
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
        let waited = failed.as_ref().is_ok_and(|failed| failed.iter().any(|unit| unit.name == WAIT_ONLINE));
        let online = waited && context.read(NETIF_STATE).await.is_ok_and(|text| is_online(&text));
        judge(&failed, online)
    })
}

/// networkd calls the links online when every one that is required is; `partial` is less.
fn is_online(state: &str) -> bool {
    state.lines().any(|line| line == "ONLINE_STATE=online")
}

/// Failed units. While the links are online, that they were late at boot is over.
pub fn judge(failed: &Result<Vec<Unit>, String>, online: bool) -> Verdict {
    let failed = match failed {
        Ok(failed) => failed,
        Err(why) => return Verdict::unknown("SystemdUnreachable", why.clone()),
    };
    let all = failed.iter().map(|unit| unit.name.as_str());
    let mut names: Vec<&str> = all.filter(|name| !(online && *name == WAIT_ONLINE)).collect();
    if names.is_empty() {
        let late = if failed.is_empty() { "" } else { "; the links came late at boot and are online" };
        return Verdict::ok("NoneFailed", format!("no unit has failed{late}"));
    }
    let more = format!("and {} more", names.len().saturating_sub(NAMED_MAX));
    if names.len() > NAMED_MAX {
        names.truncate(NAMED_MAX);
        names.push(&more);
    }
    Verdict::warning("UnitsFailed", format!("failed: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::{WAIT_ONLINE, is_online, judge};
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
            assert_eq!(judge(&observed, false), expected);
            assert_eq!(judge(&observed, true), expected, "online");
        }
    }

    #[test]
    fn a_wait_for_the_links_that_failed_at_boot_is_over_when_they_are_online() {
        let failed = |names: &[&str]| -> Result<Vec<Unit>, String> {
            Ok(names.iter().map(|name| Unit { name: (*name).to_owned(), ..Unit::default() }).collect())
        };
        let late = "no unit has failed; the links came late at boot and are online";
        let offline = "failed: systemd-networkd-wait-online.service";
        let table = [
            (failed(&[WAIT_ONLINE]), true, Verdict::ok("NoneFailed", late)),
            (failed(&[WAIT_ONLINE]), false, Verdict::warning("UnitsFailed", offline)),
            (failed(&["a.service", WAIT_ONLINE]), true, Verdict::warning("UnitsFailed", "failed: a.service")),
        ];
        for (observed, online, expected) in table {
            assert_eq!(judge(&observed, online), expected, "{observed:?} {online}");
        }
    }

    #[test]
    fn reads_whether_all_required_links_are_online() {
        // As systemd 252 writes it.
        let state = |online| {
            format!(
                "# This is private data. Do not parse.\nOPER_STATE=routable\nCARRIER_STATE=carrier\n\
                 ADDRESS_STATE=routable\nIPV4_ADDRESS_STATE=routable\nIPV6_ADDRESS_STATE=degraded\n\
                 ONLINE_STATE={online}\n"
            )
        };
        assert!(is_online(&state("online")));
        assert!(!is_online(&state("partial")));
        assert!(!is_online(&state("offline")));
        assert!(!is_online(""));
    }
}

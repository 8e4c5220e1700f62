//! `unit.*`: one systemd unit each.

use crate::catalogue::{ALL_ROLES, Check, Looking, Moment, Patience, Wanted, always, secs};
use crate::context::Context;
use crate::restarts::Loop;
use crate::verdict::Verdict;
use profiles::node::{NodeConfig, Role, RoleConfig};
use report::State;
use std::sync::Arc;
use std::time::Duration;
use sysio::units::Unit;

/// A unit that starts longer than this waits for something that does not come.
const START_MAX: Duration = Duration::from_secs(300);

/// After this long nobody who waits for it is still patient: what depends on the unit does not work.
const START_HOPELESS: Duration = Duration::from_secs(900);

const BASE: Check = Check {
    id: "",
    title: "",
    source: "systemd over D-Bus",
    limits: "Starting: warning, after 15 min without being active (a restart does not begin them anew) critical; started again by systemd 3 times in 10 min after it was active: warning, 6 times: critical, until 30 min are quiet; failed, stopped, masked or missing: warning, after 30 s critical; systemd silent: unknown",
    roles: ALL_ROLES,
    applies: always,
    interval: secs(10),
    timeout: secs(2),
    patience: Patience { warn_after: secs(0), critical_after: secs(30) },
    depends_on: &[],
    action: "",
    subject: "",
    look,
};

/// k3s server.
pub const K3S: Check = Check {
    id: "unit.k3s",
    title: "The k3s server runs",
    roles: &[Role::Master],
    action: "journalctl -u k3s -e; a master that joins waits for the ones before it; reinstalled, and `duplicate node name found`: kubectl delete node NAME on another master; `Node password rejected`: kubectl -n kube-system delete secret NAME.node-password.k3s there",
    subject: "k3s.service",
    ..BASE
};

/// k3s agent.
pub const K3S_AGENT: Check = Check {
    id: "unit.k3s-agent",
    title: "The k3s agent runs",
    roles: &[Role::Worker],
    action: "journalctl -u k3s-agent -e; a worker waits until a master answers; reinstalled, and `Node password rejected`: kubectl -n kube-system delete secret NAME.node-password.k3s on a master",
    subject: "k3s-agent.service",
    ..BASE
};

/// HAProxy.
pub const HAPROXY: Check = Check {
    id: "unit.haproxy",
    title: "HAProxy runs",
    roles: &[Role::Proxy],
    action: "journalctl -u haproxy -e; haproxy -c -f /etc/haproxy/haproxy.cfg",
    subject: "haproxy.service",
    ..BASE
};

/// keepalived.
pub const KEEPALIVED: Check = Check {
    id: "unit.keepalived",
    title: "keepalived runs",
    roles: &[Role::Proxy],
    applies: has_vrrp,
    action: "journalctl -u keepalived -e",
    subject: "keepalived.service",
    ..BASE
};

/// chrony.
pub const CHRONY: Check = Check {
    id: "unit.chrony",
    title: "chrony runs",
    action: "journalctl -u chrony -e",
    subject: "chrony.service",
    ..BASE
};

/// networkd.
pub const NETWORKD: Check = Check {
    id: "unit.systemd-networkd",
    title: "networkd runs",
    action: "journalctl -u systemd-networkd -e; networkctl",
    subject: "systemd-networkd.service",
    ..BASE
};

/// Our firewall.
pub const FIREWALL: Check = Check {
    id: "unit.metalstrap-firewall",
    title: "The firewall was loaded at boot",
    action: "journalctl -u metalstrap-firewall -e; nft -c -f /etc/metalstrap/firewall.nft",
    subject: "metalstrap-firewall.service",
    ..BASE
};

/// SSH.
pub const SSH: Check = Check {
    id: "unit.ssh",
    title: "The SSH server runs",
    action: "journalctl -u ssh -e",
    subject: "ssh.service",
    ..BASE
};

fn has_vrrp(node: &NodeConfig) -> Wanted {
    match &node.role {
        RoleConfig::Proxy(proxy) if proxy.vrrp.is_some() => Wanted::Yes(String::new()),
        _ => Wanted::No("this proxy shares no address".to_owned()),
    }
}

fn look(subject: &'static str, context: Arc<Context>, moment: Moment) -> Looking {
    Box::pin(async move {
        let unit = context.systemd.unit(subject).await.map_err(|error| units_error(&error));
        let verdict = judge(subject, &unit, moment.monotonic);
        let Ok(unit) = unit else { return verdict };
        let was_active = unit.left_active_monotonic_usecs > 0;
        let mut memory = context.memory.restarts();
        let again = memory.entry(subject).or_default().observe(unit.restarts, was_active, moment.boottime);
        judge_restarts(verdict, again)
    })
}

/// The state of the moment, unless being started again and again is as bad or worse: between two crashes a unit is active.
pub fn judge_restarts(moment: Verdict, again: Option<Loop>) -> Verdict {
    match again {
        Some(again) if again.state >= moment.state => {
            let (total, minutes) = (again.total, again.last.as_secs() / 60);
            let text = format!("{}; started again {total} times, last {minutes} min ago", moment.message);
            Verdict::new(again.state, "Restarting", text)
        }
        _ => moment,
    }
}

/// One line of a D-Bus error with its cause.
pub fn units_error(error: &sysio::units::UnitsError) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// State of a unit.
pub fn judge(name: &str, unit: &Result<Unit, String>, monotonic: Duration) -> Verdict {
    let unit = match unit {
        Ok(unit) => unit,
        Err(why) => return Verdict::unknown("SystemdUnreachable", why.clone()),
    };
    match unit.load_state.as_str() {
        "loaded" => {}
        "not-found" => return Verdict::critical("NotInstalled", format!("{name} does not exist")),
        "masked" => return Verdict::critical("Masked", format!("{name} is masked")),
        other => return Verdict::critical("NotLoaded", format!("systemd could not load {name} ({other})")),
    }
    let age = starting_for(unit, monotonic);
    let sub = &unit.sub_state;
    match unit.active_state.as_str() {
        "active" => Verdict::ok("Active", format!("{name} is active ({sub})")),
        "reloading" => Verdict::ok("Reloading", format!("{name} is reloading")),
        "activating" if sub == "auto-restart" => {
            Verdict::critical("Restarting", format!("{name} ended and waits to be started again"))
        }
        "activating" if age < START_MAX => Verdict::warning("Starting", format!("{name} is starting")),
        "activating" => {
            let state = if age < START_HOPELESS { State::Warning } else { State::Critical };
            Verdict::new(state, "StartsTooLong", format!("{name} is starting for {} min", age.as_secs() / 60))
        }
        "inactive" if unit.has_job => Verdict::warning("Starting", format!("{name} waits to be started")),
        "failed" => Verdict::critical("Failed", format!("{name} has failed ({sub})")),
        other => Verdict::critical("NotActive", format!("{name} is {other} ({sub})")),
    }
}

/// How long a unit tries to start. Once systemd has started it again by itself, the state changes with every attempt, and only
/// the time when it was active last (or the boot) says how long that goes on.
fn starting_for(unit: &Unit, monotonic: Duration) -> Duration {
    let since =
        if unit.restarts == 0 { unit.changed_monotonic_usecs } else { unit.left_active_monotonic_usecs };
    monotonic.saturating_sub(Duration::from_micros(since))
}

#[cfg(test)]
mod tests {
    use super::{judge, judge_restarts};
    use crate::restarts::Loop;
    use crate::verdict::Verdict;
    use report::State;
    use std::time::Duration;
    use sysio::units::Unit;

    fn unit(load: &str, active: &str, sub: &str, has_job: bool) -> Result<Unit, String> {
        Ok(Unit {
            name: "k3s.service".to_owned(),
            load_state: load.to_owned(),
            active_state: active.to_owned(),
            sub_state: sub.to_owned(),
            has_job,
            changed_monotonic_usecs: 10_000_000,
            left_active_monotonic_usecs: 0,
            restarts: 0,
        })
    }

    #[test]
    fn judges_every_state_of_a_unit() {
        let table = [
            (
                unit("loaded", "active", "running", false),
                Verdict::ok("Active", "k3s.service is active (running)"),
            ),
            (
                unit("loaded", "active", "exited", false),
                Verdict::ok("Active", "k3s.service is active (exited)"),
            ),
            (
                unit("loaded", "reloading", "reload", true),
                Verdict::ok("Reloading", "k3s.service is reloading"),
            ),
            (
                unit("loaded", "activating", "start", true),
                Verdict::warning("Starting", "k3s.service is starting"),
            ),
            (
                unit("loaded", "activating", "auto-restart", false),
                Verdict::critical("Restarting", "k3s.service ended and waits to be started again"),
            ),
            (
                unit("loaded", "inactive", "dead", true),
                Verdict::warning("Starting", "k3s.service waits to be started"),
            ),
            (
                unit("loaded", "inactive", "dead", false),
                Verdict::critical("NotActive", "k3s.service is inactive (dead)"),
            ),
            (
                unit("loaded", "deactivating", "stop-sigterm", true),
                Verdict::critical("NotActive", "k3s.service is deactivating (stop-sigterm)"),
            ),
            (
                unit("loaded", "failed", "failed", false),
                Verdict::critical("Failed", "k3s.service has failed (failed)"),
            ),
            (
                unit("not-found", "inactive", "dead", false),
                Verdict::critical("NotInstalled", "k3s.service does not exist"),
            ),
            (unit("masked", "inactive", "dead", false), Verdict::critical("Masked", "k3s.service is masked")),
            (
                unit("bad-setting", "inactive", "dead", false),
                Verdict::critical("NotLoaded", "systemd could not load k3s.service (bad-setting)"),
            ),
            (Err("connecting".to_owned()), Verdict::unknown("SystemdUnreachable", "connecting")),
        ];
        for (observed, expected) in table {
            assert_eq!(judge("k3s.service", &observed, Duration::from_secs(20)), expected, "{observed:?}");
        }
    }

    #[test]
    fn a_start_that_never_ends_is_named_and_gets_critical() {
        let starting = unit("loaded", "activating", "start", true);
        let judged = |seconds| judge("k3s.service", &starting, Duration::from_secs(seconds));
        let named = |minutes| format!("k3s.service is starting for {minutes} min");
        assert_eq!(judged(309), Verdict::warning("Starting", "k3s.service is starting"));
        assert_eq!(judged(610), Verdict::warning("StartsTooLong", named(10)));
        assert_eq!(judged(909), Verdict::warning("StartsTooLong", named(14)));
        assert_eq!(judged(910), Verdict::critical("StartsTooLong", named(15)));
    }

    #[test]
    fn restarts_do_not_begin_the_time_of_a_start_anew() {
        let again = |left_active| {
            let unit = unit("loaded", "activating", "start", true).unwrap();
            let changed = 2_000_000_000;
            Ok(Unit {
                restarts: 1,
                changed_monotonic_usecs: changed,
                left_active_monotonic_usecs: left_active,
                ..unit
            })
        };
        let judged = |left_active| judge("k3s.service", &again(left_active), Duration::from_secs(2010));
        assert_eq!(judged(1_990_000_000), Verdict::warning("Starting", "k3s.service is starting"));
        let long = "k3s.service is starting for 16 min";
        assert_eq!(judged(1_010_000_000), Verdict::critical("StartsTooLong", long));
        let never_active = "k3s.service is starting for 33 min";
        assert_eq!(judged(0), Verdict::critical("StartsTooLong", never_active));
    }

    #[test]
    fn a_crash_loop_is_seen_while_the_unit_is_active() {
        let again = |state| Some(Loop { state, total: 4, last: Duration::from_secs(130) });
        let active = || Verdict::ok("Active", "k3s.service is active (running)");
        let failed = || Verdict::critical("Failed", "k3s.service has failed (failed)");
        let text = "k3s.service is active (running); started again 4 times, last 2 min ago";
        let both = "k3s.service has failed (failed); started again 4 times, last 2 min ago";
        let table = [
            (active(), None, active()),
            (active(), again(State::Warning), Verdict::warning("Restarting", text)),
            (active(), again(State::Critical), Verdict::critical("Restarting", text)),
            (failed(), again(State::Warning), failed()),
            (failed(), again(State::Critical), Verdict::critical("Restarting", both)),
        ];
        for (moment, again, expected) in table {
            assert_eq!(judge_restarts(moment.clone(), again), expected, "{moment:?} {again:?}");
        }
    }
}

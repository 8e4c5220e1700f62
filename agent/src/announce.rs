//! Tells the journal, the consoles and systemd about changes. Texts are pure; only [`Herald`] writes.

use report::{CheckResult, Report, State};
use sd_notify::NotifyState;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Verdict on the node in one line, without the name of the program: `HOST healthy, N checks ok`.
pub fn headline(report: &Report) -> String {
    let host = &report.node.hostname;
    if report.ready {
        return format!("{host} healthy, {} checks ok", report.summary.ok);
    }
    match report.because.first() {
        Some(reason) => format!("{host} not healthy: {reason}"),
        None => format!("{host} not healthy: not every check has run yet"),
    }
}

/// One line for a check that is not ok: `unit.k3s: k3s.service is starting`.
pub fn because_line(check: &CheckResult) -> String {
    let place = if check.instance.is_empty() { String::new() } else { format!(" {}", check.instance) };
    format!("{}{place}: {}", check.id, check.message)
}

/// What must change for a new line on the console; numbers in messages change all the time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ConsoleKey {
    /// Checks that are ok, on a healthy node.
    ok: Option<u32>,
    /// Id and reason of the first bad check.
    worst: Option<(String, String)>,
}

fn console_key(report: &Report) -> ConsoleKey {
    let bad: Vec<_> = report.checks.iter().filter(|check| is_bad(check.state)).collect();
    // The first of the worst, as in the `because` lines.
    let worst = bad.iter().rev().max_by_key(|check| check.state);
    ConsoleKey {
        ok: report.ready.then_some(report.summary.ok),
        worst: worst.map(|check| (check.id.clone(), check.reason.clone())),
    }
}

fn is_bad(state: State) -> bool {
    matches!(state, State::Unknown | State::Warning | State::Critical)
}

/// Remembers what was told and tells what is new.
pub struct Herald {
    root: PathBuf,
    told: BTreeMap<String, (State, String)>,
    console: Option<ConsoleKey>,
    status: String,
    started: bool,
    watchdog: Option<Duration>,
    fed: Option<Duration>,
}

impl Herald {
    /// Consoles are looked for below `root`; the watchdog interval comes from systemd's environment.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            told: BTreeMap::new(),
            console: None,
            status: String::new(),
            started: false,
            watchdog: sd_notify::watchdog_enabled(),
            fed: None,
        }
    }

    /// Feeds systemd's watchdog. Called from the scheduler's own loop and from nowhere else: it shall stop exactly
    /// when the loop does, and not when something that is looked at hangs.
    pub fn feed_watchdog(&mut self, now: Duration) {
        let Some(interval) = self.watchdog else { return };
        if self.fed.is_none_or(|fed| now.saturating_sub(fed) >= interval / 3) {
            self.fed = Some(now);
            notify(&[NotifyState::Watchdog]);
        }
    }

    /// Tells what is new in a report. `started`: the cheap checks have run; `complete`: all have.
    pub fn tell(&mut self, report: &Report, started: bool, complete: bool) {
        if started && !self.started {
            self.started = true;
            notify(&[NotifyState::Ready]);
        }
        let headline = headline(report);
        if self.status != headline {
            notify(&[NotifyState::Status(&headline)]);
            self.status.clone_from(&headline);
        }
        for check in &report.checks {
            self.log(check);
        }
        let key = Some(console_key(report));
        if complete && self.console != key {
            self.console = key;
            let line = format!("metalstrap-agent: {headline}");
            tracing::info!(ready = report.ready, "{line}");
            if let Err(error) = sysio::consoles::write_line(&self.root, &line) {
                tracing::debug!(%error, "the consoles are not known");
            }
        }
    }

    fn log(&mut self, check: &CheckResult) {
        let now = (check.state, check.reason.clone());
        if check.state == State::Disabled
            || check.observed_at.is_none()
            || self.told.get(&check.id) == Some(&now)
        {
            return;
        }
        let before = self.told.insert(check.id.clone(), now);
        let from = before.map_or_else(|| "none".to_owned(), |(state, _)| state.to_string());
        let (id, to, reason, message) = (&check.id, check.state, &check.reason, &check.message);
        if is_bad(to) {
            tracing::warn!(check = %id, %from, %to, %reason, %message, "check changed");
        } else {
            tracing::info!(check = %id, %from, %to, %reason, %message, "check changed");
        }
    }
}

/// Tells systemd; without systemd there is nobody to tell.
pub fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd did not take a notification");
    }
}

#[cfg(test)]
mod tests {
    use super::{because_line, console_key, headline};
    use crate::run::assemble;
    use report::{CheckResult, ReportedNode, State};

    fn check(id: &str, state: State, message: &str) -> CheckResult {
        CheckResult {
            id: id.to_owned(),
            instance: if id == "vip.local" { "10.0.0.10".to_owned() } else { String::new() },
            state,
            reason: "Reason".to_owned(),
            message: message.to_owned(),
            since: "2026-11-21T07:00:00Z".parse().unwrap(),
            observed_at: None,
            took_ms: 0,
            action: String::new(),
        }
    }

    fn node() -> ReportedNode {
        let text = r#"{"hostname":"m1","role":"master","cluster":"lab","addresses":[],"kernel":"","k3s":null,
            "k3s_double":false,"image":"","slot":null,"agent":"","boot_id":"","uptime_secs":1}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn lines_of_the_contract() {
        let now = "2026-11-21T07:00:00Z".parse().unwrap();
        let good =
            assemble(node(), vec![check("a", State::Ok, "x"), check("b", State::Disabled, "y")], true, now);
        assert_eq!(headline(&good), "m1 healthy, 1 checks ok");
        let starting = assemble(node(), vec![check("a", State::Ok, "x")], false, now);
        assert_eq!(headline(&starting), "m1 not healthy: not every check has run yet");
        let checks = vec![check("a", State::Warning, "warm"), check("vip.local", State::Critical, "gone")];
        let bad = assemble(node(), checks, true, now);
        assert_eq!(headline(&bad), "m1 not healthy: vip.local 10.0.0.10: gone");
        assert_eq!(because_line(&bad.checks[0]), "a: warm");
    }

    #[test]
    fn a_changed_number_in_a_message_is_no_new_line() {
        let now = "2026-11-21T07:00:00Z".parse().unwrap();
        let bad = |message: &str| assemble(node(), vec![check("a", State::Warning, message)], true, now);
        assert_eq!(console_key(&bad("9 %")), console_key(&bad("8 %")));
        let good = assemble(node(), vec![check("a", State::Ok, "9 %")], true, now);
        assert_ne!(console_key(&bad("9 %")), console_key(&good));
    }
}

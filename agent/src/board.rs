//! Verdicts over time: what is due, what counts, what is stale, what is only a consequence. Pure, times are passed in.

use crate::catalogue::{Check, Wanted};
use crate::settle::Course;
use crate::verdict::Verdict;
use jiff::Timestamp;
use profiles::node::NodeConfig;
use report::{CheckResult, State};
use std::time::Duration;

/// A result older than this many intervals (and one time limit) is not believed any more.
pub const OVERDUE_INTERVALS: u32 = 3;

/// After its start the agent looks more often at what was not fine yet: who waits for a node that starts wants to hear of it.
pub const STARTING: Duration = Duration::from_secs(300);
/// How soon it looks again then.
pub const STARTING_PAUSE: Duration = Duration::from_secs(3);

/// All checks of one node with their verdicts.
pub struct Board {
    slots: Vec<Slot>,
    /// When checks were taken first.
    begun: Option<Duration>,
}

/// One check on the board.
struct Slot {
    check: &'static Check,
    instance: String,
    wanted: bool,
    next_due: Duration,
    in_flight: bool,
    was_fine: bool,
    course: Course,
    observed: Option<(Duration, Timestamp)>,
    took: Duration,
    timeouts: u64,
    /// What the report shows: settled, unless stale or a consequence.
    shown: Verdict,
    since: Timestamp,
}

/// How one look ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the check says; `None` when its time limit ended it.
    pub verdict: Option<Verdict>,
    /// How long it took.
    pub took: Duration,
}

impl Board {
    /// All checks of the catalogue, none looked at yet, all due now.
    pub fn new(catalogue: &'static [&'static Check], node: &NodeConfig, realtime: Timestamp) -> Self {
        let slot = |check: &&'static Check| {
            let (wanted, instance, settled) = match check.wanted(node) {
                Wanted::Yes(instance) => (true, instance, Verdict::unknown("NotYet", "not looked at yet")),
                Wanted::No(why) => (false, String::new(), Verdict::new(State::Disabled, "NotWanted", why)),
            };
            Slot {
                check,
                instance,
                wanted,
                next_due: Duration::ZERO,
                in_flight: false,
                was_fine: false,
                shown: settled.clone(),
                course: Course::new(settled),
                observed: None,
                took: Duration::ZERO,
                timeouts: 0,
                since: realtime,
            }
        };
        Self { slots: catalogue.iter().map(slot).collect(), begun: None }
    }

    /// Takes the checks that are due and not under way; the caller must start each and report its end.
    pub fn take_due(&mut self, now: Duration) -> Vec<(usize, &'static Check, State)> {
        self.begun.get_or_insert(now);
        let mut due = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.wanted && !slot.in_flight && slot.next_due <= now {
                slot.in_flight = true;
                slot.next_due = now + slot.check.interval;
                due.push((index, slot.check, slot.course.settled.state));
            }
        }
        due
    }

    /// Takes in how a look ended.
    pub fn finish(&mut self, index: usize, outcome: Outcome, now: Duration, realtime: Timestamp) {
        let starting = self.begun.is_some_and(|begun| now.saturating_sub(begun) < STARTING);
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.in_flight = false;
        slot.took = outcome.took;
        slot.observed = Some((now, realtime));
        let raw = outcome.verdict.unwrap_or_else(|| {
            slot.timeouts += 1;
            let limit = slot.check.timeout.as_secs();
            Verdict::unknown("TimedOut", format!("gave no answer within {limit} s"))
        });
        slot.was_fine |= raw.state == State::Ok;
        if starting && !slot.was_fine {
            slot.next_due = slot.next_due.min(now + STARTING_PAUSE);
        }
        slot.course.take(raw, slot.check, now);
    }

    /// Brings what is shown up to date: results get stale and consequences are marked as such.
    pub fn refresh(&mut self, now: Duration, realtime: Timestamp) {
        for index in 0..self.slots.len() {
            let shown = self.show(index, now);
            if let Some(slot) = self.slots.get_mut(index) {
                if slot.shown.state != shown.state {
                    slot.since = realtime;
                }
                slot.shown = shown;
            }
        }
    }

    fn show(&self, index: usize, now: Duration) -> Verdict {
        let slot = &self.slots[index];
        if let Some((observed, _)) = slot.observed {
            let age = now.saturating_sub(observed);
            if age > slot.check.interval * OVERDUE_INTERVALS + slot.check.timeout {
                return Verdict::unknown("Overdue", format!("no result for {} s", age.as_secs()));
            }
        }
        let settled = &slot.course.settled;
        let bad = matches!(settled.state, State::Warning | State::Critical | State::Unknown);
        if !bad || slot.observed.is_none() {
            return settled.clone();
        }
        let cause = self.slots[..index].iter().find(|other| {
            slot.check.depends_on.contains(&other.check.id)
                // One that could not be looked at explains nothing.
                && matches!(other.shown.state, State::Warning | State::Critical)
        });
        cause.map_or_else(
            || settled.clone(),
            |cause| {
                let text = format!("depends on {}; {}", cause.check.id, settled.message);
                Verdict::unknown("DependsOn", text)
            },
        )
    }

    /// True when every wanted check (or every cheap one) has been looked at once.
    pub fn first_pass_done(&self, cheap_only: bool) -> bool {
        self.slots
            .iter()
            .all(|slot| !slot.wanted || slot.observed.is_some() || (cheap_only && !slot.check.is_cheap()))
    }

    /// Looks that ran into their time limit since the agent started, by check id.
    pub fn timeouts(&self) -> Vec<(&'static str, u64)> {
        self.slots.iter().map(|slot| (slot.check.id, slot.timeouts)).collect()
    }

    /// All results in the order of the catalogue.
    pub fn results(&self) -> Vec<CheckResult> {
        self.slots.iter().map(Slot::result).collect()
    }
}

impl Slot {
    fn result(&self) -> CheckResult {
        let fine = matches!(self.shown.state, State::Ok | State::Disabled);
        CheckResult {
            id: self.check.id.to_owned(),
            instance: self.instance.clone(),
            state: self.shown.state,
            reason: self.shown.reason.to_owned(),
            message: self.shown.message.clone(),
            since: self.since,
            observed_at: self.observed.map(|(_, realtime)| realtime),
            took_ms: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            action: if fine { String::new() } else { self.check.action.to_owned() },
        }
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;

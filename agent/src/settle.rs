//! From single looks to what counts: good news at once, bad news and lost looks only when they last. Pure.

use crate::catalogue::Check;
use crate::verdict::Verdict;
use report::State;
use std::time::Duration;

/// A look that told nothing counts when no look told anything for this many intervals (or the check's own patience, if that is
/// longer): an API server that changes its leader or a busy systemd misses a look or two on a node that is well.
pub const BLIND_INTERVALS: u32 = 3;

/// What counts of one check, and since when it is otherwise.
#[derive(Clone, Debug)]
pub struct Course {
    /// What counts after patience; before the first look the reason why there is nothing.
    pub settled: Verdict,
    /// What counted after the last look that told something; `None` when nothing is known (any more).
    known: Option<Verdict>,
    bad_since: Option<Duration>,
    blind_since: Option<Duration>,
}

impl Course {
    /// Nothing was looked at yet.
    pub fn new(settled: Verdict) -> Self {
        Self { settled, known: None, bad_since: None, blind_since: None }
    }

    /// Takes in what one look told.
    pub fn take(&mut self, raw: Verdict, check: &Check, now: Duration) {
        let told = raw.state != State::Unknown;
        self.settled = match raw.state {
            // Not having been able to look says nothing about how long it has been bad: `bad_since` stays.
            State::Unknown => self.take_blind(raw, check, now),
            State::Warning | State::Critical => self.take_bad(raw, check, now),
            State::Ok | State::Disabled => {
                self.bad_since = None;
                raw
            }
        };
        if told {
            self.blind_since = None;
            self.known = Some(self.settled.clone());
        } else if self.settled.state == State::Unknown {
            self.known = None;
        }
    }

    /// A lost look: what was known stays for a while, with the reason why nothing newer is.
    fn take_blind(&mut self, raw: Verdict, check: &Check, now: Duration) -> Verdict {
        let since = *self.blind_since.get_or_insert(now);
        let patience = check.patience.warn_after.max(check.interval * BLIND_INTERVALS);
        let Some(known) = self.known.as_ref().filter(|_| now.saturating_sub(since) < patience) else {
            return raw;
        };
        if known.state == State::Ok {
            return wavering(&raw, patience);
        }
        let text = format!(
            "{}; since then: {} (counts if it lasts {} s)",
            known.message,
            raw.message,
            patience.as_secs()
        );
        Verdict::new(known.state, known.reason, text)
    }

    fn take_bad(&mut self, raw: Verdict, check: &Check, now: Duration) -> Verdict {
        let lasted = now.saturating_sub(*self.bad_since.get_or_insert(now));
        let patience = check.patience;
        if self.settled.state == State::Ok && lasted < patience.warn_after {
            wavering(&raw, patience.warn_after)
        } else if raw.state == State::Critical && lasted < patience.critical_after {
            Verdict { state: State::Warning, ..raw }
        } else {
            raw
        }
    }
}

/// Still ok, and what was seen.
fn wavering(raw: &Verdict, patience: Duration) -> Verdict {
    Verdict::ok("Wavering", format!("{} (counts if it lasts {} s)", raw.message, patience.as_secs()))
}

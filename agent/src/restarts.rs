//! How often systemd has started one service again lately. Pure: counter and time are passed in.

use report::State;
use std::time::Duration;

/// Only restarts of so long are counted together.
const WINDOW: Duration = Duration::from_secs(600);

/// So many within the window are a warning: a service that ends now and then has fewer.
const WARN_FROM: usize = 3;

/// So many within the window are critical: it does not do its work.
const CRITICAL_FROM: usize = 6;

/// After so long without a restart it is over.
const QUIET: Duration = Duration::from_secs(1800);

/// What is remembered of one service. A restart has the time of the look that found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    /// systemd's counter at the last look.
    counter: Option<u32>,
    /// The newest restarts, at most [`CRITICAL_FROM`], oldest first.
    newest: Vec<Duration>,
    /// Restarts since it was quiet.
    total: u32,
    /// Worst that was reached since then.
    worst: Option<State>,
}

/// A service that is started again too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loop {
    /// Warning or critical.
    pub state: State,
    /// Restarts since it was quiet.
    pub total: u32,
    /// Time since the last one.
    pub last: Duration,
}

impl Restarts {
    /// Takes in systemd's counter. The first look only notes it; one that fell (somebody started the service by hand) is noted anew
    /// and ends what was. So does one of a service that was never active since boot: a master that joins ends and is started again
    /// until the one before it is there, and when that takes too long it is the start that does.
    pub fn observe(&mut self, counter: u32, was_active: bool, now: Duration) -> Option<Loop> {
        let more = match self.counter {
            Some(before) if was_active && counter >= before => counter - before,
            _ => {
                *self = Self::default();
                0
            }
        };
        self.counter = Some(counter);
        if self.newest.last().is_some_and(|last| now.saturating_sub(*last) >= QUIET) {
            *self = Self { counter: Some(counter), ..Self::default() };
        }
        self.add(more, now);
        let last = now.saturating_sub(*self.newest.last()?);
        self.worst.map(|state| Loop { state, total: self.total, last })
    }

    fn add(&mut self, more: u32, now: Duration) {
        self.total = self.total.saturating_add(more);
        for _ in 0..usize::try_from(more).map_or(CRITICAL_FROM, |more| more.min(CRITICAL_FROM)) {
            self.newest.push(now);
        }
        let old = self.newest.len().saturating_sub(CRITICAL_FROM);
        self.newest.drain(..old);
        let within = self.newest.iter().filter(|time| now.saturating_sub(**time) < WINDOW).count();
        let reached = match within {
            CRITICAL_FROM.. => Some(State::Critical),
            WARN_FROM.. => Some(State::Warning),
            _ => None,
        };
        // `None` is the least, and critical more than warning.
        self.worst = self.worst.max(reached);
    }
}

#[cfg(test)]
mod tests {
    use super::{Loop, Restarts};
    use report::State;
    use std::time::Duration;

    /// Looks: seconds and counter, with state and total of what comes of it.
    type Look = (u64, u32, Option<(State, u32)>);

    fn play(looks: &[Look]) {
        let mut restarts = Restarts::default();
        for (seconds, counter, expected) in looks {
            let found = restarts.observe(*counter, true, Duration::from_secs(*seconds));
            let found = found.map(|found| (found.state, found.total));
            assert_eq!(found, *expected, "{seconds} s of {looks:?}");
        }
    }

    #[test]
    fn three_within_ten_minutes_warn_and_six_are_critical() {
        play(&[
            // What was before the agent started is not known to be recent.
            (0, 40, None),
            (10, 41, None),
            (300, 42, None),
            (609, 43, Some((State::Warning, 3))),
            (620, 45, Some((State::Warning, 5))),
            (630, 46, Some((State::Warning, 6))),
            (640, 48, Some((State::Critical, 8))),
        ]);
        play(&[(0, 0, None), (10, 1, None), (300, 2, None), (610, 3, None)]);
        play(&[(0, 0, None), (10, u32::MAX, Some((State::Critical, u32::MAX)))]);
    }

    #[test]
    fn it_is_over_after_half_an_hour_of_quiet() {
        play(&[
            (0, 0, None),
            (10, 3, Some((State::Warning, 3))),
            (1000, 4, Some((State::Warning, 4))),
            (2799, 4, Some((State::Warning, 4))),
            (2800, 4, None),
            (2810, 5, None),
        ]);
        let mut restarts = Restarts::default();
        restarts.observe(0, true, Duration::ZERO);
        restarts.observe(6, true, Duration::from_secs(10));
        let found = restarts.observe(6, true, Duration::from_secs(100));
        assert_eq!(found, Some(Loop { state: State::Critical, total: 6, last: Duration::from_secs(90) }));
    }

    #[test]
    fn a_start_by_hand_begins_anew() {
        play(&[(0, 7, None), (10, 13, Some((State::Critical, 6))), (20, 0, None), (30, 2, None)]);
        play(&[
            (0, 7, None),
            (10, 10, Some((State::Warning, 3))),
            (20, 2, None),
            (30, 4, None),
            (40, 5, Some((State::Warning, 3))),
        ]);
    }

    #[test]
    fn restarts_before_a_service_was_ever_active_are_no_crashes() {
        let mut restarts = Restarts::default();
        let mut observe = |counter, was_active, seconds| {
            restarts.observe(counter, was_active, Duration::from_secs(seconds)).map(|found| found.total)
        };
        assert_eq!(observe(0, false, 0), None);
        assert_eq!(observe(20, false, 100), None);
        assert_eq!(observe(22, false, 110), None, "active for the first time");
        assert_eq!(observe(23, true, 120), None);
        assert_eq!(observe(25, true, 130), Some(3));
    }
}

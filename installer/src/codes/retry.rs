//! Which failures may pass by themselves, and how often and when an unattended install tries again.

use std::time::Duration;

/// Codes of causes that come and go: a server that is not up yet, a time-out, a bad moment of a device.
const MAY_PASS: [&str; 5] =
    ["E_CONFIG_FETCH", "E_CONFIG_UNREADABLE", "E_DISK_CHANGED", "E_DISK_IO", "E_MEDIUM_IO"];

/// True when trying again without any change may help.
pub fn may_pass(code: &str) -> bool {
    MAY_PASS.contains(&code)
}

/// How often an install is tried again by itself. Bounded: a machine that fails for ever must say so and stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Further attempts after the first one.
    pub further: u32,
    /// Pause before the first further attempt; doubled before each next one.
    pub first_pause: Duration,
}

impl Default for Retry {
    /// Three further attempts, after 10, 20 and 40 seconds. Each fetch in itself already tries for about a minute.
    fn default() -> Self {
        Self { further: 3, first_pause: Duration::from_secs(10) }
    }
}

impl Retry {
    /// The pause before the next attempt after `done` failed ones with this code; `None` when it is time to stop.
    pub fn pause(&self, code: &str, done: u32) -> Option<Duration> {
        let doubled = 2u32.saturating_pow(done.saturating_sub(1));
        (may_pass(code) && (1..=self.further).contains(&done))
            .then(|| self.first_pause.saturating_mul(doubled))
    }
}

#[cfg(test)]
mod tests {
    use super::{MAY_PASS, Retry};
    use crate::codes::find;

    #[test]
    fn what_may_pass_is_tried_four_times_and_the_rest_once() {
        let retry = Retry::default();
        let pauses =
            |code: &str| (1..=5).map(|n| retry.pause(code, n).map(|p| p.as_secs())).collect::<Vec<_>>();
        assert_eq!(pauses("E_CONFIG_FETCH"), [Some(10), Some(20), Some(40), None, None]);
        assert_eq!(pauses("E_DISK_HAS_DATA"), [None; 5]);
    }

    #[test]
    fn every_code_that_may_pass_exists() {
        assert!(MAY_PASS.iter().all(|code| find(code).is_some()));
    }
}

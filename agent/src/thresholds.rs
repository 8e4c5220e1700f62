//! Limits for a share that must not get low, with a gentler value to leave a state than to enter it.

use report::State;

/// Percentages below which a share is too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Below this it warns.
    pub warn_percent: u64,
    /// A warning ends at or above this.
    pub warn_leave_percent: u64,
    /// Below this it is critical.
    pub critical_percent: u64,
    /// Critical ends at or above this.
    pub critical_leave_percent: u64,
}

impl Floor {
    /// State of a share in percent, given the state it had before.
    pub fn judge(self, percent: u64, was: State) -> State {
        let critical =
            if was == State::Critical { self.critical_leave_percent } else { self.critical_percent };
        let warn_was = matches!(was, State::Warning | State::Critical);
        let warn = if warn_was { self.warn_leave_percent } else { self.warn_percent };
        if percent < critical {
            State::Critical
        } else if percent < warn {
            State::Warning
        } else {
            State::Ok
        }
    }
}

/// `part` of `whole` in percent, rounded down; of nothing it is nothing.
pub fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    let share = u128::from(part) * 100 / u128::from(whole);
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Floor, percent};
    use report::State::{Critical, Ok, Unknown, Warning};

    #[test]
    fn a_state_is_left_at_a_gentler_value_than_it_is_entered() {
        let floor = Floor {
            warn_percent: 10,
            warn_leave_percent: 15,
            critical_percent: 3,
            critical_leave_percent: 6,
        };
        let table = [
            (10, Unknown, Ok),
            (9, Unknown, Warning),
            (2, Unknown, Critical),
            (12, Ok, Ok),
            (12, Warning, Warning),
            (15, Warning, Ok),
            (5, Warning, Warning),
            (5, Critical, Critical),
            (6, Critical, Warning),
            (15, Critical, Ok),
        ];
        for (share, was, expected) in table {
            assert_eq!(floor.judge(share, was), expected, "{share} % after {was}");
        }
    }

    #[test]
    fn share_of_nothing_is_nothing() {
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(5, 0), 0);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }
}

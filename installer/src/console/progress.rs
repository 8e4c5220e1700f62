//! Progress of a long step, said at most every five seconds or every ten per cent.

use std::time::Duration;

/// Least time between two lines that are not due for another reason.
const EVERY: Duration = Duration::from_secs(5);

/// Per cent between two lines.
const EVERY_PERCENT: u64 = 10;

/// Decides when a line is due. The time is passed in.
#[derive(Clone, Debug)]
pub struct Progress {
    what: String,
    total: u64,
    said_percent: u64,
    said_at: Duration,
}

impl Progress {
    /// Progress of `total` bytes, begun now.
    pub fn new(what: impl Into<String>, total: u64, now: Duration) -> Self {
        Self { what: what.into(), total, said_percent: 0, said_at: now }
    }

    /// The line to print, if one is due after `done` bytes. The last one is the business of the phase.
    pub fn line(&mut self, done: u64, now: Duration) -> Option<String> {
        let percent = if self.total == 0 { 100 } else { u128::from(done) * 100 / u128::from(self.total) };
        let percent = u64::try_from(percent).unwrap_or(100).min(100);
        let is_due =
            percent >= self.said_percent + EVERY_PERCENT || now.saturating_sub(self.said_at) >= EVERY;
        if !is_due || percent >= 100 {
            return None;
        }
        self.said_percent = percent / EVERY_PERCENT * EVERY_PERCENT;
        self.said_at = now;
        Some(format!("metalstrap:   {} {percent} % ({} of {} MiB)", self.what, done >> 20, self.total >> 20))
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;
    use std::time::Duration;

    #[test]
    fn says_every_ten_per_cent_when_it_is_quick() {
        let mut progress = Progress::new("root a", 100 << 20, Duration::ZERO);
        let lines: Vec<String> =
            (0..=100u64).filter_map(|mib| progress.line(mib << 20, Duration::ZERO)).collect();
        assert_eq!(lines.len(), 9);
        assert_eq!(lines[0], "metalstrap:   root a 10 % (10 of 100 MiB)");
    }

    #[test]
    fn says_every_five_seconds_when_it_is_slow() {
        let mut progress = Progress::new("root a", 100 << 20, Duration::ZERO);
        let lines = (0..20u64).filter_map(|s| progress.line(1 << 20, Duration::from_secs(s))).count();
        assert_eq!(lines, 3);
        assert_eq!(Progress::new("nothing", 0, Duration::ZERO).line(0, Duration::from_secs(60)), None);
    }
}

//! What happens, as lines on the consoles.

use crate::apply::{Reporter, StepError};
use crate::console::{Lines, Progress, render_done, render_phase, render_warning};
use crate::inventory::sanitise;
use crate::plan::Step;
use std::time::Duration;

/// Writes phases, progress and warnings to a screen.
pub(super) struct ConsoleReporter<'a> {
    screen: &'a mut dyn Lines,
    progress: Option<(&'static str, u64, Progress)>,
}

impl<'a> ConsoleReporter<'a> {
    pub(super) fn new(screen: &'a mut dyn Lines) -> Self {
        Self { screen, progress: None }
    }
}

/// A clock that cannot be read counts as zero: durations are then wrong, and nothing else is.
fn now() -> Duration {
    sysio::clock::monotonic().unwrap_or_default()
}

impl Reporter for ConsoleReporter<'_> {
    fn phase_begins(&mut self, number: usize, count: usize, name: &str) {
        self.screen.line(&render_phase(number, count, name));
    }

    fn phase_done(&mut self, number: usize, count: usize, name: &str, took_ms: u64) {
        self.progress = None;
        self.screen.line(&render_done(number, count, name, Duration::from_millis(took_ms)));
    }

    fn progress(&mut self, step: &Step, done_bytes: u64, total_bytes: u64) {
        let name = step.name();
        let same = matches!(&self.progress, Some((of, total, _)) if *of == name && *total == total_bytes);
        if !same {
            self.progress = Some((name, total_bytes, Progress::new(name, total_bytes, now())));
        }
        if let Some((_, _, progress)) = &mut self.progress
            && let Some(line) = progress.line(done_bytes, now())
        {
            self.screen.line(&line);
        }
    }

    fn warn(&mut self, text: &str) {
        self.screen.line(&render_warning(text));
    }

    fn note(&mut self, text: &str) {
        self.screen.line(&format!("metalstrap:   {}", sanitise(text)));
    }

    fn step_done(&mut self, step: &Step) -> Result<(), StepError> {
        tracing::debug!(step = step.name(), "step done");
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(now().as_millis()).unwrap_or(u64::MAX)
    }
}

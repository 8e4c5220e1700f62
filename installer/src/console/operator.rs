//! The person at the console, if there is one: lines to every console, typed lines from any.

use super::screen::{Lines, MachineScreen};
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;
use sysio::typed::{Typed, TypedLines};

/// Takes lines and gives what is typed.
pub trait Operator: Lines {
    /// The next typed line; waits at most so long. A line may hold anything and is escaped before it is shown.
    fn wait(&mut self, limit: Duration) -> Typed;

    /// A clock that only goes forward.
    fn now(&mut self) -> Duration;

    /// Sleeps, where there is nobody to wait for.
    fn pause(&mut self, span: Duration);
}

/// Every console of the machine.
#[derive(Debug)]
pub struct ConsoleOperator {
    screen: MachineScreen,
    typed: TypedLines,
}

impl ConsoleOperator {
    /// Opens the consoles for both directions.
    pub fn open() -> Self {
        Self { screen: MachineScreen::with_consoles(), typed: TypedLines::open(Path::new("/")) }
    }
}

impl Lines for ConsoleOperator {
    fn line(&mut self, text: &str) {
        self.screen.line(text);
    }
}

impl Operator for ConsoleOperator {
    fn wait(&mut self, limit: Duration) -> Typed {
        self.typed.wait(limit)
    }

    fn now(&mut self) -> Duration {
        // A clock that cannot be read, which Linux does not know, ends every wait.
        sysio::clock::monotonic().unwrap_or(Duration::MAX)
    }

    fn pause(&mut self, span: Duration) {
        sysio::clock::pause(span);
    }
}

/// Types what it was given and keeps what it is told, for tests.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// What is typed, in order; `None` is a wait in which nobody types.
    pub typed: VecDeque<Option<String>>,
    /// What was shown.
    pub lines: Vec<String>,
    /// What the typing of a line takes.
    pub line_takes: Duration,
    /// What its clock shows. A wait in which nobody types takes as long as it may.
    pub clock: Duration,
}

impl Script {
    /// Types these lines and then nothing any more.
    pub fn typing(lines: &[&str]) -> Self {
        Self { typed: lines.iter().map(|line| Some((*line).to_owned())).collect(), ..Self::default() }
    }
}

impl Lines for Script {
    fn line(&mut self, text: &str) {
        self.lines.push(text.to_owned());
    }
}

impl Operator for Script {
    fn wait(&mut self, limit: Duration) -> Typed {
        match self.typed.pop_front() {
            Some(Some(line)) => {
                self.clock += self.line_takes;
                Typed::Line(line)
            }
            Some(None) => {
                self.clock += limit;
                Typed::Nothing
            }
            None => Typed::Closed,
        }
    }

    fn now(&mut self) -> Duration {
        self.clock
    }

    fn pause(&mut self, span: Duration) {
        self.clock += span;
    }
}

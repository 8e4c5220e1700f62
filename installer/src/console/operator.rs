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
}

/// Types what it was given and keeps what it is told, for tests.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// What is typed, in order; `None` is a wait in which nobody types.
    pub typed: VecDeque<Option<String>>,
    /// What was shown.
    pub lines: Vec<String>,
}

impl Script {
    /// Types these lines and then nothing any more.
    pub fn typing(lines: &[&str]) -> Self {
        Self { typed: lines.iter().map(|line| Some((*line).to_owned())).collect(), lines: Vec::new() }
    }
}

impl Lines for Script {
    fn line(&mut self, text: &str) {
        self.lines.push(text.to_owned());
    }
}

impl Operator for Script {
    fn wait(&mut self, _limit: Duration) -> Typed {
        match self.typed.pop_front() {
            Some(Some(line)) => Typed::Line(line),
            Some(None) => Typed::Nothing,
            None => Typed::Closed,
        }
    }
}

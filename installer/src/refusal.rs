//! A refusal: the program looked, decided not to go on, and says why with a stable code. Nothing was written.

use crate::exit::ExitCode;
use std::fmt;

/// Why the program will not go on, with everything it knows about the alternatives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable code such as `E_DISK_AMBIGUOUS`.
    pub code: &'static str,
    /// How the program ends.
    pub exit: ExitCode,
    /// One sentence: what is wrong and what to do.
    pub message: String,
    /// One line for each candidate, or each thing that was tried.
    pub details: Vec<String>,
}

impl Refusal {
    /// A refusal without details.
    pub fn new(code: &'static str, exit: ExitCode, message: impl Into<String>) -> Self {
        Self { code, exit, message: message.into(), details: Vec::new() }
    }

    /// Adds the lines that list the candidates.
    #[must_use]
    pub fn with_details(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }
}

impl fmt::Display for Refusal {
    /// `CODE: MESSAGE` and, on lines of their own, the details.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        self.details.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for Refusal {}

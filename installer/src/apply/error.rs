//! Why a step failed, and what a failed install says.

use crate::exit::ExitCode;
use crate::refusal::Refusal;
use sysio::command::CommandError;
use sysio::files::FileError;

/// Why one step failed.
#[derive(Debug)]
pub struct StepError {
    /// Stable code.
    pub code: &'static str,
    /// How the program ends when nothing was written yet.
    pub exit: ExitCode,
    /// The cause.
    pub error: anyhow::Error,
}

impl StepError {
    /// A failure with this code.
    pub fn new(code: &'static str, exit: ExitCode, error: impl Into<anyhow::Error>) -> Self {
        Self { code, exit, error: error.into() }
    }

    /// A failure that is told in one sentence.
    pub fn text(code: &'static str, exit: ExitCode, text: impl Into<String>) -> Self {
        Self { code, exit, error: anyhow::Error::msg(text.into()) }
    }

    /// What was read back is not what was written.
    pub fn read_back(text: impl Into<String>) -> Self {
        Self::text("E_VERIFY_READBACK", ExitCode::Io, text)
    }
}

impl From<FileError> for StepError {
    fn from(error: FileError) -> Self {
        Self::new("E_DISK_IO", ExitCode::Io, error)
    }
}

impl From<CommandError> for StepError {
    fn from(error: CommandError) -> Self {
        Self::new("E_DISK_IO", ExitCode::Io, error)
    }
}

impl From<Refusal> for StepError {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code, exit: refusal.exit, error: refusal.into() }
    }
}

/// An install that did not come to its end.
#[derive(Debug)]
pub struct ApplyFailure {
    /// Stable code.
    pub code: &'static str,
    /// How the program ends: 7 from the first write on.
    pub exit: ExitCode,
    /// True from the first write on.
    pub touched: bool,
    /// Phase it happened in.
    pub phase: String,
    /// Step it happened in.
    pub step: &'static str,
    /// The cause.
    pub error: anyhow::Error,
}

impl ApplyFailure {
    /// One line: code, phase, step, cause with its chain.
    pub fn message(&self) -> String {
        match self.error.downcast_ref::<Refusal>() {
            Some(refusal) => refusal.message.clone(),
            None => format!("phase {}, step {}: {:#}", self.phase, self.step, self.error),
        }
    }

    /// The lines that list candidates, if the cause has some.
    pub fn details(&self) -> Vec<String> {
        self.error.downcast_ref::<Refusal>().map(|r| r.details.clone()).unwrap_or_default()
    }
}

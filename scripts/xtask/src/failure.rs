//! Errors with the exit code they end the command with (the contract of STYLE: 2 input, 4 environment, 5 download, 6 I/O).

use anyhow::Error;
use std::process::ExitCode;

/// What every command returns.
pub type CommandResult = anyhow::Result<()>;

/// Exit code for an error that says nothing of its own.
pub const UNKNOWN: u8 = 1;
/// Exit code: what the caller gave is wrong.
pub const INVALID_INPUT: u8 = 2;
/// Exit code: this machine lacks something.
pub const ENVIRONMENT: u8 = 4;
/// Exit code: a download or another dependency failed.
pub const DOWNLOAD: u8 = 5;
/// Exit code: reading or writing failed.
pub const IO: u8 = 6;

/// An error message that carries its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Exit code, one of the constants of this module.
    pub code: u8,
    /// What happened, and what to do.
    pub message: String,
}

/// An error that ends the command with `code`.
pub fn failure(code: u8, message: impl Into<String>) -> Error {
    Failure { code, message: message.into() }.into()
}

/// The exit code of an error: that of the outermost [`Failure`] in its chain, else 6 for an I/O error, else 1.
pub fn code_of(error: &Error) -> u8 {
    let own = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()).map(|failure| failure.code);
    own.unwrap_or_else(|| if error.chain().any(|cause| cause.is::<std::io::Error>()) { IO } else { UNKNOWN })
}

/// Prints the error chain once and gives the exit code. A [`Failure`] without message has been told already.
pub fn report(result: CommandResult) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}");
            if !text.is_empty() {
                eprintln!("xtask: {text}");
            }
            ExitCode::from(code_of(&error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DOWNLOAD, IO, UNKNOWN, code_of, failure};
    use anyhow::Context;

    #[test]
    fn exit_code_is_that_of_the_failure_whatever_context_is_around_it() {
        let error = failure(DOWNLOAD, "no such file").context("downloading k3s");
        assert_eq!(code_of(&error), DOWNLOAD);
        assert_eq!(format!("{error:#}"), "downloading k3s: no such file");
    }

    #[test]
    fn exit_code_of_plain_io_error_is_io_and_of_anything_else_unknown() {
        let io = std::fs::read("/nonexistent/file").context("reading");
        assert_eq!(code_of(&io.unwrap_err()), IO);
        assert_eq!(code_of(&anyhow::anyhow!("odd")), UNKNOWN);
    }
}

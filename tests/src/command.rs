//! Runs the host's own tools (mtools, sfdisk, debugfs, grep) and turns a failure into a readable error.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::process::{Command, Output};

/// Runs `program` with `args` and gives its standard output.
///
/// # Errors
/// The program is missing, or ends with a status other than 0; the error carries the tail of its standard error.
pub fn stdout_of<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Result<Vec<u8>> {
    let output = output_of(program, args)?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let tail: Vec<&str> = stderr.lines().rev().take(5).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!("{program}: {}: {}", output.status, tail.join(" / "));
    }
    Ok(output.stdout)
}

/// Runs `program` with `args` and gives everything, whatever the status.
///
/// # Errors
/// The program cannot be started.
pub fn output_of<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Result<Output> {
    Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .env("PATH", search_path())
        .output()
        .with_context(|| format!("starting {program}"))
}

/// The caller's `PATH` with the folders of system tools, which a plain user's lacks on Debian.
pub fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")
}

#[cfg(test)]
mod tests {
    use super::stdout_of;

    #[test]
    fn gives_output_of_a_command_that_succeeds() {
        assert_eq!(stdout_of("echo", &["hello"]).unwrap(), b"hello\n");
    }

    #[test]
    fn names_program_status_and_stderr_of_a_command_that_fails() {
        let error = stdout_of("sh", &["-c", "echo one >&2; echo two >&2; exit 3"]).unwrap_err();
        assert_eq!(error.to_string(), "sh: exit status: 3: one / two");
    }

    #[test]
    fn names_a_missing_program() {
        assert_eq!(
            stdout_of::<&str>("no-such-program", &[]).unwrap_err().to_string(),
            "starting no-such-program"
        );
    }
}

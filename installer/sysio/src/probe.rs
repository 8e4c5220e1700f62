//! Short read-only commands for the health agent: asynchronous, killed when their time is up, output bounded.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// More output than this is cut off. A table of ours has a few kilobytes.
const OUTPUT_MAX_BYTES: u64 = 1024 * 1024;

/// What a command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOutput {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output, at most 1 MiB.
    pub stdout: String,
    /// Standard error, at most 1 MiB.
    pub stderr: String,
}

/// Runs a program with an empty environment but `PATH` and `LC_ALL=C`. Dropping the future kills the program.
///
/// # Errors
/// When the program cannot be started or waited for. A program that failed is no error here: see the exit code.
pub async fn run_probe<A: AsRef<OsStr>>(program: &Path, arguments: &[A]) -> io::Result<ProbeOutput> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::try_join!(read_bounded(stdout), read_bounded(stderr))?;
    let status = child.wait().await?;
    Ok(ProbeOutput { code: status.code(), stdout, stderr })
}

async fn read_bounded(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(OUTPUT_MAX_BYTES).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{ProbeOutput, run_probe};
    use std::path::Path;

    #[tokio::test]
    async fn keeps_code_and_both_outputs_apart() {
        let output =
            run_probe(Path::new("/bin/sh"), &["-c", "echo out; echo err >&2; exit 3"]).await.unwrap();
        let expected = ProbeOutput { code: Some(3), stdout: "out\n".to_owned(), stderr: "err\n".to_owned() };
        assert_eq!(output, expected);
    }

    #[tokio::test]
    async fn gives_no_environment_away() {
        let output = run_probe(Path::new("/usr/bin/env"), &[] as &[&str]).await.unwrap();
        assert_eq!(output.stdout, "LC_ALL=C\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n");
    }

    #[tokio::test]
    async fn reports_a_missing_program() {
        assert!(run_probe(Path::new("/no/such/program"), &["x"]).await.is_err());
    }
}

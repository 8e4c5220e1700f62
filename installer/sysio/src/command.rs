//! Running a program: an argument vector, never a shell; a time limit, always; an error that says all.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Time limit of a program that names none: long enough for `mkfs` on a slow disk, short enough to notice a hang.
pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(300);

/// More output than this is cut off (and drained), so that a runaway program cannot fill memory.
const CAPTURE_MAX_BYTES: u64 = 64 << 20;

/// How long a killed program is waited for. One that sleeps in the kernel, on a device that does not answer, ends when the device does.
const REAP_LIMIT: Duration = Duration::from_secs(2);

/// How much of standard error an error message shows.
const STDERR_TAIL_BYTES: usize = 2000;

/// A program to run. Standard input is empty unless given; the locale is `C.UTF-8`, so that output can be parsed.
#[derive(Clone)]
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Option<Vec<u8>>,
    time_limit: Duration,
}

impl std::fmt::Debug for Cmd {
    /// The argument vector; never standard input, which may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.display())
    }
}

/// What a program printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text; bytes that are not UTF-8 become U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Exit code; `None` when a signal ended the program.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("starting `{argv}`")]
    Start {
        /// Program and arguments.
        argv: String,
        /// Why.
        source: io::Error,
    },
    /// Its input or output could not be handled.
    #[error("talking to `{argv}`")]
    Pipe {
        /// Program and arguments.
        argv: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with a status other than 0.
    #[error("`{argv}` ended with {status}{}", tail_suffix(.stderr_tail))]
    Failed {
        /// Program and arguments.
        argv: String,
        /// `exit status N` or `signal N`.
        status: String,
        /// Last part of standard error.
        stderr_tail: String,
    },
    /// It did not end in time and was killed, with all its children.
    #[error("`{argv}` did not end within {limit_secs} s and was killed{}", tail_suffix(.stderr_tail))]
    TimedOut {
        /// Program and arguments.
        argv: String,
        /// The limit.
        limit_secs: u64,
        /// Last part of standard error.
        stderr_tail: String,
    },
}

/// `: TEXT`, or nothing when there is no text.
fn tail_suffix(tail: &str) -> String {
    if tail.is_empty() { String::new() } else { format!(": {tail}") }
}

impl Cmd {
    /// A program, found through `PATH`, without arguments.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: None,
            time_limit: DEFAULT_TIME_LIMIT,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives it these bytes as standard input. They are never logged.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Replaces [`DEFAULT_TIME_LIMIT`].
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Program and arguments for people, quoted where needed.
    pub fn display(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        words.map(|word| quote(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
    }

    /// Runs it and requires status 0.
    ///
    /// # Errors
    /// [`CommandError`], with argument vector, status and the tail of standard error.
    pub fn run(&self) -> Result<Output, CommandError> {
        let output = self.run_any_status()?;
        if output.status.success() {
            return Ok(output);
        }
        Err(CommandError::Failed {
            argv: self.display(),
            status: describe_status(output.status),
            stderr_tail: tail(&output.stderr),
        })
    }

    /// Runs it; every exit status is an answer.
    ///
    /// # Errors
    /// When it cannot be started or does not end in time.
    pub fn run_any_status(&self) -> Result<Output, CommandError> {
        let started = Instant::now();
        let mut child = self.spawn()?;
        let output = self.collect(&mut child, started + self.time_limit);
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &output {
            Ok(output) => {
                tracing::debug!(
                    argv = self.display(),
                    status = describe_status(output.status),
                    took_ms,
                    "command"
                );
            }
            Err(_) => kill_group(child),
        }
        output
    }

    /// Starts it in a session of its own and does not wait: it outlives this program and the terminal. No input, no output.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run_detached(&self) -> Result<(), CommandError> {
        let failed = |source| CommandError::Start { argv: self.display(), source };
        let status = Command::new("setsid")
            .arg("--fork")
            .arg(&self.program)
            .args(&self.args)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(failed)?;
        if status.success() { Ok(()) } else { Err(failed(io::Error::other(describe_status(status)))) }
    }

    fn spawn(&self) -> Result<Child, CommandError> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env("LC_ALL", "C.UTF-8")
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that the time limit also ends the children of the program.
            .process_group(0);
        command.spawn().map_err(|source| CommandError::Start { argv: self.display(), source })
    }

    fn collect(&self, child: &mut Child, deadline: Instant) -> Result<Output, CommandError> {
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), self.stdin.clone()) {
            // A program that does not read all its input says so by its status; a broken pipe is no news.
            thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let stdout = child.stdout.take().map(read_in_background);
        let stderr = child.stderr.take().map(read_in_background);
        let stdout = receive(stdout.as_ref(), deadline);
        let stderr = receive(stderr.as_ref(), if stdout.is_ok() { deadline } else { Instant::now() });
        let tail_so_far = || stderr.as_ref().map(|bytes| tail(bytes)).unwrap_or_default();
        let timed_out = || CommandError::TimedOut {
            argv: self.display(),
            limit_secs: self.time_limit.as_secs(),
            stderr_tail: tail_so_far(),
        };
        let status = loop {
            let status =
                child.try_wait().map_err(|source| CommandError::Pipe { argv: self.display(), source })?;
            match status {
                Some(status) => break status,
                None if Instant::now() >= deadline => return Err(timed_out()),
                None => thread::sleep(Duration::from_millis(1)),
            }
        };
        let (Ok(stdout), Ok(stderr)) = (&stdout, &stderr) else { return Err(timed_out()) };
        Ok(Output { status, stdout: stdout.clone(), stderr: stderr.clone() })
    }
}

/// Ends a program that overran its limit, and whatever it started. One that cannot be ended is left to a thread.
fn kill_group(mut child: Child) {
    let pid = i32::try_from(child.id()).map(nix::unistd::Pid::from_raw);
    if let Ok(pid) = pid
        && let Err(error) = nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGKILL)
    {
        tracing::debug!(%error, pid = pid.as_raw(), "killing the process group failed");
    }
    let deadline = Instant::now() + REAP_LIMIT;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(1)),
            Ok(Some(_)) => return,
            Err(error) => {
                tracing::debug!(%error, "waiting for a killed program failed");
                return;
            }
        }
    }
    tracing::warn!(pid = child.id(), "a killed program does not end: the kernel holds it");
    thread::spawn(move || drop(child.wait()));
}

/// Reads a pipe to its end in a thread of its own.
fn read_in_background(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A read error on a pipe is its end; what came before it is still worth having.
        let _ended = pipe.by_ref().take(CAPTURE_MAX_BYTES).read_to_end(&mut bytes);
        let _drained = io::copy(&mut pipe, &mut io::sink());
        let _receiver_gone = sender.send(bytes);
    });
    receiver
}

fn receive(receiver: Option<&Receiver<Vec<u8>>>, deadline: Instant) -> Result<Vec<u8>, RecvTimeoutError> {
    receiver.map_or(Ok(Vec::new()), |r| r.recv_timeout(deadline.saturating_duration_since(Instant::now())))
}

fn describe_status(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

/// The last part of an output, on one line.
fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(STDERR_TAIL_BYTES)..]).into_owned();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// A word as a shell would need it; for people only, nothing is ever given to a shell.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::Cmd;
    use std::time::Duration;

    #[test]
    fn gives_stdin_and_captures_both_outputs() {
        let output = Cmd::new("sh").args(["-c", "cat; echo err >&2"]).stdin("hello").run().unwrap();
        assert_eq!((output.text().as_str(), output.stderr.as_slice()), ("hello", b"err\n".as_slice()));
    }

    #[test]
    fn a_failure_says_argv_status_and_stderr() {
        let error = Cmd::new("sh").args(["-c", "echo no such disk >&2; exit 3"]).run().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c 'echo no such disk >&2; exit 3'` ended with exit status 3: no such disk"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Cmd::new("/nonexistent/tool").arg("-x").run().unwrap_err();
        assert_eq!(error.to_string(), "starting `/nonexistent/tool -x`");
    }

    #[test]
    fn the_time_limit_ends_the_children_too() {
        let cmd = Cmd::new("sh").args(["-c", "sleep 600 & sleep 600"]).time_limit(Duration::from_secs(1));
        assert_eq!(
            cmd.run().unwrap_err().to_string(),
            "`sh -c 'sleep 600 & sleep 600'` did not end within 1 s and was killed"
        );
    }

    #[test]
    fn stdin_is_not_in_the_debug_form() {
        assert_eq!(format!("{:?}", Cmd::new("tool").arg("a b").stdin("s3cret")), "tool 'a b'");
    }
}

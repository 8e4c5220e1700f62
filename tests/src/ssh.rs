//! An operator's shell on an installed machine: Debian's own SSH client, a key made for the test, a loopback port of the host.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How long an emulated machine may take for its part of the key exchange.
const CONNECT_SECS: u32 = 60;

/// What a command has answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its exit code; 255 is SSH's own failure.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Answer {
    /// Standard output of a command that ended with this code.
    ///
    /// # Errors
    /// Another code; the error shows both outputs.
    pub fn with_code(self, wanted: i32) -> Result<String> {
        ensure!(self.code == wanted, "exit code {}, expected {wanted}: {}{}", self.code, self.out, self.err);
        Ok(self.out)
    }

    /// Standard output of a command that succeeded.
    ///
    /// # Errors
    /// As [`with_code`](Self::with_code).
    pub fn ok(self) -> Result<String> {
        self.with_code(0)
    }
}

/// Makes a key pair in a folder and gives the public half.
///
/// # Errors
/// `ssh-keygen` fails.
pub fn make_key(folder: &Path) -> Result<String> {
    let file = key_file(folder);
    let path = file.display().to_string();
    crate::command::stdout_of("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", &path])?;
    let public = file.with_extension("pub");
    let text = fs::read_to_string(&public).with_context(|| format!("reading {}", public.display()))?;
    Ok(text.trim_end().to_owned())
}

fn key_file(folder: &Path) -> PathBuf {
    folder.join("operator-key")
}

/// The way into a machine as root.
#[derive(Clone, Debug)]
pub struct Ssh {
    port: u16,
    key: PathBuf,
}

impl Ssh {
    /// By the key that [`make_key`] has left in `folder`.
    pub fn new(port: u16, folder: &Path) -> Self {
        Self { port, key: key_file(folder) }
    }

    /// Runs a line of shell.
    ///
    /// # Errors
    /// The client cannot be started.
    pub fn run(&self, line: &str) -> Result<Answer> {
        self.run_with(line, b"")
    }

    /// Runs a line of shell that reads `input`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with(&self, line: &str, input: &[u8]) -> Result<Answer> {
        let mut child = Command::new("ssh")
            .args(["-F", "none", "-q", "-i"])
            .arg(&self.key)
            .args(["-p", &self.port.to_string(), "-o", &format!("ConnectTimeout={CONNECT_SECS}")])
            .args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ServerAliveInterval=30"])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["root@127.0.0.1", line])
            .env("PATH", crate::command::search_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting ssh")?;
        let mut stdin = child.stdin.take().context("ssh has no standard input")?;
        // A command that does not read ends the pipe; what it answers says why.
        let _unread = stdin.write_all(input);
        drop(stdin);
        let output = child.wait_with_output().context("waiting for ssh")?;
        Ok(Answer {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Ssh, make_key};

    #[test]
    fn makes_a_key_and_says_when_nobody_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let public = make_key(dir.path()).unwrap();
        assert!(public.starts_with("ssh-ed25519 ") && public.ends_with(" test"), "{public}");
        let port = crate::machine::free_port().unwrap();
        let answer = Ssh::new(port, dir.path()).run("true").unwrap();
        assert_eq!(answer.code, 255);
        assert!(answer.ok().is_err());
    }

    #[test]
    fn a_wrong_exit_code_shows_what_was_said() {
        let answer = Answer { code: 4, out: "a".to_owned(), err: "b".to_owned() };
        assert_eq!(answer.clone().with_code(4).unwrap(), "a");
        assert_eq!(answer.ok().unwrap_err().to_string(), "exit code 4, expected 0: ab");
    }
}

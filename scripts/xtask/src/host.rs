//! The build host: folders of this checkout, and commands with their errors.

use crate::failure::{ENVIRONMENT, failure};
use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// How much of a failed command's standard error goes into the error text.
const STDERR_TAIL_LINES: usize = 15;

/// Root of this checkout.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Cargo's target folder: `CARGO_TARGET_DIR` or `target/`.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// Cache of image builds: base trees, initrds, downloaded packages and artefacts.
pub fn cache() -> PathBuf {
    std::env::var_os("METALSTRAP_CACHE").map_or_else(|| target().join("image-cache"), PathBuf::from)
}

/// True when this process runs as root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// A command to be run as root: through `sudo` when this process is not root.
pub fn privileged(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return command(program);
    }
    let mut sudo = command("sudo");
    sudo.arg("--").arg(program);
    sudo
}

/// A command with the C locale, so that what it prints can be read by us.
#[expect(clippy::disallowed_methods, reason = "xtask runs on the build host, not on a node")]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C");
    command
}

/// Runs a command whose output the person should see.
///
/// # Errors
/// The command cannot be started or ends with another status than 0.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(failure(ENVIRONMENT, format!("{}: {status}", shown(command)))) }
}

/// Runs a command silently and returns what it printed.
///
/// # Errors
/// As [`run`]; the error carries the last lines of its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().with_context(|| format!("starting {}", shown(command)))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&stderr);
    let lines: Vec<&str> = stderr.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(STDERR_TAIL_LINES)..).unwrap_or_default().join("\n");
    Err(failure(ENVIRONMENT, format!("{}: {status}\n{tail}", shown(command))))
}

/// Writes a file of the build, making its folder.
///
/// # Errors
/// The folder or file cannot be written; the error names it.
#[expect(clippy::disallowed_methods, reason = "build products need no fsync: a broken build is built again")]
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    std::fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{command, output};

    #[test]
    fn failed_command_names_itself_its_status_and_its_last_words() {
        let error = output(command("sh").args(["-c", "echo lost >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "sh -c echo lost >&2; exit 3: exit status: 3\nlost");
    }

    #[test]
    fn working_command_gives_its_output() {
        assert_eq!(output(command("echo").arg("found")).unwrap(), "found\n");
    }
}

//! Ending the running system: reboot, power off, or start another kernel.

use crate::command::{Cmd, CommandError};
use std::path::Path;
use std::time::Duration;

/// How long systemd may take to accept the request.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Asks systemd for a reboot and, when it does not answer, reboots the hard way after a sync. Returns at once.
///
/// # Errors
/// When both ways fail.
pub fn reboot() -> Result<(), CommandError> {
    request("reboot")
}

/// As [`reboot`], but off.
///
/// # Errors
/// When both ways fail.
pub fn power_off() -> Result<(), CommandError> {
    request("poweroff")
}

fn request(verb: &str) -> Result<(), CommandError> {
    nix::unistd::sync();
    match Cmd::new("systemctl").args(["--no-block", verb]).time_limit(REQUEST_LIMIT).run() {
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::warn!(%error, verb, "systemd does not answer, going the hard way");
            Cmd::new("systemctl").args(["--force", "--force", verb]).time_limit(REQUEST_LIMIT).run().map(drop)
        }
    }
}

/// Loads a kernel for [`kexec_start`]; with Secure Boot the kernel checks its signature (`--kexec-file-syscall`).
///
/// # Errors
/// When `kexec` is missing or the running kernel refuses.
pub fn kexec_load(kernel: &Path, initrd: &Path, command_line: &str) -> Result<(), CommandError> {
    Cmd::new("kexec")
        .args(["--kexec-file-syscall", "--load"])
        .arg(kernel)
        .arg(format!("--initrd={}", initrd.display()))
        .arg(format!("--command-line={command_line}"))
        .run()
        .map(drop)
}

/// Stops the system in order and starts the loaded kernel. Returns at once.
///
/// # Errors
/// When systemd does not take the request, or nothing was loaded.
pub fn kexec_start() -> Result<(), CommandError> {
    nix::unistd::sync();
    Cmd::new("systemctl").args(["--no-block", "kexec"]).time_limit(REQUEST_LIMIT).run().map(drop)
}

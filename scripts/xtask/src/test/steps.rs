//! The steps that need no virtual machine.

use super::summary::{Counts, parse_test_result};
use crate::host;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The Debian packages that everything else needs.
pub fn setup() -> Result<Counts> {
    crate::setup::run().map(|()| Counts::one())
}

/// Formatting.
pub fn format() -> Result<Counts> {
    host::run(cargo().args(["fmt", "--all", "--check"])).map(|()| Counts::one())
}

/// Lints of every target, tests included.
pub fn lints() -> Result<Counts> {
    let mut command = cargo();
    command.args(["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"]);
    host::run(&mut command).map(|()| Counts::one())
}

/// All tests of the workspace, as root: they make network namespaces and loop devices.
pub fn cargo_tests() -> Result<Counts> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    if !host::is_root() {
        command.env(runner_variable()?, "sudo -E");
    }
    let (counts, ok) = counted(command)?;
    ensure!(ok || counts.failed > 0, "cargo test did not come to its end");
    ensure!(counts.passed > 0, "cargo test ran no test");
    Ok(counts)
}

/// Licences, sources and advisories of the dependencies, where cargo-deny is installed.
pub fn dependencies() -> Result<Counts> {
    let there =
        host::command("cargo-deny").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_err() {
        let why = "cargo-deny is not installed (cargo install cargo-deny)";
        eprintln!("{why}");
        return Ok(Counts::none(why));
    }
    // The advisory database is fetched from the network: what needs none is checked everywhere.
    host::run(cargo().args(["deny", "--workspace", "check", "bans", "licenses", "sources"]))
        .map(|()| Counts::one())
}

/// Every shell script of the checkout.
pub fn shell() -> Result<Counts> {
    let listed = host::output(host::command("git").arg("ls-files").current_dir(host::workspace()))?;
    let mut scripts: Vec<PathBuf> = Vec::new();
    for name in listed.lines() {
        let path = host::workspace().join(name);
        if name.ends_with(".sh") || starts_as_shell(&path) {
            scripts.push(path);
        }
    }
    ensure!(!scripts.is_empty(), "there is no shell script at all");
    host::run(host::command("shellcheck").args(&scripts))?;
    Ok(Counts { passed: scripts.len() as u64, ..Counts::default() })
}

fn starts_as_shell(path: &PathBuf) -> bool {
    let Ok(content) = std::fs::read(path) else { return false };
    let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    ["#!/bin/sh", "#!/bin/bash", "#!/usr/bin/env bash"].iter().any(|head| first.starts_with(head.as_bytes()))
        || String::from_utf8_lossy(first).contains("-*- sh -*-")
}

/// The cargo that runs us.
fn cargo() -> Command {
    let mut command = host::command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(host::workspace());
    command
}

/// Name of the variable that makes cargo start test programs through another one.
fn runner_variable() -> Result<String> {
    let text = host::output(host::command("rustc").arg("-vV"))?;
    let triple =
        text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not name its host")?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", triple.to_uppercase().replace('-', "_")))
}

/// Runs a command, shows what it prints, and adds up what cargo counts.
fn counted(mut command: Command) -> Result<(Counts, bool)> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("starting cargo")?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("reading what cargo prints")?;
            let line = String::from_utf8_lossy(&line);
            eprintln!("{line}");
            if let Some(more) = parse_test_result(&line) {
                counts.passed += more.passed;
                counts.failed += more.failed;
            }
        }
    }
    Ok((counts, child.wait()?.success()))
}

#[cfg(test)]
mod tests {
    use super::{counted, runner_variable, starts_as_shell};
    use crate::host;

    #[test]
    fn adds_up_several_results_and_sees_the_status() {
        let mut command = host::command("sh");
        let result = "test result: ok. 2 passed; 1 failed; 0 ignored";
        command.args(["-c", &format!("echo '{result}'; echo '{result}'; exit 1")]);
        let (counts, ok) = counted(command).unwrap();
        assert_eq!((counts.passed, counts.failed, ok), (4, 2, false));
    }

    #[test]
    fn names_the_runner_of_this_host() {
        assert_eq!(runner_variable().unwrap(), "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER");
    }

    #[test]
    fn knows_a_script_by_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let script = |text: &str| {
            let path = folder.path().join("x");
            host::write(&path, text).unwrap();
            starts_as_shell(&path)
        };
        assert!(script("#!/bin/sh\nset -eu\n"));
        assert!(script("# boot script   -*- sh -*-\n"));
        assert!(!script("#!/usr/sbin/nft -f\n"));
        assert!(!script(""));
    }
}

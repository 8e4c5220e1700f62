//! The steps that need no virtual machine.

use super::summary::{Counts, parse_test_result};
use crate::host;
use anyhow::{Context, Result, ensure};
use std::collections::VecDeque;
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

/// All tests of the workspace but the packet proof, as root: they make network namespaces and loop devices.
pub fn cargo_tests() -> Result<Counts> {
    run_tests(&["--workspace", "--no-fail-fast", "--", "--skip", "packet-proof"])
}

/// The packet proof, as root.
pub fn packets() -> Result<Counts> {
    run_tests(&["--package", "tests", "--test", "firewall_packets"])
}

fn run_tests(arguments: &[&str]) -> Result<Counts> {
    let mut command = cargo();
    command.args(["test", "--locked"]).args(arguments);
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

/// Runs a command, shows what it prints on both channels, and adds up what cargo counts.
fn counted(mut command: Command) -> Result<(Counts, bool)> {
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    command.stdout(writer.try_clone().context("making a pipe")?).stderr(writer);
    let mut child = command.spawn().context("starting cargo")?;
    drop(command); // it holds the ends that are written to
    let mut tally = Tally::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("reading what cargo prints")?;
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        tally.line(&line);
    }
    Ok((tally.counts, child.wait()?.success()))
}

/// Lines told again of a test program that failed.
const TOLD_AGAIN: usize = 60;

/// What has been counted, and what the test program that runs now has printed.
#[derive(Default)]
struct Tally {
    counts: Counts,
    program: VecDeque<String>,
    counted: u64,
}

impl Tally {
    fn line(&mut self, line: &str) {
        if line.starts_with("     Running ") || line.starts_with("   Doc-tests ") {
            self.program.clear();
            self.counted = 0;
        }
        self.program.push_back(line.to_owned());
        if self.program.len() > TOLD_AGAIN {
            self.program.pop_front();
        }
        if let Some(more) = parse_test_result(line) {
            self.counts.passed += more.passed;
            self.counts.failed += more.failed;
            self.counted += more.failed;
        }
        if line.starts_with("error: test failed") || line.starts_with("error: doctest failed") {
            // A program with a harness of its own, or one that was killed, gives no count.
            self.counts.failed += u64::from(self.counted == 0);
            self.counts.told_again.extend(self.program.drain(..));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Tally, counted, runner_variable, starts_as_shell};
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
    fn tells_again_only_what_failed_and_counts_a_program_without_a_count() {
        let mut tally = Tally::default();
        let lines = "     Running tests/a.rs\ntest result: ok. 2 passed; 0 failed; 0 ignored\n     Running tests/b.rs\nhole in the wall\n\
                     error: test failed, to rerun pass `-p tests --test b`";
        lines.lines().for_each(|line| tally.line(line));
        assert_eq!((tally.counts.passed, tally.counts.failed), (2, 1));
        assert_eq!(
            tally.counts.told_again,
            [
                "     Running tests/b.rs",
                "hole in the wall",
                "error: test failed, to rerun pass `-p tests --test b`"
            ]
        );
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

//! A running machine: waits for what it says, and leaves evidence when that does not come.

use super::arguments::{OVMF_VARS, qemu_arguments};
use super::{Firmware, Machine};
use crate::accel::Accel;
use crate::command::search_path;
use crate::qmp::Qmp;
use crate::serial::{SerialLine, SerialLog, Waited};
use crate::signs::{bad_sign, find_bad_lines};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Lines of the console that are shown when a wait fails.
const TAIL_LINES: usize = 15;

/// Shows lines of the console while the harness waits.
pub type Echo = fn(&SerialLine);

/// A running machine. Dropping it kills it.
#[derive(Debug)]
pub struct Vm {
    machine: Machine,
    child: Child,
    qmp: Qmp,
    log: SerialLog,
    power_on: Instant,
    dir: PathBuf,
    echo: Echo,
    seen: usize,
    _sockets: tempfile::TempDir,
}

impl Machine {
    /// Starts the machine, lets `scenario` use it, then demands that no bad sign stands on its console and kills it.
    ///
    /// # Errors
    /// What `scenario` returned, or the bad signs; evidence (console, screenshot, drive counters) is in `dir`.
    pub fn run<T>(
        self,
        accel: Accel,
        dir: &Path,
        echo: Echo,
        scenario: impl FnOnce(&mut Vm) -> Result<T>,
    ) -> Result<T> {
        let mut vm = Vm::start(self, accel, dir, echo)?;
        let result = scenario(&mut vm).and_then(|value| vm.ensure_no_bad_sign().map(|()| value));
        if result.is_err() {
            vm.save_evidence();
        }
        vm.kill();
        result.with_context(|| format!("machine `{}` (evidence in {})", vm.machine.name, dir.display()))
    }
}

impl Vm {
    fn start(machine: Machine, accel: Accel, dir: &Path, echo: Echo) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        // A Unix socket's path may have 108 bytes, too few for a checkout deep down.
        let sockets = tempfile::Builder::new().prefix("metalstrap-vm").tempdir_in("/tmp")?;
        let socket = sockets.path().join("qmp");
        let vars = dir.join("vars.fd");
        if machine.firmware == Firmware::Uefi {
            fs::copy(OVMF_VARS, &vars).with_context(|| format!("copying {OVMF_VARS}"))?;
        }
        let serial_file = File::create(dir.join("serial.log"))?;
        let errors = File::create(dir.join("qemu.log"))?;
        let power_on = Instant::now();
        // setpriv makes the kernel end the machine with its harness, however that ends.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(qemu_arguments(&machine, accel, &socket, &vars))
            .env("PATH", search_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .context("starting qemu-system-x86_64")?;
        let log = SerialLog::default();
        if let Some(stdout) = child.stdout.take() {
            let log = log.clone();
            std::thread::spawn(move || log.follow(stdout, serial_file, power_on));
        }
        let qmp = match Qmp::connect(&socket) {
            Ok(qmp) => qmp,
            Err(error) => {
                // Best effort: the process may be gone already, which is the usual cause.
                let _ = child.kill();
                let _ = child.wait();
                let said = fs::read_to_string(dir.join("qemu.log")).unwrap_or_default();
                return Err(error.context(format!("QEMU did not start: {}", said.trim())));
            }
        };
        let dir = dir.to_owned();
        Ok(Self { machine, child, qmp, log, power_on, dir, echo, seen: 0, _sockets: sockets })
    }

    /// Waits for a line that contains `marker`, from the last line waited for on.
    ///
    /// # Errors
    /// The marker does not come within `within_secs` or before the machine's hard limit, the machine ends, a bad sign
    /// or a text of `give_up_on` comes first.
    pub fn expect(&mut self, marker: &str, within_secs: u64) -> Result<SerialLine> {
        let limit = self.power_on + Duration::from_secs(self.machine.limit_secs);
        let deadline = limit.min(Instant::now() + Duration::from_secs(within_secs));
        loop {
            match self.log.wait_from(self.seen, deadline) {
                Waited::More(lines) => {
                    for line in lines {
                        self.seen += 1;
                        (self.echo)(&line);
                        if line.text.contains(marker) {
                            return Ok(line);
                        }
                        self.ensure_good(&line, marker)?;
                    }
                }
                Waited::Ended => bail!("the machine ended while waiting for `{marker}`{}", self.tail()),
                Waited::Timeout => {
                    let secs = self.power_on.elapsed().as_secs();
                    bail!("no `{marker}` until {secs} s after power-on{}", self.tail())
                }
            }
        }
    }

    /// Types a line at the serial console, as a terminal sends it.
    ///
    /// # Errors
    /// The machine is gone.
    pub fn type_line(&mut self, text: &str) -> Result<()> {
        let console = self.child.stdin.as_mut().context("the serial console takes no input")?;
        console.write_all(format!("{text}\r").as_bytes()).with_context(|| format!("typing `{text}`"))?;
        console.flush().with_context(|| format!("typing `{text}`"))
    }

    /// Waits until the machine ends by itself.
    ///
    /// # Errors
    /// It does not within `within_secs`, or a bad sign comes first.
    pub fn expect_end(&mut self, within_secs: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(within_secs);
        loop {
            match self.log.wait_from(self.seen, deadline) {
                Waited::More(lines) => {
                    for line in lines {
                        self.seen += 1;
                        (self.echo)(&line);
                        self.ensure_good(&line, "the end of the machine")?;
                    }
                }
                Waited::Ended => return Ok(()),
                Waited::Timeout => bail!("the machine still runs after {within_secs} s{}", self.tail()),
            }
        }
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<SerialLine> {
        self.log.lines()
    }

    /// The control connection.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// Seconds since power-on.
    pub fn secs(&self) -> f64 {
        self.power_on.elapsed().as_secs_f64()
    }

    /// Folder of its files and evidence.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Demands that drive `id` has been written to exactly never since power-on.
    ///
    /// # Errors
    /// It was, or has no counter.
    pub fn ensure_unwritten(&mut self, id: &str) -> Result<()> {
        let stats = self.qmp.block_stats()?;
        match stats.get(id) {
            None => bail!("QEMU counts nothing for drive {id}"),
            Some(stats) if stats.writes == 0 && stats.written_bytes == 0 => Ok(()),
            Some(stats) => {
                bail!("drive {id} was written to: {} operations, {} bytes", stats.writes, stats.written_bytes)
            }
        }
    }

    /// Demands that drive `id` has been written to since power-on: the control for [`ensure_unwritten`](Self::ensure_unwritten).
    ///
    /// # Errors
    /// It was not, or has no counter.
    pub fn ensure_written(&mut self, id: &str) -> Result<()> {
        let stats = self.qmp.block_stats()?;
        ensure!(
            stats.get(id).is_some_and(|stats| stats.writes > 0),
            "QEMU's write counter of {id} does not move"
        );
        Ok(())
    }

    fn ensure_good(&self, line: &SerialLine, marker: &str) -> Result<()> {
        if let Some(sign) = bad_sign(&line.text, &self.machine.allowed_signs) {
            bail!("bad sign `{sign}` while waiting for `{marker}`: {}{}", line.text, self.tail());
        }
        if let Some(text) = self.machine.give_up_on.iter().find(|text| line.text.contains(**text)) {
            bail!("`{text}` while waiting for `{marker}`: {}{}", line.text, self.tail());
        }
        Ok(())
    }

    fn ensure_no_bad_sign(&self) -> Result<()> {
        let bad = find_bad_lines(&self.log.lines(), &self.machine.allowed_signs);
        if bad.is_empty() {
            return Ok(());
        }
        let list: Vec<String> =
            bad.iter().map(|bad| format!("\n  {:8.1} {}", bad.line.secs, bad.line.text)).collect();
        bail!("bad signs on the console:{}", list.concat())
    }

    fn tail(&self) -> String {
        let lines = self.log.lines();
        let from = lines.len().saturating_sub(TAIL_LINES);
        let list: Vec<String> =
            lines[from..].iter().map(|line| format!("\n  {:8.1} {}", line.secs, line.text)).collect();
        format!("; the console says last:{}", list.concat())
    }

    /// Screenshot and counters. What cannot be had is said in a file of its own, so the first error stays the answer.
    fn save_evidence(&mut self) {
        let notes = match self.qmp.screenshot(&self.dir.join("screen.png")) {
            Ok(()) => String::new(),
            Err(error) => format!("no screenshot: {error:#}\n"),
        };
        let stats = match self.qmp.block_stats() {
            Ok(stats) => format!("{stats:#?}\n"),
            Err(error) => format!("no drive counters: {error:#}\n"),
        };
        if let Err(error) = fs::write(self.dir.join("evidence.txt"), notes + &stats) {
            eprintln!("writing evidence to {}: {error}", self.dir.display());
        }
    }

    fn kill(&mut self) {
        // It may have ended by itself: then both say so, and the machine is as gone as asked.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.kill();
    }
}

//! How an install ended: kept in `/run` for programs, and what the machine does next.

use crate::exit::ExitCode;
use crate::record::InstallRecord;
use crate::refusal::Refusal;
use serde::Serialize;
use std::path::Path;
use sysio::files::{create_folders, write_atomic};
use sysio::power;

/// Where the outcome is kept.
pub const OUTCOME_PATH: &str = "/run/metalstrap/install.json";
/// Schema id of a serialised [`Outcome`].
pub const OUTCOME_SCHEMA: &str = "metalstrap.outcome/v1";

/// What the machine does after the outcome is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Next {
    /// Stay up, so that somebody can look.
    #[default]
    Stay,
    /// Start from the disk.
    Reboot,
    /// Start the loaded kernel.
    Kexec,
    /// Switch off.
    PowerOff,
}

/// How an install ended.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    schema: &'static str,
    /// `installed`, `handed-over`, `halted`, `planned`, `waiting`, `refused` or `failed`.
    outcome: &'static str,
    exit: u8,
    code: Option<&'static str>,
    message: Option<String>,
    details: Vec<String>,
    disk: Option<String>,
    record: Option<InstallRecord>,
    next: Next,
    #[serde(skip)]
    exit_code: Option<ExitCode>,
}

impl Outcome {
    fn new(outcome: &'static str, disk: Option<&str>, next: Next) -> Self {
        Self { schema: OUTCOME_SCHEMA, outcome, disk: disk.map(str::to_owned), next, ..Self::default() }
    }

    pub(super) fn installed(disk: &str, record: InstallRecord) -> Self {
        Self { record: Some(record), ..Self::new("installed", Some(disk), Next::Reboot) }
    }

    pub(super) fn handing_over(disk: &str, loaded: bool) -> Self {
        Self::new("handed-over", Some(disk), if loaded { Next::Kexec } else { Next::Stay })
    }

    pub(super) fn halting(disk: &str) -> Self {
        Self::new("halted", Some(disk), Next::PowerOff)
    }

    pub(super) fn planned(disk: &str) -> Self {
        Self::new("planned", Some(disk), Next::Stay)
    }

    pub(super) fn waiting() -> Self {
        Self::new("waiting", None, Next::Stay)
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        let failed = refusal.exit == ExitCode::DiskTouched;
        Self {
            exit: refusal.exit.number(),
            code: Some(refusal.code),
            message: Some(refusal.message.clone()),
            details: refusal.details.clone(),
            exit_code: Some(refusal.exit),
            ..Self::new(if failed { "failed" } else { "refused" }, None, Next::Stay)
        }
    }

    /// Exit code of the program.
    pub fn exit(&self) -> ExitCode {
        self.exit_code.unwrap_or(ExitCode::Ok)
    }

    /// Keeps the outcome in [`OUTCOME_PATH`].
    pub(super) fn write(&self) -> anyhow::Result<()> {
        let path = Path::new(OUTCOME_PATH);
        create_folders(path.parent().unwrap_or(path), 0o755)?;
        Ok(write_atomic(path, &serde_json::to_vec_pretty(self)?, 0o644)?)
    }

    /// Reboots, switches off or starts the loaded kernel, whatever the outcome asks for.
    pub(super) fn end(&self, no_reboot: bool) -> anyhow::Result<()> {
        if no_reboot {
            return Ok(());
        }
        match self.next {
            Next::Stay => {}
            Next::Reboot => power::reboot()?,
            Next::Kexec => power::kexec_start()?,
            Next::PowerOff => power::power_off()?,
        }
        Ok(())
    }
}

//! How an install ended: kept in `/run` for programs, and what the machine does next.

use crate::codes::Advice;
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
    /// What was being done when it ended early.
    step: Option<String>,
    /// Why that probably happened.
    cause: Option<&'static str>,
    /// What to do next.
    action: Option<&'static str>,
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

    pub(super) fn installed(disk: &str, record: InstallRecord, reboots: bool) -> Self {
        let next = if reboots { Next::Reboot } else { Next::Stay };
        Self { record: Some(record), ..Self::new("installed", Some(disk), next) }
    }

    pub(super) fn handing_over(disk: &str, loaded: bool) -> Self {
        Self::new("handed-over", Some(disk), if loaded { Next::Kexec } else { Next::Stay })
    }

    pub(super) fn halting(disk: &str, for_real: bool) -> Self {
        Self::new("halted", Some(disk), if for_real { Next::PowerOff } else { Next::Stay })
    }

    pub(super) fn planned(disk: &str) -> Self {
        Self::new("planned", Some(disk), Next::Stay)
    }

    pub(super) fn waiting() -> Self {
        Self::new("waiting", None, Next::Stay)
    }

    pub(super) fn refused(refusal: &Refusal, step: String, advice: Advice) -> Self {
        let failed = refusal.exit == ExitCode::DiskTouched;
        Self {
            exit: refusal.exit.number(),
            code: Some(refusal.code),
            message: Some(refusal.message.clone()),
            details: refusal.details.clone(),
            step: Some(step),
            cause: Some(advice.cause),
            action: Some(advice.action),
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

#[cfg(test)]
mod tests {
    use super::Outcome;
    use crate::codes::advise;
    use crate::exit::ExitCode;
    use crate::refusal::Refusal;

    #[test]
    fn a_dry_run_switches_nothing_off_and_starts_nothing() {
        for outcome in [Outcome::halting("/dev/vda", false), Outcome::handing_over("/dev/vda", false)] {
            assert_eq!(serde_json::to_value(outcome).unwrap()["next"], "stay");
        }
        assert_eq!(serde_json::to_value(Outcome::halting("/dev/vda", true)).unwrap()["next"], "power-off");
    }

    #[test]
    fn a_refusal_is_kept_with_step_cause_and_action() {
        let refusal = Refusal::new("E_DISK_FAILING", ExitCode::UnsupportedHardware, "no disk can be taken");
        let outcome = Outcome::refused(&refusal, "choosing the disk".to_owned(), advise(refusal.code, ""));
        let json = serde_json::to_value(&outcome).unwrap();
        let expected = [
            ("schema", "metalstrap.outcome/v1"),
            ("outcome", "refused"),
            ("code", "E_DISK_FAILING"),
            ("step", "choosing the disk"),
            ("cause", "SMART, NVMe health or the end of an eMMC's life"),
            ("action", "replace the disk"),
            ("next", "stay"),
        ];
        for (key, value) in expected {
            assert_eq!(json[key], value, "{key}");
        }
        let touched = Refusal::new("E_DISK_IO", ExitCode::DiskTouched, "x");
        let json =
            serde_json::to_value(Outcome::refused(&touched, String::new(), advise("E_DISK_IO", ""))).unwrap();
        assert_eq!((&json["outcome"], &json["exit"]), (&"failed".into(), &7.into()));
    }
}

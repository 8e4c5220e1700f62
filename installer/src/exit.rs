//! The exit codes of the `metalstrap` command: a documented, tested contract.

use std::fmt;

/// Why the program ends. The number is stable and part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything was done.
    Ok = 0,
    /// A failure without a better name.
    Unknown = 1,
    /// The cluster file, an argument or another input is missing or wrong.
    InvalidInput = 2,
    /// This machine cannot become that node: disk, memory, firmware.
    UnsupportedHardware = 3,
    /// Something around the machine is wrong: privileges, medium, network, tools.
    Environment = 4,
    /// Something could not be fetched, or is not what the pins say.
    Download = 5,
    /// Reading or writing failed.
    Io = 6,
    /// The install failed after the first write to the disk.
    DiskTouched = 7,
}

impl ExitCode {
    /// All codes, in order.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Unknown,
        Self::InvalidInput,
        Self::UnsupportedHardware,
        Self::Environment,
        Self::Download,
        Self::Io,
        Self::DiskTouched,
    ];

    /// The number given to the shell.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What the number means, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::InvalidInput => "invalid input",
            Self::UnsupportedHardware => "unsupported hardware",
            Self::Environment => "environment or preflight",
            Self::Download => "download or dependency",
            Self::Io => "I/O",
            Self::DiskTouched => "failed after the disk was touched",
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// An error together with the exit code it ends the program with.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: ExitCode,
    /// What happened; the whole chain is printed once, at the top.
    pub error: anyhow::Error,
}

impl Failure {
    /// Joins an error and its exit code.
    pub fn new(exit: ExitCode, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }
}

impl From<anyhow::Error> for Failure {
    /// A [`Refusal`](crate::refusal::Refusal) anywhere in the chain brings its own exit code; everything else is unknown.
    fn from(error: anyhow::Error) -> Self {
        let exit =
            error.downcast_ref::<crate::refusal::Refusal>().map_or(ExitCode::Unknown, |refusal| refusal.exit);
        Self { exit, error }
    }
}

impl From<crate::refusal::Refusal> for Failure {
    fn from(refusal: crate::refusal::Refusal) -> Self {
        Self { exit: refusal.exit, error: refusal.into() }
    }
}

/// Gives the error of a result an exit code: `read(..).exit_with(ExitCode::Io)?`.
pub trait ExitWith<T> {
    /// Maps the error to a [`Failure`] with this exit code.
    ///
    /// # Errors
    /// The error of the result, with the code.
    fn exit_with(self, exit: ExitCode) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> ExitWith<T> for Result<T, E> {
    fn exit_with(self, exit: ExitCode) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, error))
    }
}

#[cfg(test)]
mod tests {
    use super::{ExitCode, Failure};
    use crate::refusal::Refusal;

    #[test]
    fn numbers_and_meanings_are_the_documented_contract() {
        let lines: Vec<String> = ExitCode::ALL.iter().map(|c| format!("{c} {}", c.meaning())).collect();
        assert_eq!(
            lines.join(" · "),
            "0 ok · 1 unknown · 2 invalid input · 3 unsupported hardware · 4 environment or preflight · \
             5 download or dependency · 6 I/O · 7 failed after the disk was touched"
        );
    }

    /// A refusal was told already; systemd must neither start the installer again nor say that it is gone.
    #[test]
    fn no_exit_code_of_the_contract_is_a_failure_of_the_unit_and_a_panic_is_one() {
        let unit = include_str!("../../images/overlay/usr/lib/systemd/system/metalstrap-install.service");
        let setting = |key: &str| {
            let mut lines = unit.lines().filter_map(|line| line.strip_prefix(key));
            (lines.next().unwrap_or_default().to_owned(), lines.count())
        };
        let told: Vec<String> =
            ExitCode::ALL.iter().filter(|code| **code != ExitCode::Ok).map(ToString::to_string).collect();
        assert_eq!(setting("SuccessExitStatus="), (told.join(" "), 0));
        assert_eq!(setting("RestartForceExitStatus="), ("101".to_owned(), 0));
        assert_eq!(setting("Restart="), ("on-abnormal".to_owned(), 0));
    }

    #[test]
    fn a_refusal_deep_in_a_chain_keeps_its_exit_code() {
        let refusal = Refusal::new("E_DISK_NONE", ExitCode::UnsupportedHardware, "no disk");
        let failure = Failure::from(anyhow::Error::new(refusal).context("choosing the disk"));
        assert_eq!(failure.exit, ExitCode::UnsupportedHardware);
        assert_eq!(Failure::from(anyhow::anyhow!("other")).exit, ExitCode::Unknown);
    }
}

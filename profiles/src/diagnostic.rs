//! Diagnostics: what is wrong with an input file, where exactly, and what was probably meant.
//!
//! Every file format of this project (cluster file, secrets, profiles, pins) reports through this one type.

use crate::code::Code;
use serde::Serialize;
use std::fmt;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The input cannot be used.
    Error,
    /// The input can be used, but somebody should look at it.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One problem of an input file. Ordered by file, then by position.
///
/// `Display` gives one line: `cluster.toml:12:7: error E_KEY_UNKNOWN at nodes[0].hostnam: unknown key (did you mean
/// `hostname`?)`. Never holds the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    /// File name as the caller gave it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How bad it is.
    pub severity: Severity,
    /// Stable code; every code is described in `docs/reference/diagnostics.md`.
    pub code: Code,
    /// Key path such as `nodes[2].interfaces[0].mac`; empty when the file as a whole is meant.
    pub path: String,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The nearest right spelling of a misspelt key or value.
    pub suggestion: Option<String>,
}

impl Diagnostic {
    /// True for an error, false for a warning.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {} {}", self.file, self.line, self.column, self.severity, self.code)?;
        if !self.path.is_empty() {
            write!(f, " at {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.suggestion {
            Some(right) => write!(f, " (did you mean `{right}`?)"),
            None => Ok(()),
        }
    }
}

/// True when at least one of the diagnostics is an error.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}

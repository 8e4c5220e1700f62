//! Reading the cluster file for a command, with its diagnostics.

use crate::config_source::{CONFIG_READ_BYTES, SECRETS_NAME};
use crate::exit::{ExitCode, ExitWith, Failure};
use profiles::{Cluster, Diagnostic, Loaded};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use sysio::files::read_start;

/// A cluster file that cannot be used, with everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableCluster {
    /// Name of the file.
    pub file: String,
    /// Errors and warnings, by file and position.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for UnusableCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.diagnostics.iter().filter(|d| d.is_error()).count();
        write!(f, "{} cannot be used: {}", self.file, count_of(errors, "error"))?;
        self.diagnostics.iter().try_for_each(|diagnostic| write!(f, "\n  {diagnostic}"))
    }
}

impl std::error::Error for UnusableCluster {}

/// `1 error`, `2 errors`.
pub fn count_of(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Reads a cluster file and the secrets: those named, or `secrets.toml` beside it when there is one.
///
/// # Errors
/// When a file cannot be read; what is wrong *in* it is among the diagnostics.
pub fn read_loaded(file: &Path, secrets: Option<&Path>) -> Result<Loaded, Failure> {
    let exit_of = |error: &sysio::files::FileError| match error.source.kind() {
        ErrorKind::NotFound | ErrorKind::IsADirectory => ExitCode::InvalidInput,
        _ => ExitCode::Io,
    };
    let read = |path: &Path| {
        read_start(path, CONFIG_READ_BYTES).map_err(|error| {
            let exit = exit_of(&error);
            Failure::new(exit, error)
        })
    };
    let bytes = read(file)?;
    let beside: PathBuf = file.with_file_name(SECRETS_NAME);
    let secrets_path = match secrets {
        Some(path) => Some(path.to_owned()),
        None => beside.exists().then_some(beside),
    };
    let secrets = match secrets_path {
        Some(path) => Some((path.display().to_string(), read(&path)?)),
        None => None,
    };
    let name = file.display().to_string();
    let secrets = secrets.as_ref().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    Ok(profiles::load(&name, &bytes, secrets))
}

/// The validated cluster and its warnings.
///
/// # Errors
/// As [`read_loaded`], and [`UnusableCluster`] (exit code 2) when the file has errors.
pub fn read_cluster(file: &Path, secrets: Option<&Path>) -> Result<(Cluster, Vec<Diagnostic>), Failure> {
    let Loaded { cluster, diagnostics } = read_loaded(file, secrets)?;
    match cluster {
        Some(cluster) => Ok((cluster, diagnostics)),
        None => Err(UnusableCluster { file: file.display().to_string(), diagnostics })
            .exit_with(ExitCode::InvalidInput),
    }
}

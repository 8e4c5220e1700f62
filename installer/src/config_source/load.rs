//! From the bytes that were found to the validated cluster.

use super::SECRETS_NAME;
use super::search::FoundConfig;
use crate::exit::ExitCode;
use crate::refusal::Refusal;
use profiles::{Cluster, Diagnostic, Loaded};

/// Parses and validates what was found; gives the cluster and its warnings.
///
/// # Errors
/// A refusal with the code of the first error (of a missing key only when there is no other), and every error and warning as a line.
pub fn load_found(found: &FoundConfig) -> Result<(Cluster, Vec<Diagnostic>), Refusal> {
    let secrets = found.secrets.as_deref().map(|bytes| (SECRETS_NAME, bytes));
    let Loaded { cluster, diagnostics } = profiles::load("cluster.toml", &found.cluster, secrets);
    if let Some(cluster) = cluster {
        return Ok((cluster, diagnostics));
    }
    let errors: Vec<&Diagnostic> = diagnostics.iter().filter(|d| d.is_error()).collect();
    // A missing key is mostly the shadow of a misspelt one, which says more.
    let telling = errors.iter().find(|d| d.code != profiles::Code::KeyMissing).or(errors.first());
    let code = telling.map_or("E_CONFIG_INVALID", |error| error.code.as_str());
    let count = errors.len();
    let noun = if count == 1 { "error" } else { "errors" };
    let message = format!("the cluster file ({}) has {count} {noun}", found.origin);
    Err(Refusal::new(code, ExitCode::InvalidInput, message)
        .with_details(diagnostics.iter().map(ToString::to_string)))
}

#[cfg(test)]
mod tests {
    use super::load_found;
    use crate::config_source::FoundConfig;
    use crate::exit::ExitCode;

    fn found(text: &str) -> FoundConfig {
        FoundConfig {
            origin: "volume METALSTRAP (/dev/sdb1), /cluster.toml".to_owned(),
            cluster: text.into(),
            secrets: None,
        }
    }

    #[test]
    fn a_broken_file_is_refused_with_the_code_that_says_most() {
        let good = include_str!("../../../profiles/examples/single.toml");
        let (cluster, warnings) = load_found(&found(good)).unwrap();
        assert_eq!((cluster.name(), warnings.len()), ("single", 0));
        let refusal = load_found(&found(&good.replace("hostname =", "hostnam ="))).unwrap_err();
        assert_eq!((refusal.code, refusal.exit), ("E_KEY_UNKNOWN", ExitCode::InvalidInput));
        assert!(
            refusal
                .message
                .starts_with("the cluster file (volume METALSTRAP (/dev/sdb1), /cluster.toml) has ")
        );
        assert!(
            refusal.details.iter().any(|line| line.contains("did you mean `hostname`?")),
            "{:?}",
            refusal.details
        );
    }
}

//! What the live medium says about itself: `image.json` and the artefact manifest. Parsers only.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Schema id of `image.json`.
pub const IMAGE_SCHEMA: &str = "metalstrap.image/v1";
/// Schema id of the artefact manifest.
pub const ARTIFACTS_SCHEMA: &str = "metalstrap.artifacts/v1";

/// Length and hash of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Length in bytes.
    pub length: u64,
    /// sha256 in lower-case hex.
    pub sha256: String,
}

/// `live/image.json`: the image that is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Always [`IMAGE_SCHEMA`].
    pub schema: String,
    /// Version of the project the image was built from.
    pub version: String,
    /// Identity of this very build.
    pub build_id: String,
    /// Kernel release.
    pub kernel: String,
    /// k3s version, if there is one inside.
    pub k3s: Option<String>,
    /// True when that k3s is the project's test double.
    pub double: bool,
    /// The files beside it by name.
    pub files: BTreeMap<String, FileDigest>,
}

/// The artefact manifest of the root image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifacts {
    /// Always [`ARTIFACTS_SCHEMA`].
    pub schema: String,
    /// True when the k3s among them is the project's test double.
    pub double: bool,
    /// The artefacts.
    pub artifacts: Vec<Artifact>,
}

/// One foreign artefact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Name in the pins.
    pub name: String,
    /// Version in the pins.
    pub version: String,
    /// Where it lies in the image, absolute.
    pub path: String,
    /// Length in bytes.
    pub length: u64,
    /// sha256 in lower-case hex.
    pub sha256: String,
    /// Where it goes on the node, absolute; `None`: it is used where it lies.
    pub install_to: Option<String>,
}

/// Why a description is not usable.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// Not JSON of this form.
    #[error("{what} is not readable")]
    Form {
        /// Which one.
        what: &'static str,
        /// Where it breaks.
        source: serde_json::Error,
    },
    /// Another schema.
    #[error("{what} has the schema {have:?}, expected {want:?}")]
    Schema {
        /// Which one.
        what: &'static str,
        /// What it says.
        have: String,
        /// What this program reads.
        want: &'static str,
    },
    /// A hash that is none, or a path that is not absolute and plain.
    #[error("{what} has a wrong entry {entry:?}")]
    Entry {
        /// Which one.
        what: &'static str,
        /// The entry.
        entry: String,
    },
}

/// Reads `image.json`.
///
/// # Errors
/// Wrong form, wrong schema, a hash that is none.
pub fn parse_image(text: &str) -> Result<ImageInfo, DescriptionError> {
    let what = "image.json";
    let info: ImageInfo =
        serde_json::from_str(text).map_err(|source| DescriptionError::Form { what, source })?;
    ensure_schema(what, &info.schema, IMAGE_SCHEMA)?;
    match info.files.iter().find(|(_, digest)| !is_sha256(&digest.sha256)) {
        Some((name, _)) => Err(DescriptionError::Entry { what, entry: name.clone() }),
        None => Ok(info),
    }
}

/// Reads the artefact manifest.
///
/// # Errors
/// Wrong form, wrong schema, a hash that is none, a path that is not absolute and plain.
pub fn parse_artifacts(text: &str) -> Result<Artifacts, DescriptionError> {
    let what = "the artefact manifest";
    let manifest: Artifacts =
        serde_json::from_str(text).map_err(|source| DescriptionError::Form { what, source })?;
    ensure_schema(what, &manifest.schema, ARTIFACTS_SCHEMA)?;
    let good = |a: &&Artifact| {
        is_sha256(&a.sha256) && is_plain_path(&a.path) && a.install_to.as_deref().is_none_or(is_plain_path)
    };
    match manifest.artifacts.iter().find(|a| !good(a)) {
        Some(bad) => Err(DescriptionError::Entry { what, entry: bad.name.clone() }),
        None => Ok(manifest),
    }
}

fn ensure_schema(what: &'static str, have: &str, want: &'static str) -> Result<(), DescriptionError> {
    if have == want { Ok(()) } else { Err(DescriptionError::Schema { what, have: have.to_owned(), want }) }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Absolute, without empty parts, `.` and `..`.
pub(super) fn is_plain_path(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

#[cfg(test)]
mod tests {
    use super::{is_plain_path, parse_artifacts, parse_image};

    #[test]
    fn refuses_other_schemas_and_hashes_that_are_none() {
        let image = |schema: &str, hash: &str| {
            format!(
                r#"{{"schema":"{schema}","version":"0.1.0","build_id":"b","kernel":"6.1","k3s":null,"double":false,
                "files":{{"vmlinuz":{{"length":1,"sha256":"{hash}"}}}}}}"#
            )
        };
        let hash = "a".repeat(64);
        assert!(parse_image(&image("metalstrap.image/v1", &hash)).is_ok());
        let text = |json: &str| parse_image(json).unwrap_err().to_string();
        assert_eq!(
            text(&image("metalstrap.image/v2", &hash)),
            "image.json has the schema \"metalstrap.image/v2\", expected \"metalstrap.image/v1\""
        );
        assert_eq!(text(&image("metalstrap.image/v1", "abc")), "image.json has a wrong entry \"vmlinuz\"");
        assert_eq!(text("{"), "image.json is not readable");
    }

    #[test]
    fn an_artefact_cannot_leave_its_place() {
        assert!(is_plain_path("/var/lib/x"));
        for path in ["var/lib", "/var/../etc", "/var//x", "/", "/./x"] {
            assert!(!is_plain_path(path), "{path}");
        }
        let manifest = format!(
            r#"{{"schema":"metalstrap.artifacts/v1","double":false,"artifacts":[{{"name":"k3s","version":"1","path":"/x",
            "length":1,"sha256":"{}","install_to":"/var/../etc/x"}}]}}"#,
            "a".repeat(64)
        );
        assert_eq!(
            parse_artifacts(&manifest).unwrap_err().to_string(),
            "the artefact manifest has a wrong entry \"k3s\""
        );
    }
}

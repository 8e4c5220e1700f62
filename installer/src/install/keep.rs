//! What the live installer leaves in memory for `metalstrap support`: the plan, the rendered files without secrets, and the secrets
//! themselves in a file of root's, so that the redaction knows them. All of it is gone with the live system.

use crate::inventory::escape_json;
use crate::plan::Planned;
use crate::render::Contents;
use crate::support::{KNOWN_SECRETS_PATH, secrets_in_toml};
use profiles::node::NodeSecrets;
use profiles::secret::Secret;
use std::path::Path;
use sysio::files::{FileError, create_folders, read_end, write_atomic};

/// Folder of all of it.
const FOLDER: &str = "/run/metalstrap";
/// The plan.
const PLAN_NAME: &str = "plan.json";
/// Folder of the rendered files.
const RENDERED_NAME: &str = "rendered";
/// The file of known secrets never grows beyond this.
const KNOWN_MAX_BYTES: u64 = 1 << 20;

/// Adds the secrets in these files, usable or not, to those the redaction knows.
pub(super) fn keep_secrets_of_files(files: &[&[u8]]) -> Result<(), FileError> {
    add_secrets(
        Path::new(KNOWN_SECRETS_PATH),
        files.iter().flat_map(|bytes| secrets_in_toml(bytes)).collect(),
    )
}

/// Adds the tokens of the node, which may have been made a moment ago.
pub(super) fn keep_tokens(secrets: &NodeSecrets) -> Result<(), FileError> {
    let all = [&secrets.server_token, &secrets.agent_token, &secrets.node_password];
    add_secrets(Path::new(KNOWN_SECRETS_PATH), all.into_iter().flatten().cloned().collect())
}

fn add_secrets(path: &Path, secrets: Vec<Secret>) -> Result<(), FileError> {
    let known = read_end(path, KNOWN_MAX_BYTES).map(|(bytes, _)| bytes).unwrap_or_default();
    let mut text = String::from_utf8_lossy(&known).into_owned();
    for secret in secrets.iter().map(Secret::expose).filter(|secret| !secret.contains('\n')) {
        if !text.lines().any(|line| line == secret) {
            text.push_str(secret);
            text.push('\n');
        }
    }
    create_folders(path.parent().unwrap_or(path), 0o755)?;
    write_atomic(path, text.as_bytes(), 0o600)
}

/// Keeps the plan and the rendered files that hold no secret.
pub(super) fn keep_plan(planned: &Planned) -> anyhow::Result<()> {
    write_plan(planned, Path::new(FOLDER))
}

fn write_plan(planned: &Planned, folder: &Path) -> anyhow::Result<()> {
    create_folders(folder, 0o755)?;
    let plan = serde_json::to_string_pretty(&planned.plan)?;
    write_atomic(&folder.join(PLAN_NAME), escape_json(&plan).as_bytes(), 0o600)?;
    for file in &planned.rendered.files {
        if let Contents::Plain(text) = &file.contents {
            let path = folder.join(RENDERED_NAME).join(file.path.trim_start_matches('/'));
            create_folders(path.parent().unwrap_or(folder), 0o700)?;
            write_atomic(&path, text.as_bytes(), 0o600)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Secret, add_secrets};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn secrets_are_kept_once_each_in_a_file_of_root() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/known");
        let secrets = |texts: &[&str]| texts.iter().map(|text| Secret::new(*text)).collect();
        add_secrets(&path, secrets(&["one", "two"])).unwrap();
        add_secrets(&path, secrets(&["two", "three"])).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }
}

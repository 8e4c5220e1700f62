//! What an install needs to know of data that is kept. Reads the file system without mounting it.

use crate::apply::partitions::partition_name;
use crate::disks::{DataTarget, NodeDisks};
use crate::exit::ExitCode;
use crate::refusal::Refusal;
use profiles::secret::Secret;
use std::time::Duration;
use sysio::command::Cmd;

/// Where k3s keeps the token that its datastore is encrypted with.
const TOKEN_FILE: &str = "/var/lib/rancher/k3s/server/token";
/// Number of the partition with the file system of a data disk.
const DATA_NUMBER: u32 = 2;
/// Reading one small file.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// The server token that a kept datastore was made with: with another one k3s could not open it. None where no datastore is kept.
///
/// # Errors
/// The file system cannot be read.
pub(super) fn read_kept_token(disks: &NodeDisks) -> Result<Option<Secret>, Refusal> {
    let below = |data: &DataTarget| {
        TOKEN_FILE.strip_prefix(data.mount()).filter(|rest| rest.starts_with('/')).map(str::to_owned)
    };
    // Of several disks one below the other the innermost has the file.
    let holder = disks.data().iter().filter_map(|data| Some((data, below(data)?)));
    let Some((data, path)) = holder.max_by_key(|(data, _)| data.mount().len()) else { return Ok(None) };
    if data.kept().is_none() {
        return Ok(None);
    }
    let partition = partition_name(data.target().path(), DATA_NUMBER);
    let cmd = Cmd::new("debugfs").args(["-R", &format!("cat {path}"), &partition]).time_limit(READ_LIMIT);
    let output = cmd.run_any_status().map_err(|error| {
        let text = format!("reading the token on {partition}: {:#}", anyhow::Error::new(error));
        Refusal::new("E_DATA_DISK_DAMAGED", ExitCode::Environment, text)
    })?;
    Ok(parse_token(&output.text()))
}

/// The password of a token, with or without the hash of the CA before it.
fn parse_token(text: &str) -> Option<Secret> {
    let token = text.trim();
    let password = token.rsplit_once("::server:").map_or(token, |(_, password)| password);
    let is_token = !password.is_empty() && password.bytes().all(|b| b.is_ascii_graphic());
    is_token.then(|| Secret::new(password))
}

#[cfg(test)]
mod tests {
    use super::parse_token;

    #[test]
    fn takes_the_password_of_either_form() {
        let hash = "a".repeat(64);
        let password = |text: &str| parse_token(text).map(|secret| secret.expose().to_owned());
        assert_eq!(password(&format!("K10{hash}::server:0123abc\n")).as_deref(), Some("0123abc"));
        assert_eq!(password("0123abc\n").as_deref(), Some("0123abc"));
        assert_eq!(password(""), None);
        assert_eq!(password("two words\n"), None);
    }
}

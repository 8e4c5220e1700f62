//! What an install needs to know of data that is kept. Reads the file system without mounting it.

use crate::apply::partitions::partition_name;
use crate::disks::{DataTarget, NodeDisks};
use crate::exit::ExitCode;
use crate::inventory::sanitise;
use crate::plan::place::on_state;
use crate::refusal::Refusal;
use crate::render::NODE_PASSWORD;
use profiles::secret::Secret;
use std::time::Duration;
use sysio::command::{Cmd, Output};

/// Where k3s keeps the token that its datastore is encrypted with.
const TOKEN_FILE: &str = "/var/lib/rancher/k3s/server/token";
/// Its name, and that of the folder with the datastore beside it.
const TOKEN_NAME: &str = "/token";
const DATASTORE_NAME: &str = "/db";
/// What `debugfs` says of a path that is not there.
const NOT_FOUND: &str = "File not found by ext2_lookup";
/// Number of the state partition of a system disk.
const STATE_NUMBER: u32 = 5;
/// Number of the partition with the file system of a data disk.
const DATA_NUMBER: u32 = 2;
/// Reading one small file.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// The server token that a kept datastore was made with: with another one k3s could not open it. None where no datastore is kept.
///
/// # Errors
/// `E_DATA_DISK_DAMAGED`: the file system cannot be read, or it holds a datastore without a token. Never a new token for an old
/// datastore.
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
    token_on(&partition_name(data.target().path(), DATA_NUMBER), &path)
}

fn token_on(partition: &str, path: &str) -> Result<Option<Secret>, Refusal> {
    match read_file(partition, path)? {
        Some(text) => {
            parse_token(&text).map(Some).ok_or_else(|| damaged(partition, "its token file holds no token"))
        }
        None if has_folder(partition, &path.replace(TOKEN_NAME, DATASTORE_NAME))? => {
            Err(damaged(partition, "it holds a datastore, and the token that opens it is gone"))
        }
        None => Ok(None),
    }
}

fn damaged(partition: &str, why: &str) -> Refusal {
    Refusal::new("E_DATA_DISK_DAMAGED", ExitCode::Environment, format!("{partition}: {why}"))
}

/// Contents of a file; `None` when there is none. `debugfs` ends with 0 whatever it met: what it says decides.
fn read_file(partition: &str, path: &str) -> Result<Option<String>, Refusal> {
    let output = ask(partition, &format!("cat {path}"))?;
    if !output.stdout.is_empty() {
        return Ok(Some(output.text()));
    }
    ensure_absent(partition, &output, path).map(|()| None)
}

fn has_folder(partition: &str, path: &str) -> Result<bool, Refusal> {
    let output = ask(partition, &format!("stat {path}"))?;
    if !output.stdout.is_empty() {
        return Ok(true);
    }
    ensure_absent(partition, &output, path).map(|()| false)
}

fn ensure_absent(partition: &str, output: &Output, path: &str) -> Result<(), Refusal> {
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains(NOT_FOUND) {
        return Ok(());
    }
    // Its first line is its version.
    let why = said.lines().skip(1).collect::<Vec<_>>().join("; ");
    Err(damaged(partition, &format!("{path} cannot be read: {}", sanitise(&why))))
}

fn ask(partition: &str, request: &str) -> Result<Output, Refusal> {
    let cmd = Cmd::new("debugfs").args(["-R", request, partition]).time_limit(READ_LIMIT);
    cmd.run_any_status().map_err(|error| damaged(partition, &format!("{:#}", anyhow::Error::new(error))))
}

/// What k3s proves this node by, on the state partition of an install that is made again; `None` where k3s has made none. The cluster knows
/// the node by it and refuses another one.
///
/// # Errors
/// `E_DATA_DISK_DAMAGED`: the file system cannot be read.
pub(super) fn read_node_password(disk: &str) -> Result<Option<Secret>, Refusal> {
    password_on(&partition_name(disk, STATE_NUMBER))
}

fn password_on(partition: &str) -> Result<Option<Secret>, Refusal> {
    let path = on_state(NODE_PASSWORD).map(|below| format!("/{below}")).unwrap_or_default();
    let text = read_file(partition, &path)?;
    let password = text.as_deref().map(str::trim);
    let is_password = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(password.filter(is_password).map(Secret::new))
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
    use super::{has_folder, parse_token, password_on, read_file, token_on};
    use std::path::Path;
    use sysio::command::Cmd;

    /// An ext4 in a file, made from a folder.
    fn file_system(folder: &Path, files: &[(&str, &str)]) -> String {
        let tree = folder.join("tree");
        for (name, text) in files {
            let path = tree.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::create_dir_all(&tree).unwrap();
        let image = folder.join("image");
        std::fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
        Cmd::new("mkfs.ext4").args(["-q", "-F", "-d"]).arg(&tree).arg(&image).run().unwrap();
        image.display().to_string()
    }

    #[test]
    fn a_file_that_is_not_there_is_told_from_one_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let image = file_system(folder.path(), &[("k3s/server/token", "abc"), ("k3s/server/db/x", "")]);
        assert_eq!(read_file(&image, "/k3s/server/token").unwrap().as_deref(), Some("abc"));
        assert_eq!(read_file(&image, "/k3s/server/none").unwrap(), None);
        assert!(has_folder(&image, "/k3s/server/db").unwrap());
        assert!(!has_folder(&image, "/k3s/agent").unwrap());
        let garbage = folder.path().join("garbage");
        std::fs::write(&garbage, vec![7u8; 1 << 20]).unwrap();
        for place in [garbage.display().to_string(), "/dev/nonexistent".to_owned()] {
            let refusal = read_file(&place, "/k3s/server/token").unwrap_err();
            assert_eq!(refusal.code, "E_DATA_DISK_DAMAGED", "{refusal}");
            assert!(
                refusal.message.starts_with(&format!("{place}: /k3s/server/token cannot be read: ")),
                "{refusal}"
            );
        }
    }

    #[test]
    fn an_old_datastore_gets_its_own_token_or_none() {
        let path = "/k3s/server/token";
        let on = |files: &[(&str, &str)]| {
            let folder = tempfile::tempdir().unwrap();
            let image = file_system(folder.path(), files);
            token_on(&image, path)
                .map(|token| token.map(|token| token.expose().to_owned()))
                .map_err(|refusal| refusal.to_string().replace(&image, "PARTITION"))
        };
        let db = ("k3s/server/db/etcd/member", "");
        assert_eq!(on(&[db, ("k3s/server/token", "0123abc\n")]), Ok(Some("0123abc".to_owned())));
        assert_eq!(on(&[("k3s/agent/x", "")]), Ok(None), "a worker has none");
        assert_eq!(
            on(&[db]),
            Err("E_DATA_DISK_DAMAGED: PARTITION: it holds a datastore, and the token that opens it is gone"
                .to_owned())
        );
        assert_eq!(
            on(&[db, ("k3s/server/token", "two words")]),
            Err("E_DATA_DISK_DAMAGED: PARTITION: its token file holds no token".to_owned())
        );
    }

    #[test]
    fn the_password_of_a_node_is_taken_over_and_nothing_else_in_its_place() {
        let on = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let image = file_system(folder.path(), &[("etc/upper/rancher/node/password", text)]);
            password_on(&image).unwrap().map(|secret| secret.expose().to_owned())
        };
        assert_eq!(on("0123abcd\n").as_deref(), Some("0123abcd"));
        assert_eq!(on("no password"), None);
    }

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

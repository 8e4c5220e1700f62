//! The secrets a machine has, for the redaction to know.

use super::Machine;
use profiles::secret::Secret;
use toml::Value;

/// Where the live installer leaves the secrets of the configuration it found; root's only, in memory, gone with the live system.
pub const KNOWN_SECRETS_PATH: &str = "/run/metalstrap/known-secrets";

/// Files that hold secrets, one per line. They are read to know what to take out, and never taken.
const SECRET_FILES: [&str; 9] = [
    KNOWN_SECRETS_PATH,
    "/etc/rancher/k3s/server-token",
    "/etc/rancher/k3s/agent-token",
    "/etc/rancher/node/password",
    "/var/lib/rancher/k3s/server/token",
    "/var/lib/rancher/k3s/server/node-token",
    "/var/lib/rancher/k3s/server/agent-token",
    "/var/lib/rancher/k3s/server/cred/passwd",
    "/var/lib/rancher/k3s/server/cred/ipsec.psk",
];

/// More than this is no file of secrets.
const SECRETS_MAX_BYTES: u64 = 1 << 20;

/// What is known, and what could not be read.
pub(super) struct Known {
    pub(super) secrets: Vec<Secret>,
    pub(super) unread: Vec<String>,
}

/// Reads every file that holds secrets. One that is not there is no news; one that may not be read is.
pub(super) fn read_known_secrets(machine: &mut dyn Machine) -> Known {
    let mut known = Known { secrets: Vec::new(), unread: Vec::new() };
    for path in SECRET_FILES {
        match machine.read(path, SECRETS_MAX_BYTES) {
            Ok((bytes, _)) => known.secrets.extend(secrets_in_lines(&String::from_utf8_lossy(&bytes))),
            Err(why) if why.contains("No such file") => {}
            Err(why) => known.unread.push(format!("{path}: {why}")),
        }
    }
    known
}

/// Each line, and of a k3s token (`K10HASH::USER:PASSWORD`) or a line of `passwd` (`PASSWORD,USER,…`) also the password alone.
fn secrets_in_lines(text: &str) -> Vec<Secret> {
    let mut secrets = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        secrets.push(line);
        secrets.extend(line.split_once("::").map(|(_, rest)| rest));
        secrets.extend(line.rsplit_once(':').map(|(_, password)| password));
        secrets.extend(line.split_once(',').map(|(password, _)| password));
    }
    secrets.into_iter().map(Secret::new).collect()
}

/// Secrets in a cluster or secrets file, even in one that is refused: every string below a key that is named like a secret, and
/// every quoted text behind such a word when it is no TOML.
pub fn secrets_in_toml(bytes: &[u8]) -> Vec<Secret> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    match text.parse::<toml::Table>() {
        Ok(table) => collect(&Value::Table(table), false, &mut found),
        Err(_) => {
            for line in text.lines().filter(|line| is_secret_name(line.split('=').next().unwrap_or_default()))
            {
                let value =
                    line.split_once('=').map(|(_, value)| value.trim().trim_matches(['"', '\'']).to_owned());
                found.extend(value);
            }
        }
    }
    found.into_iter().filter(|text| !text.is_empty()).map(Secret::new).collect()
}

fn is_secret_name(name: &str) -> bool {
    ["token", "password", "secret", "key"].iter().any(|word| name.to_ascii_lowercase().contains(word))
        && !name.to_ascii_lowercase().contains("ssh")
}

fn collect(value: &Value, is_secret: bool, found: &mut Vec<String>) {
    match value {
        Value::String(text) if is_secret => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, is_secret, found)),
        Value::Table(table) => {
            table.iter().for_each(|(key, value)| collect(value, is_secret || is_secret_name(key), found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{secrets_in_lines, secrets_in_toml};

    fn texts(secrets: &[profiles::secret::Secret]) -> Vec<&str> {
        secrets.iter().map(|secret| secret.expose()).collect()
    }

    #[test]
    fn a_token_is_known_whole_and_by_its_password() {
        assert_eq!(texts(&secrets_in_lines("K10aa::server:pw\n\n")), ["K10aa::server:pw", "server:pw", "pw"]);
    }

    #[test]
    fn secrets_of_a_file_that_is_refused_are_known_too() {
        let good = b"[cluster]\nname = \"lab\"\nserver_token = \"abc\"\nssh_keys = [\"ssh-ed25519 A\"]\n[secrets]\nx = [\"d\", 1]\n";
        assert_eq!(texts(&secrets_in_toml(good)), ["abc", "d"]);
        assert_eq!(texts(&secrets_in_toml(b"agent_token = \"abc\n[[[\nname = \"x\"\n")), ["abc"]);
        assert_eq!(texts(&secrets_in_toml(&[0xff, b'=', 0])), Vec::<&str>::new());
    }
}

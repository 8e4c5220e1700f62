//! Our table of the packet filter: loading, listing, and a form of a listing that two tables can be compared by.
//!
//! Only `table inet metalstrap` is ever named; the tables of others are Kubernetes' business.

use crate::command::{Cmd, CommandError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Where it was noted what was loaded, and by which rules; read by the health agent.
pub const SEAL_PATH: &str = "/run/metalstrap/firewall.json";

/// Folder that is there while rules are on trial.
pub const TRIAL_PATH: &str = "/run/metalstrap/firewall-trial";

/// nft answers in milliseconds; a netlink socket that takes longer hangs.
const TIME_LIMIT: Duration = Duration::from_secs(30);

const TABLE: [&str; 4] = ["list", "table", "inet", "metalstrap"];

/// What was loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// SHA-256 of the rules file.
    pub rules_sha256: String,
    /// [`fingerprint`] of the table right after it was loaded.
    pub table_sha256: String,
}

/// Why the packet filter did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// `nft` failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// `nft` printed something else than its JSON.
    #[error("reading the listing of nft")]
    Listing(#[from] serde_json::Error),
    /// No network namespace could be made.
    #[error("making a scratch network namespace (needs root)")]
    Namespace(#[source] std::io::Error),
}

fn nft() -> Cmd {
    Cmd::new("nft").time_limit(TIME_LIMIT)
}

/// Has the kernel check rules, without loading them.
///
/// # Errors
/// [`CommandError`] with what `nft` says about the first wrong line.
pub fn check(rules: &str) -> Result<(), NftError> {
    nft().args(["-c", "-f", "-"]).stdin(rules).run()?;
    Ok(())
}

/// Loads rules in one transaction: all of them or, on any error, none.
///
/// # Errors
/// [`CommandError`] with what `nft` says.
pub fn load(rules: &str) -> Result<(), NftError> {
    nft().args(["-f", "-"]).stdin(rules).run()?;
    Ok(())
}

/// The canonical form of our table in the kernel; `None` when it is not there.
///
/// # Errors
/// When `nft` cannot list it.
pub fn read_table() -> Result<Option<Value>, NftError> {
    match list(&["-j"])? {
        Some(text) => Ok(Some(canonical(&text)?)),
        None => Ok(None),
    }
}

/// Our table as rules that would load it again, without what it has counted; `None` when it is not there.
///
/// # Errors
/// When `nft` cannot list it.
pub fn read_rules() -> Result<Option<String>, NftError> {
    list(&["-s"])
}

fn list(options: &[&str]) -> Result<Option<String>, NftError> {
    let listing = nft().args(options).args(TABLE);
    let output = listing.run_any_status()?;
    if output.status.success() {
        return Ok(Some(output.text()));
    }
    if String::from_utf8_lossy(&output.stderr).contains("No such file or directory") {
        return Ok(None);
    }
    listing.run()?;
    Ok(None)
}

/// The canonical form of the table that these rules make, loaded into a network namespace that nobody else is in.
///
/// # Errors
/// Without the privilege to make a namespace, or when the rules do not load.
pub fn rehearse(rules: &str) -> Result<Option<Value>, NftError> {
    let rules = rules.to_owned();
    // A namespace belongs to a thread, and ends with the last one in it.
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
            .map_err(|errno| NftError::Namespace(errno.into()))?;
        load(&rules)?;
        read_table()
    });
    thread
        .join()
        .unwrap_or_else(|_| Err(NftError::Namespace(std::io::Error::other("the thread ended early"))))
}

/// What a JSON listing says about the rules alone: no handles, no counts, no version, sets in one order.
///
/// # Errors
/// When the text is not JSON.
pub fn canonical(listing: &str) -> Result<Value, serde_json::Error> {
    let mut value: Value = serde_json::from_str(listing)?;
    if let Some(entries) = value.get_mut("nftables").and_then(Value::as_array_mut) {
        entries.retain(|entry| entry.get("metainfo").is_none());
    }
    clean(&mut value);
    Ok(value)
}

fn clean(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(object) => {
            object.remove("handle");
            if let Some(Value::Object(counter)) = object.get_mut("counter") {
                counter.remove("packets");
                counter.remove("bytes");
            }
            if let Some(Value::Array(elements)) = object.get_mut("elem") {
                elements.sort_by_key(Value::to_string);
            }
            let sorted: std::collections::BTreeMap<String, Value> =
                std::mem::take(object).into_iter().collect();
            *object = sorted.into_iter().collect::<Map<_, _>>();
            object.values_mut().for_each(clean);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// SHA-256 of a canonical listing.
pub fn fingerprint(canonical: &Value) -> String {
    sha256(canonical.to_string().as_bytes())
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The entries (sets, chains, rules, counters) of a canonical listing, one line each.
pub fn entries(canonical: &Value) -> Vec<String> {
    let list = canonical.get("nftables").and_then(Value::as_array);
    list.into_iter().flatten().map(Value::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::{canonical, entries, fingerprint};

    const LISTING: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "metalstrap", "handle": 7}},
        {"counter": {"name": "a", "handle": 1, "packets": 5, "bytes": 300}},
        {"set": {"name": "s", "handle": 2, "elem": ["10.0.0.2", "10.0.0.1"]}},
        {"rule": {"chain": "c", "handle": 3, "expr": [{"counter": {"packets": 1, "bytes": 2}}, {"drop": null}]}}]}"#;

    #[test]
    fn counts_handles_and_the_order_of_sets_do_not_matter() {
        let other = LISTING
            .replace("1.0.6", "1.1.0")
            .replace("\"handle\": 3", "\"handle\": 99")
            .replace("\"packets\": 5, \"bytes\": 300", "\"packets\": 0, \"bytes\": 0")
            .replace("\"10.0.0.2\", \"10.0.0.1\"", "\"10.0.0.1\", \"10.0.0.2\"");
        let (one, two) = (canonical(LISTING).unwrap(), canonical(&other).unwrap());
        assert_eq!(one, two);
        assert_eq!(fingerprint(&one), fingerprint(&two));
        assert_eq!(entries(&one).len(), 4);
    }

    #[test]
    fn a_rule_that_is_gone_or_other_does() {
        let one = fingerprint(&canonical(LISTING).unwrap());
        for (from, to) in [("\"drop\"", "\"accept\""), ("10.0.0.1", "10.0.0.3"), ("\"c\"", "\"d\"")] {
            let other = canonical(&LISTING.replace(from, to)).unwrap();
            assert_ne!(fingerprint(&other), one, "{from}");
        }
    }
}

//! `firewall.drift`: the kernel still has the table that was loaded, and it was loaded from the rules on the disk.

use crate::catalogue::{ALL_ROLES, AT_ONCE, Check, Looking, Moment, always, secs};
use crate::context::Context;
use crate::verdict::Verdict;
use std::sync::Arc;
use sysio::nft::{SEAL_PATH, Seal, TRIAL_PATH, canonical, fingerprint, sha256};
use sysio::probe::{ProbeOutput, run_probe};

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "firewall.drift",
    title: "Nobody changed the firewall since it was loaded",
    source: "`nft -j list table inet metalstrap` without handles and counts, its SHA-256 against the one noted after loading; \
             SHA-256 of /etc/metalstrap/firewall.nft likewise",
    limits: "Table or file other than noted: critical; rules on trial: warning; no note, or nft does not answer: unknown",
    roles: ALL_ROLES,
    applies: always,
    interval: secs(60),
    timeout: secs(10),
    patience: AT_ONCE,
    depends_on: &["firewall.table"],
    action: "metalstrap firewall diff; then metalstrap firewall apply",
    subject: "",
    look,
};

/// What was found.
struct Found {
    seal: Result<String, String>,
    rules: Result<String, String>,
    listing: Result<ProbeOutput, String>,
    on_trial: bool,
}

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move {
        let arguments = ["-j", "list", "table", "inet", "metalstrap"];
        let listing = run_probe(&context.path("/usr/sbin/nft"), &arguments).await;
        let id = format!("{TRIAL_PATH}/id");
        judge(&Found {
            seal: context.read(SEAL_PATH).await,
            rules: context.read("/etc/metalstrap/firewall.nft").await,
            listing: listing.map_err(|error| format!("running nft: {error}")),
            on_trial: context.path(&id).exists(),
        })
    })
}

fn judge(found: &Found) -> Verdict {
    if found.on_trial {
        return Verdict::warning("OnTrial", "rules are on trial: `metalstrap firewall confirm` keeps them");
    }
    let (seal, rules, listing) = match (&found.seal, &found.rules, &found.listing) {
        (Ok(seal), Ok(rules), Ok(listing)) => (seal, rules, listing),
        (Err(why), ..) => {
            return Verdict::unknown("NotNoted", format!("nobody noted what was loaded: {why}"));
        }
        (_, Err(why), _) => return Verdict::critical("RulesMissing", why.clone()),
        (.., Err(why)) => return Verdict::unknown("CannotRun", why.clone()),
    };
    let Ok(seal) = serde_json::from_str::<Seal>(seal) else {
        return Verdict::unknown("NotNoted", format!("{SEAL_PATH} is not a note of what was loaded"));
    };
    if listing.code != Some(0) {
        return Verdict::unknown("CannotList", listing.stderr.lines().next().unwrap_or("nft failed"));
    }
    let Ok(table) = canonical(&listing.stdout) else {
        return Verdict::unknown("NotUnderstood", "nft printed no JSON");
    };
    if fingerprint(&table) != seal.table_sha256 {
        return Verdict::critical(
            "TableChanged",
            "somebody changed table inet metalstrap since it was loaded",
        );
    }
    if sha256(rules.as_bytes()) != seal.rules_sha256 {
        return Verdict::critical(
            "NotApplied",
            "/etc/metalstrap/firewall.nft has other rules than were loaded",
        );
    }
    Verdict::ok("AsLoaded", "table inet metalstrap is exactly what was loaded from the rules on the disk")
}

#[cfg(test)]
mod tests {
    use super::{Found, judge};
    use crate::verdict::Verdict;
    use sysio::nft::{canonical, fingerprint, sha256};
    use sysio::probe::ProbeOutput;

    const LISTING: &str = r#"{"nftables":[{"counter":{"name":"a","handle":3,"packets":9,"bytes":1}}]}"#;

    fn listing(text: &str) -> Result<ProbeOutput, String> {
        Ok(ProbeOutput { code: Some(0), stdout: text.to_owned(), stderr: String::new() })
    }

    fn healthy() -> Found {
        let table = fingerprint(&canonical(LISTING).unwrap());
        let seal = format!(r#"{{"rules_sha256":"{}","table_sha256":"{table}"}}"#, sha256(b"rules"));
        Found { seal: Ok(seal), rules: Ok("rules".to_owned()), listing: listing(LISTING), on_trial: false }
    }

    #[test]
    fn only_the_very_table_that_was_loaded_is_fine() {
        let counted =
            LISTING.replace("\"packets\":9", "\"packets\":12").replace("\"handle\":3", "\"handle\":4");
        let other = LISTING.replace("\"a\"", "\"b\"");
        let failed = ProbeOutput { code: Some(1), stdout: String::new(), stderr: "no\nx".to_owned() };
        let ok = Verdict::ok(
            "AsLoaded",
            "table inet metalstrap is exactly what was loaded from the rules on the disk",
        );
        let table: [(Found, Verdict); 9] = [
            (healthy(), ok.clone()),
            (Found { listing: listing(&counted), ..healthy() }, ok),
            (
                Found { listing: listing(&other), ..healthy() },
                Verdict::critical(
                    "TableChanged",
                    "somebody changed table inet metalstrap since it was loaded",
                ),
            ),
            (
                Found { rules: Ok("others".to_owned()), ..healthy() },
                Verdict::critical(
                    "NotApplied",
                    "/etc/metalstrap/firewall.nft has other rules than were loaded",
                ),
            ),
            (
                Found { on_trial: true, listing: listing(&other), ..healthy() },
                Verdict::warning("OnTrial", "rules are on trial: `metalstrap firewall confirm` keeps them"),
            ),
            (
                Found { seal: Err("reading x: gone".to_owned()), ..healthy() },
                Verdict::unknown("NotNoted", "nobody noted what was loaded: reading x: gone"),
            ),
            (
                Found { seal: Ok("{}".to_owned()), ..healthy() },
                Verdict::unknown(
                    "NotNoted",
                    "/run/metalstrap/firewall.json is not a note of what was loaded",
                ),
            ),
            (Found { listing: Ok(failed), ..healthy() }, Verdict::unknown("CannotList", "no")),
            (
                Found { listing: listing("<"), ..healthy() },
                Verdict::unknown("NotUnderstood", "nft printed no JSON"),
            ),
        ];
        for (found, expected) in table {
            assert_eq!(judge(&found), expected);
        }
    }
}

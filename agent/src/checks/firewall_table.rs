//! `firewall.table`: our firewall table is in the kernel and drops what it does not know.

use crate::catalogue::{ALL_ROLES, AT_ONCE, Check, Looking, Moment, always, secs};
use crate::context::Context;
use crate::verdict::Verdict;
use serde_json::Value;
use std::sync::Arc;
use sysio::probe::{ProbeOutput, run_probe};

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "firewall.table",
    title: "The firewall is loaded and drops by default",
    source: "`nft -j list table inet metalstrap`; other tables are Kubernetes' business",
    limits: "Table missing, no input chain, its policy not drop, or only the minimal table of the boot: critical; nft does not answer: unknown",
    roles: ALL_ROLES,
    applies: always,
    interval: secs(30),
    timeout: secs(5),
    patience: AT_ONCE,
    depends_on: &[],
    action: "systemctl restart metalstrap-firewall; then find out who changed it: nft list ruleset",
    subject: "",
    look,
};

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move {
        let arguments = ["-j", "list", "table", "inet", "metalstrap"];
        let output = run_probe(&context.path("/usr/sbin/nft"), &arguments).await;
        judge(&output.map_err(|error| format!("running nft: {error}")))
    })
}

/// nft's listing.
pub fn judge(output: &Result<ProbeOutput, String>) -> Verdict {
    let output = match output {
        Ok(output) => output,
        Err(why) => return Verdict::unknown("CannotRun", why.clone()),
    };
    if output.code != Some(0) {
        if output.stderr.contains("No such file or directory") {
            return Verdict::critical("TableMissing", "table inet metalstrap is not loaded");
        }
        return Verdict::unknown("CannotList", output.stderr.lines().next().unwrap_or("nft failed"));
    }
    let Ok(listing) = serde_json::from_str::<Value>(&output.stdout) else {
        return Verdict::unknown("NotUnderstood", "nft printed no JSON");
    };
    let entries = listing["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    // Its counter tells the minimal table from the node's own.
    let minimal =
        entries.iter().filter_map(|entry| entry.get("counter")).any(|it| it["name"] == "drop_minimal");
    if minimal {
        return Verdict::critical(
            "MinimalTable",
            "the rules of this node did not load: the minimal table of the boot is in force, nothing new comes in",
        );
    }
    let input = entries.iter().filter_map(|entry| entry.get("chain")).find(|chain| chain["hook"] == "input");
    match input.map(|chain| chain["policy"].as_str().unwrap_or("accept")) {
        Some("drop") => Verdict::ok("Loaded", "table inet metalstrap is loaded and drops by default"),
        Some(policy) => Verdict::critical("PolicyNotDrop", format!("the input chain's policy is {policy}")),
        None => Verdict::critical("NoInputChain", "table inet metalstrap has no input chain"),
    }
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::verdict::Verdict;
    use sysio::probe::ProbeOutput;

    #[test]
    fn only_a_dropping_input_chain_is_fine() {
        let output = |code, stdout: &str, stderr: &str| {
            Ok(ProbeOutput { code: Some(code), stdout: stdout.to_owned(), stderr: stderr.to_owned() })
        };
        let chain = |body: &str| {
            let text =
                format!(r#"{{"nftables":[{{"metainfo":{{}}}},{{"table":{{}}}},{{"chain":{{{body}}}}}]}}"#);
            output(0, &text, "")
        };
        let missing = "Error: No such file or directory\nlist table inet metalstrap\n";
        let table = [
            (
                chain(r#""hook":"input","policy":"drop""#),
                Verdict::ok("Loaded", "table inet metalstrap is loaded and drops by default"),
            ),
            (
                chain(r#""hook":"input","policy":"accept""#),
                Verdict::critical("PolicyNotDrop", "the input chain's policy is accept"),
            ),
            (
                chain(r#""hook":"forward","policy":"drop""#),
                Verdict::critical("NoInputChain", "table inet metalstrap has no input chain"),
            ),
            (
                output(1, "", missing),
                Verdict::critical("TableMissing", "table inet metalstrap is not loaded"),
            ),
            (
                output(1, "", "Operation not permitted (you must be root)\n"),
                Verdict::unknown("CannotList", "Operation not permitted (you must be root)"),
            ),
            (
                output(
                    0,
                    r#"{"nftables":[{"counter":{"name":"drop_minimal"}},{"chain":{"hook":"input","policy":"drop"}}]}"#,
                    "",
                ),
                Verdict::critical(
                    "MinimalTable",
                    "the rules of this node did not load: the minimal table of the boot is in force, nothing new comes in",
                ),
            ),
            (output(0, "<", ""), Verdict::unknown("NotUnderstood", "nft printed no JSON")),
            (Err("running nft: x".to_owned()), Verdict::unknown("CannotRun", "running nft: x")),
        ];
        for (observed, expected) in table {
            assert_eq!(judge(&observed), expected, "{observed:?}");
        }
    }
}

//! `haproxy.config`: the configuration on disk would be accepted at the next reload.

use crate::catalogue::{AT_ONCE, Check, Looking, Moment, always, secs};
use crate::context::Context;
use crate::verdict::Verdict;
use profiles::node::Role;
use std::sync::Arc;
use sysio::probe::{ProbeOutput, run_probe};

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "haproxy.config",
    title: "HAProxy's configuration is valid",
    source: "`haproxy -c -q -f /etc/haproxy/haproxy.cfg`",
    limits: "Refused by HAProxy: warning (what runs is not concerned)",
    roles: &[Role::Proxy],
    applies: always,
    interval: secs(300),
    timeout: secs(10),
    patience: AT_ONCE,
    depends_on: &[],
    action: "haproxy -c -f /etc/haproxy/haproxy.cfg",
    subject: "",
    look,
};

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move {
        let config = context.path("/etc/haproxy/haproxy.cfg");
        let arguments = ["-c".as_ref(), "-q".as_ref(), "-f".as_ref(), config.as_os_str()];
        let output = run_probe(&context.path("/usr/sbin/haproxy"), &arguments).await;
        judge(&output.map_err(|error| error.to_string()))
    })
}

/// HAProxy's opinion.
pub fn judge(output: &Result<ProbeOutput, String>) -> Verdict {
    match output {
        Err(why) => Verdict::unknown("CannotRun", format!("running haproxy -c: {why}")),
        Ok(output) if output.code == Some(0) => Verdict::ok("Valid", "the configuration is valid"),
        Ok(ProbeOutput { code: None, .. }) => Verdict::unknown("CannotRun", "haproxy -c was killed"),
        Ok(output) => {
            let alert = output.stderr.lines().find(|line| line.contains("[ALERT]"));
            Verdict::warning("Invalid", alert.unwrap_or("haproxy refuses its configuration"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::verdict::Verdict;
    use sysio::probe::ProbeOutput;

    #[test]
    fn shows_the_first_alert() {
        let output =
            |code, stderr: &str| Ok(ProbeOutput { code, stdout: String::new(), stderr: stderr.to_owned() });
        let alert = "[NOTICE] (1) : x\n[ALERT]    (1) : config : bad keyword\n[ALERT] more\n";
        let table = [
            (output(Some(0), ""), Verdict::ok("Valid", "the configuration is valid")),
            (output(Some(1), alert), Verdict::warning("Invalid", "[ALERT]    (1) : config : bad keyword")),
            (output(Some(1), ""), Verdict::warning("Invalid", "haproxy refuses its configuration")),
            (output(None, ""), Verdict::unknown("CannotRun", "haproxy -c was killed")),
            (Err("not found".to_owned()), Verdict::unknown("CannotRun", "running haproxy -c: not found")),
        ];
        for (observed, expected) in table {
            assert_eq!(judge(&observed), expected);
        }
    }
}

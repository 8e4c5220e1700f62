//! `apiserver.ready`: the API server says it is ready, to our own credentials.

use crate::api::NoCredentials;
use crate::catalogue::{Check, ENDPOINT, Looking, Moment, always, secs};
use crate::context::Context;
use crate::http::Answer;
use crate::verdict::Verdict;
use profiles::node::Role;
use std::sync::Arc;

/// `shutdown` fails by design while an API server drains.
const PATH: &str = "/readyz?verbose&exclude=shutdown";

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "apiserver.ready",
    title: "The API server is ready",
    source: "`GET /readyz` with the client certificate of the node's kubeconfig; a worker asks through its own load balancer on 127.0.0.1:6444",
    limits: "Not ready, no answer or credentials refused: after 25 s warning, after 2 min critical; no usable kubeconfig: unknown",
    roles: &[Role::Master, Role::Worker],
    applies: always,
    interval: secs(10),
    timeout: secs(6),
    patience: ENDPOINT,
    depends_on: &["unit.k3s", "unit.k3s-agent"],
    action: "journalctl -u k3s -e on a master; k3s kubectl get --raw '/readyz?verbose'",
    subject: "",
    look,
};

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move { judge(&context.api.get(&context, PATH).await) })
}

/// What the API server says of itself.
pub fn judge(answer: &Result<Answer, NoCredentials>) -> Verdict {
    match answer {
        Err(why) => Verdict::unknown("NoCredentials", why.to_string()),
        Ok(Answer::Nobody(why)) => {
            Verdict::critical("NoAnswer", format!("the API server does not answer: {why}"))
        }
        Ok(Answer::Http { status: 200, .. }) => Verdict::ok("Ready", "the API server is ready"),
        Ok(Answer::Http { status: 401 | 403, .. }) => Verdict::critical(
            "CredentialsRefused",
            "the API server is alive but refuses this node's certificate",
        ),
        Ok(Answer::Http { status, body }) => {
            let failing = failing_checks(body);
            let text = if failing.is_empty() {
                format!("the API server is not ready (status {status})")
            } else {
                format!("the API server is not ready: {} (status {status})", failing.join(", "))
            };
            Verdict::critical("NotReady", text)
        }
    }
}

/// Names of the lines `[-]name failed: …` of a verbose answer.
fn failing_checks(body: &str) -> Vec<&str> {
    body.lines().filter_map(|line| line.strip_prefix("[-]")?.split_whitespace().next()).take(5).collect()
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::api::NoCredentials;
    use crate::http::Answer;
    use crate::verdict::Verdict;

    #[test]
    fn names_the_failing_part() {
        let http = |status, body: &str| Ok(Answer::Http { status, body: body.to_owned() });
        let verbose = "[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/x failed: y\nreadyz check failed\n";
        let table = [
            (http(200, "ok"), Verdict::ok("Ready", "the API server is ready")),
            (
                http(500, verbose),
                Verdict::critical(
                    "NotReady",
                    "the API server is not ready: etcd, poststarthook/x (status 500)",
                ),
            ),
            (http(503, ""), Verdict::critical("NotReady", "the API server is not ready (status 503)")),
            (
                http(401, "Unauthorized"),
                Verdict::critical(
                    "CredentialsRefused",
                    "the API server is alive but refuses this node's certificate",
                ),
            ),
            (
                Ok(Answer::Nobody("connection refused".to_owned())),
                Verdict::critical("NoAnswer", "the API server does not answer: connection refused"),
            ),
            (Err(NoCredentials("reading x".to_owned())), Verdict::unknown("NoCredentials", "reading x")),
        ];
        for (observed, expected) in table {
            assert_eq!(judge(&observed), expected);
        }
    }
}

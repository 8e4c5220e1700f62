//! `etcd.member`: this master's etcd member is healthy.

use crate::catalogue::{Check, Looking, Moment, Patience, always, secs};
use crate::context::Context;
use crate::http::Answer;
use crate::verdict::Verdict;
use profiles::node::Role;
use serde_json::Value;
use std::sync::Arc;

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "etcd.member",
    title: "This master's etcd member is healthy",
    source: "`GET http://127.0.0.1:2381/health`",
    limits: "Not healthy or no answer: warning, after 30 s critical",
    roles: &[Role::Master],
    applies: always,
    interval: secs(10),
    timeout: secs(6),
    patience: Patience { warn_after: secs(0), critical_after: secs(30) },
    depends_on: &["unit.k3s"],
    action: "journalctl -u k3s -e | grep etcd; look at the other masters: without a majority etcd stops",
    subject: "",
    look,
};

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move {
        let url = format!("{}/health", context.endpoints.etcd);
        judge(&context.http.get_plain(&url).await)
    })
}

/// etcd's own words: `{"health":"true","reason":""}`.
pub fn judge(answer: &Answer) -> Verdict {
    let body = match answer {
        Answer::Nobody(why) => return Verdict::critical("NoAnswer", format!("etcd does not answer: {why}")),
        Answer::Http { body, .. } => body,
    };
    let said: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    match said["health"].as_str() {
        Some("true") => Verdict::ok("Healthy", "the etcd member is healthy"),
        Some(_) => {
            let reason = said["reason"].as_str().unwrap_or_default();
            Verdict::critical("Unhealthy", format!("the etcd member is not healthy: {reason}"))
        }
        None => Verdict::critical("WrongAnswer", "etcd's health port gives no health"),
    }
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::http::Answer;
    use crate::verdict::Verdict;

    #[test]
    fn judges_what_etcd_says() {
        let http = |status, body: &str| Answer::Http { status, body: body.to_owned() };
        let table = [
            (
                http(200, r#"{"health":"true","reason":""}"#),
                Verdict::ok("Healthy", "the etcd member is healthy"),
            ),
            (
                http(503, r#"{"health":"false","reason":"RAFT NO LEADER"}"#),
                Verdict::critical("Unhealthy", "the etcd member is not healthy: RAFT NO LEADER"),
            ),
            (http(200, "ok"), Verdict::critical("WrongAnswer", "etcd's health port gives no health")),
            (
                Answer::Nobody("refused".to_owned()),
                Verdict::critical("NoAnswer", "etcd does not answer: refused"),
            ),
        ];
        for (observed, expected) in table {
            assert_eq!(judge(&observed), expected);
        }
    }
}

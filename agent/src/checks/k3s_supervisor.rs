//! `k3s.supervisor`: the supervisor port answers, with a certificate of the cluster.

use crate::catalogue::{Check, ENDPOINT, Looking, Moment, always, secs};
use crate::context::Context;
use crate::http::Answer;
use crate::verdict::Verdict;
use profiles::node::Role;
use std::sync::Arc;

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "k3s.supervisor",
    title: "The k3s supervisor answers",
    source: "`GET https://127.0.0.1:6443/ping`, verified with k3s' server CA",
    limits: "No `pong`: after 25 s warning, after 2 min critical; CA unreadable: unknown",
    roles: &[Role::Master],
    applies: always,
    interval: secs(10),
    timeout: secs(6),
    patience: ENDPOINT,
    depends_on: &["unit.k3s"],
    action: "journalctl -u k3s -e; ss -ltnp 'sport = :6443'",
    subject: "",
    look,
};

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move {
        let url = format!("{}/ping", context.endpoints.supervisor);
        judge(&ping(&context, &url).await)
    })
}

/// GET with the cluster's server CA as the only one trusted.
pub async fn ping(context: &Context, url: &str) -> Result<Answer, String> {
    let ca = context.read(context.server_ca()).await?;
    context.http.get_trusting(&ca, url).await
}

/// What the supervisor says.
pub fn judge(answer: &Result<Answer, String>) -> Verdict {
    match answer {
        Err(why) => Verdict::unknown("NoServerCa", why.clone()),
        Ok(Answer::Nobody(why)) => {
            Verdict::critical("NoAnswer", format!("the supervisor does not answer: {why}"))
        }
        Ok(Answer::Http { status: 200, body }) if body.trim() == "pong" => {
            Verdict::ok("Pong", "the supervisor answers")
        }
        Ok(Answer::Http { status, .. }) => Verdict::critical(
            "WrongAnswer",
            format!("the supervisor answers /ping with status {status}, not pong"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::http::Answer;
    use crate::verdict::Verdict;

    #[test]
    fn only_pong_is_fine() {
        let http = |status, body: &str| Ok(Answer::Http { status, body: body.to_owned() });
        let wrong = |status| {
            Verdict::critical(
                "WrongAnswer",
                format!("the supervisor answers /ping with status {status}, not pong"),
            )
        };
        let table = [
            (http(200, "pong"), Verdict::ok("Pong", "the supervisor answers")),
            (http(200, "<html>"), wrong(200)),
            (http(503, "pong"), wrong(503)),
            (
                Ok(Answer::Nobody("connection refused".to_owned())),
                Verdict::critical("NoAnswer", "the supervisor does not answer: connection refused"),
            ),
            (Err("reading /ca".to_owned()), Verdict::unknown("NoServerCa", "reading /ca")),
        ];
        for (observed, expected) in table {
            assert_eq!(judge(&observed), expected);
        }
    }
}

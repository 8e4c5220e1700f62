//! `kubelet.health`: the kubelet answers on its health port.

use crate::catalogue::{Check, ENDPOINT, Looking, Moment, always, secs};
use crate::context::Context;
use crate::http::Answer;
use crate::verdict::Verdict;
use profiles::node::Role;
use std::sync::Arc;

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "kubelet.health",
    title: "The kubelet is healthy",
    source: "`GET http://127.0.0.1:10248/healthz`",
    limits: "Not 200: after 25 s warning, after 2 min critical",
    roles: &[Role::Master, Role::Worker],
    applies: always,
    interval: secs(10),
    timeout: secs(6),
    patience: ENDPOINT,
    depends_on: &["unit.k3s", "unit.k3s-agent"],
    action: "journalctl -u k3s -u k3s-agent -e | grep kubelet",
    subject: "",
    look,
};

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move {
        let url = format!("{}/healthz", context.endpoints.kubelet);
        judge(&context.http.get_plain(&url).await)
    })
}

/// What the kubelet says.
pub fn judge(answer: &Answer) -> Verdict {
    match answer {
        Answer::Http { status: 200, .. } => Verdict::ok("Healthy", "the kubelet is healthy"),
        Answer::Http { status, body } => {
            Verdict::critical("Unhealthy", format!("the kubelet answers {status}: {}", body.trim()))
        }
        Answer::Nobody(why) => Verdict::critical("NoAnswer", format!("the kubelet does not answer: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::http::Answer;
    use crate::verdict::Verdict;

    #[test]
    fn only_200_is_healthy() {
        let http = |status, body: &str| Answer::Http { status, body: body.to_owned() };
        let table = [
            (http(200, "ok"), Verdict::ok("Healthy", "the kubelet is healthy")),
            (http(500, "PLEG\n"), Verdict::critical("Unhealthy", "the kubelet answers 500: PLEG")),
            (
                Answer::Nobody("refused".to_owned()),
                Verdict::critical("NoAnswer", "the kubelet does not answer: refused"),
            ),
        ];
        for (observed, expected) in table {
            assert_eq!(judge(&observed), expected);
        }
    }
}

//! `node.ready`: the cluster knows this node and calls it Ready.

use crate::api::NoCredentials;
use crate::catalogue::{Check, Looking, Moment, Patience, always, secs};
use crate::context::Context;
use crate::http::Answer;
use crate::verdict::Verdict;
use profiles::node::Role;
use serde_json::Value;
use std::sync::Arc;

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "node.ready",
    title: "The cluster calls this node Ready",
    source: "condition `Ready` of the node's own Node object, from the API",
    limits: "Not Ready or not in the cluster: after 40 s warning, after 5 min critical; API silent: unknown",
    roles: &[Role::Master, Role::Worker],
    applies: always,
    interval: secs(10),
    timeout: secs(6),
    patience: Patience { warn_after: secs(40), critical_after: secs(300) },
    depends_on: &["unit.k3s", "unit.k3s-agent", "apiserver.ready", "kubelet.health"],
    action: "k3s kubectl describe node NAME, on a master",
    subject: "",
    look,
};

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move {
        let name = context.node.hostname.as_str();
        let answer = context.api.get(&context, &format!("/api/v1/nodes/{name}")).await;
        judge(name, &answer)
    })
}

/// The Node object.
pub fn judge(name: &str, answer: &Result<Answer, NoCredentials>) -> Verdict {
    let (status, body) = match answer {
        Err(why) => return Verdict::unknown("NoCredentials", why.to_string()),
        Ok(Answer::Nobody(why)) => {
            return Verdict::unknown("ApiSilent", format!("the API server does not answer: {why}"));
        }
        Ok(Answer::Http { status, body }) => (*status, body),
    };
    match status {
        200 => judge_object(name, body),
        404 => Verdict::critical("NotJoined", format!("the cluster has no node {name}")),
        other => Verdict::unknown("ApiRefused", format!("the API server answers {other}")),
    }
}

fn judge_object(name: &str, body: &str) -> Verdict {
    let object: Value = match serde_json::from_str(body) {
        Ok(object) => object,
        Err(_) => return Verdict::unknown("NotUnderstood", "the API server sent no JSON"),
    };
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.and_then(|all| all.iter().find(|c| c["type"] == "Ready"));
    let text = |field: &str| ready.and_then(|c| c[field].as_str()).unwrap_or_default().to_owned();
    match ready.and_then(|condition| condition["status"].as_str()) {
        Some("True") => Verdict::ok("Ready", format!("the cluster calls {name} Ready")),
        Some("False") => Verdict::critical("NotReady", format!("{}: {}", text("reason"), text("message"))),
        Some(_) => Verdict::critical("LostByCluster", "the cluster has lost sight of the kubelet"),
        None => Verdict::critical("NotReady", "the kubelet has not reported yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::api::NoCredentials;
    use crate::http::Answer;
    use crate::verdict::Verdict;

    #[test]
    fn judges_the_ready_condition() {
        let http = |status, body: &str| Ok(Answer::Http { status, body: body.to_owned() });
        let node = |status: &str| {
            let conditions = format!(
                r#"[{{"type":"DiskPressure","status":"False"}},{{"type":"Ready","status":"{status}","reason":"R","message":"m"}}]"#
            );
            http(200, &format!(r#"{{"status":{{"conditions":{conditions}}}}}"#))
        };
        let table = [
            (node("True"), Verdict::ok("Ready", "the cluster calls m1 Ready")),
            (node("False"), Verdict::critical("NotReady", "R: m")),
            (
                node("Unknown"),
                Verdict::critical("LostByCluster", "the cluster has lost sight of the kubelet"),
            ),
            (http(200, "{}"), Verdict::critical("NotReady", "the kubelet has not reported yet")),
            (http(200, "<"), Verdict::unknown("NotUnderstood", "the API server sent no JSON")),
            (http(404, "{}"), Verdict::critical("NotJoined", "the cluster has no node m1")),
            (http(403, "{}"), Verdict::unknown("ApiRefused", "the API server answers 403")),
            (
                Ok(Answer::Nobody("refused".to_owned())),
                Verdict::unknown("ApiSilent", "the API server does not answer: refused"),
            ),
            (Err(NoCredentials("x".to_owned())), Verdict::unknown("NoCredentials", "x")),
        ];
        for (observed, expected) in table {
            assert_eq!(judge("m1", &observed), expected);
        }
    }
}

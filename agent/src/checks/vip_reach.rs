//! `vip.reach`: the API answers at the API VIP, whoever holds it.

use crate::catalogue::{Check, ENDPOINT, Looking, Moment, Wanted, secs};
use crate::checks::k3s_supervisor::ping;
use crate::context::Context;
use crate::http::Answer;
use crate::verdict::Verdict;
use profiles::node::{NodeConfig, ProxyPlacement, Role, RoleConfig};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// A connection on the own segment takes a millisecond.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: profiles::preflight::VIP_REACH.name,
    title: "The API answers at the API VIP",
    source: "`GET https://VIP:6443/ping`, verified with k3s' server CA; an internal proxy, which has no CA, only connects",
    limits: "No answer: after 25 s warning, after 2 min critical; CA unreadable: unknown",
    roles: crate::catalogue::ALL_ROLES,
    applies,
    interval: secs(10),
    timeout: secs(6),
    patience: ENDPOINT,
    depends_on: &["unit.systemd-networkd"],
    action: "which master holds it: k3s kubectl -n kube-system get lease plndr-cp-lock; then ip addr there",
    subject: "",
    look,
};

fn applies(node: &NodeConfig) -> Wanted {
    if let RoleConfig::Proxy(proxy) = &node.role
        && proxy.placement == ProxyPlacement::Dmz
    {
        return Wanted::No("a proxy in the DMZ must not reach the API".to_owned());
    }
    match node.cluster.api_vip {
        Some(vip) => Wanted::Yes(vip.to_string()),
        None => Wanted::No("the cluster has no API VIP".to_owned()),
    }
}

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move {
        let Some(vip) = context.node.cluster.api_vip else {
            return Verdict::unknown("NoVip", "the cluster has no API VIP");
        };
        let port = context.endpoints.vip_port;
        if context.node.role.role() == Role::Proxy {
            return judge_connect(vip, &connect(vip, port).await);
        }
        judge(vip, &ping(&context, &format!("https://{vip}:{port}/ping")).await)
    })
}

/// Opens a TCP connection and drops it.
///
/// # Errors
/// Why there was none, in one line.
pub async fn connect(vip: Ipv4Addr, port: u16) -> Result<(), String> {
    let connecting = tokio::net::TcpStream::connect((vip, port));
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

/// What answers at the VIP.
pub fn judge(vip: Ipv4Addr, answer: &Result<Answer, String>) -> Verdict {
    match answer {
        Err(why) => Verdict::unknown("NoServerCa", why.clone()),
        Ok(Answer::Nobody(why)) => silent(vip, why),
        Ok(Answer::Http { status: 200, body }) if body.trim() == "pong" => {
            Verdict::ok("Reached", format!("the API answers at {vip}"))
        }
        Ok(Answer::Http { status, .. }) => {
            Verdict::critical("WrongAnswer", format!("{vip} answers /ping with status {status}, not pong"))
        }
    }
}

/// Whether anybody listens at the VIP.
pub fn judge_connect(vip: Ipv4Addr, connected: &Result<(), String>) -> Verdict {
    match connected {
        Ok(()) => Verdict::ok("Reached", format!("somebody listens at {vip}")),
        Err(why) => silent(vip, why),
    }
}

fn silent(vip: Ipv4Addr, why: &str) -> Verdict {
    Verdict::critical("NoAnswer", format!("nobody answers at {vip}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::{judge, judge_connect};
    use crate::http::Answer;
    use crate::verdict::Verdict;

    #[test]
    fn judges_who_answers_at_the_vip() {
        let vip = [10, 0, 0, 10].into();
        let http = |status, body: &str| Ok(Answer::Http { status, body: body.to_owned() });
        let nobody = Verdict::critical("NoAnswer", "nobody answers at 10.0.0.10: refused");
        let table = [
            (http(200, "pong\n"), Verdict::ok("Reached", "the API answers at 10.0.0.10")),
            (
                http(502, "pong"),
                Verdict::critical("WrongAnswer", "10.0.0.10 answers /ping with status 502, not pong"),
            ),
            (Ok(Answer::Nobody("refused".to_owned())), nobody.clone()),
            (Err("reading x".to_owned()), Verdict::unknown("NoServerCa", "reading x")),
        ];
        for (observed, expected) in table {
            assert_eq!(judge(vip, &observed), expected);
        }
        assert_eq!(judge_connect(vip, &Ok(())), Verdict::ok("Reached", "somebody listens at 10.0.0.10"));
        assert_eq!(judge_connect(vip, &Err("refused".to_owned())), nobody);
    }
}

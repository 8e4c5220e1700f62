//! `vip.proxy`: somebody holds the proxy VIP and takes connections there.

use crate::catalogue::{Check, ENDPOINT, Looking, Moment, Wanted, secs};
use crate::checks::vip_reach::connect;
use crate::context::Context;
use crate::verdict::Verdict;
use profiles::node::{NodeConfig, ProxyPlacement, Role, RoleConfig};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use sysio::addresses::read_addresses;

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "vip.proxy",
    title: "An internal proxy holds the proxy VIP and takes connections there",
    source: "addresses of the interfaces (netlink), and a TCP connection to port 6443 of the proxy VIP",
    limits: "On no interface here and no answer, or here and no answer: after 25 s warning, after 2 min critical; addresses unreadable: unknown; two proxies that hold it at once are not seen: that takes raw sockets, which the agent has not, but two `Holder` in the reports of the proxies show it",
    roles: &[Role::Proxy],
    applies,
    interval: secs(10),
    timeout: secs(6),
    patience: ENDPOINT,
    depends_on: &["unit.haproxy", "unit.keepalived", "unit.systemd-networkd"],
    action: "journalctl -u keepalived -e on every internal proxy; ip addr: exactly one of them must have the address; VRRP must pass between them",
    subject: "",
    look,
};

fn applies(node: &NodeConfig) -> Wanted {
    match (&node.role, node.cluster.proxy_vip) {
        (RoleConfig::Proxy(proxy), _) if proxy.placement == ProxyPlacement::Dmz => {
            Wanted::No("a proxy in the DMZ does not hold it".to_owned())
        }
        (RoleConfig::Proxy(proxy), Some(vip)) if proxy.vrrp.is_some() => Wanted::Yes(vip.to_string()),
        _ => Wanted::No("the cluster has no proxy VIP".to_owned()),
    }
}

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move {
        let Some(vip) = context.node.cluster.proxy_vip else {
            return Verdict::unknown("NoVip", "the cluster has no proxy VIP");
        };
        let addresses = match read_addresses().await {
            Ok(addresses) => addresses,
            Err(error) => return Verdict::unknown("AddressesUnreadable", error.to_string()),
        };
        let here = addresses.into_iter().find(|a| a.address == IpAddr::V4(vip)).map(|a| a.interface);
        judge(vip, here.as_deref(), &connect(vip, context.endpoints.vip_port).await)
    })
}

/// Address here or not, times somebody answers there or not.
pub fn judge(vip: Ipv4Addr, here: Option<&str>, connected: &Result<(), String>) -> Verdict {
    match (here, connected) {
        (Some(interface), Ok(())) => {
            Verdict::ok("Holder", format!("this proxy holds {vip} on {interface} and listens there"))
        }
        (None, Ok(())) => Verdict::ok("Standby", format!("another proxy holds {vip}")),
        (Some(interface), Err(why)) => Verdict::critical(
            "HolderSilent",
            format!("{vip} is here on {interface}, but nobody answers there: {why}"),
        ),
        (None, Err(why)) => Verdict::critical(
            "NobodyHolds",
            format!("{vip} is on no interface here, and nobody answers there: {why}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{CHECK, applies, judge};
    use crate::catalogue::{Moment, Wanted};
    use crate::context::{Context, Endpoints};
    use crate::verdict::Verdict;
    use profiles::node::{NodeConfig, ProxyConfig, ProxyPlacement, RoleConfig, Vrrp};
    use report::State;
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::time::Duration;
    use sysio::units::Bus;

    fn node() -> NodeConfig {
        serde_json::from_str(include_str!("../../tests/fixtures/node.json")).unwrap()
    }

    #[test]
    fn truth_table() {
        let vip = [10, 0, 0, 20].into();
        let refused = || Err("refused".to_owned());
        let table = [
            (
                Some("cluster0"),
                Ok(()),
                Verdict::ok("Holder", "this proxy holds 10.0.0.20 on cluster0 and listens there"),
            ),
            (None, Ok(()), Verdict::ok("Standby", "another proxy holds 10.0.0.20")),
            (
                Some("cluster0"),
                refused(),
                Verdict::critical(
                    "HolderSilent",
                    "10.0.0.20 is here on cluster0, but nobody answers there: refused",
                ),
            ),
            (
                None,
                refused(),
                Verdict::critical(
                    "NobodyHolds",
                    "10.0.0.20 is on no interface here, and nobody answers there: refused",
                ),
            ),
        ];
        for (here, connected, expected) in table {
            assert_eq!(judge(vip, here, &connected), expected, "{here:?} {connected:?}");
        }
    }

    #[test]
    fn only_internal_proxies_with_vrrp_want_it() {
        let proxy = |placement, vrrp: bool, vip: bool| {
            let mut node = node();
            node.cluster.proxy_vip = vip.then_some([10, 0, 0, 20].into());
            node.role = RoleConfig::Proxy(ProxyConfig {
                placement,
                vrrp: vrrp.then(|| Vrrp { router_id: 1, priority: 100, peers: Vec::new() }),
                ingress_http_node_port: 30080,
                ingress_https_node_port: 30443,
            });
            applies(&node)
        };
        let none = Wanted::No("the cluster has no proxy VIP".to_owned());
        let dmz = Wanted::No("a proxy in the DMZ does not hold it".to_owned());
        assert_eq!(proxy(ProxyPlacement::Internal, true, true), Wanted::Yes("10.0.0.20".to_owned()));
        assert_eq!(proxy(ProxyPlacement::Internal, false, true), none);
        assert_eq!(proxy(ProxyPlacement::Internal, false, false), none);
        assert_eq!(proxy(ProxyPlacement::Dmz, false, true), dmz);
    }

    #[tokio::test]
    async fn loopback_is_held_here_and_answers_while_somebody_listens() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut node = node();
        node.cluster.proxy_vip = Some(Ipv4Addr::LOCALHOST);
        let port = listener.local_addr().unwrap().port();
        let endpoints = Endpoints { vip_port: port, ..Endpoints::default() };
        let context = Arc::new(Context::new("/".into(), node, endpoints, Bus::System));
        let moment = Moment {
            boottime: Duration::ZERO,
            monotonic: Duration::ZERO,
            realtime: jiff::Timestamp::UNIX_EPOCH,
            was: State::Unknown,
        };
        let holder = Verdict::ok("Holder", "this proxy holds 127.0.0.1 on lo and listens there");
        assert_eq!((CHECK.look)("", context.clone(), moment).await, holder);
        drop(listener);
        let text = "127.0.0.1 is here on lo, but nobody answers there: Connection refused (os error 111)";
        assert_eq!((CHECK.look)("", context, moment).await, Verdict::critical("HolderSilent", text));
    }
}

//! `vip.local`: the API VIP is on this master exactly when kube-vip's Lease says so. With BGP there is no Lease: every
//! master announces the address and has it.

use crate::catalogue::{Check, Looking, Moment, Patience, Wanted, secs};
use crate::context::Context;
use crate::http::Answer;
use crate::verdict::Verdict;
use jiff::Timestamp;
use profiles::node::{NodeConfig, Role};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;
use sysio::addresses::read_addresses;

/// kube-vip's Lease for the control plane.
const LEASE_PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/plndr-cp-lock";

/// A Lease is stale when it was not renewed for its duration and this long: clocks of two masters are never equal.
const LEASE_SLACK_SECS: i64 = 5;

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "vip.local",
    title: "The API VIP is here exactly when this master holds it",
    source: "addresses of the interfaces (netlink) against Lease `kube-system/plndr-cp-lock` (API)",
    limits: "Held by us but missing, here but held by another, or held by nobody: warning, after 15 s critical; with `features.kube_vip_bgp` missing on a master: the same; Lease or addresses unreadable: unknown",
    roles: &[Role::Master],
    applies,
    interval: secs(5),
    timeout: secs(5),
    patience: Patience { warn_after: secs(0), critical_after: secs(15) },
    depends_on: &["unit.k3s", "apiserver.ready"],
    action: "k3s crictl logs of kube-vip on this master; without BGP k3s kubectl -n kube-system get lease plndr-cp-lock -o yaml",
    subject: "",
    look,
};

/// What the Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Somebody holds it, or did.
    Held {
        /// Node name.
        holder: String,
        /// Seconds since it was renewed beyond its duration; negative while it is fresh.
        overdue_secs: i64,
    },
    /// It is not there, or nobody holds it.
    Free,
    /// It could not be read.
    Unreadable(String),
}

fn applies(node: &NodeConfig) -> Wanted {
    match node.cluster.api_vip {
        Some(vip) => Wanted::Yes(vip.to_string()),
        None => Wanted::No("the cluster has no API VIP".to_owned()),
    }
}

fn look(_: &'static str, context: Arc<Context>, moment: Moment) -> Looking {
    Box::pin(async move {
        let Some(vip) = context.node.cluster.api_vip else {
            return Verdict::unknown("NoVip", "the cluster has no API VIP");
        };
        let addresses = match read_addresses().await {
            Ok(addresses) => addresses,
            Err(error) => return Verdict::unknown("AddressesUnreadable", error.to_string()),
        };
        let here = addresses.into_iter().find(|a| a.address == IpAddr::V4(vip)).map(|a| a.interface);
        if context.node.cluster.firewall.features.kube_vip_bgp.is_some() {
            return judge_announced(here.as_deref());
        }
        let lease = match context.api.get(&context, LEASE_PATH).await {
            Err(why) => Lease::Unreadable(why.to_string()),
            Ok(Answer::Nobody(why)) => Lease::Unreadable(format!("the API server does not answer: {why}")),
            Ok(Answer::Http { status: 404, .. }) => Lease::Free,
            Ok(Answer::Http { status: 200, body }) => parse_lease(&body, moment.realtime),
            Ok(Answer::Http { status, .. }) => Lease::Unreadable(format!("the API server answers {status}")),
        };
        judge(&context.node.hostname, here.as_deref(), &lease)
    })
}

/// Reads a Lease object.
pub fn parse_lease(body: &str, now: Timestamp) -> Lease {
    let Ok(object) = serde_json::from_str::<Value>(body) else {
        return Lease::Unreadable("the API server sent no JSON".to_owned());
    };
    let spec = &object["spec"];
    let holder = spec["holderIdentity"].as_str().unwrap_or_default();
    if holder.is_empty() {
        return Lease::Free;
    }
    let renewed = spec["renewTime"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let (Some(renewed), Some(duration)) = (renewed, spec["leaseDurationSeconds"].as_i64()) else {
        return Lease::Unreadable("the Lease has no renewTime or no duration".to_owned());
    };
    let age = now.as_second() - renewed.as_second();
    Lease::Held { holder: holder.to_owned(), overdue_secs: age - duration - LEASE_SLACK_SECS }
}

/// The truth table: address here or not, times Lease ours, another's, overdue, free, unreadable.
pub fn judge(hostname: &str, here: Option<&str>, lease: &Lease) -> Verdict {
    match (here, lease) {
        (_, Lease::Unreadable(why)) => Verdict::unknown("LeaseUnreadable", why.clone()),
        (Some(interface), Lease::Held { holder, overdue_secs }) if *overdue_secs > 0 => Verdict::critical(
            "VipUnrenewed",
            format!(
                "the VIP is on {interface}, but {holder} has not renewed the Lease for {overdue_secs} s too long"
            ),
        ),
        (None, Lease::Held { holder, overdue_secs }) if *overdue_secs > 0 => Verdict::critical(
            "VipAbandoned",
            format!("{holder} has not renewed the Lease for {overdue_secs} s too long and nobody took over"),
        ),
        (Some(interface), Lease::Held { holder, .. }) if holder == hostname => {
            Verdict::ok("Holder", format!("this master holds the VIP on {interface}"))
        }
        (None, Lease::Held { holder, .. }) if holder == hostname => {
            Verdict::critical("VipMissing", "this master holds the Lease, but the VIP is on no interface")
        }
        (Some(interface), Lease::Held { holder, .. }) => Verdict::critical(
            "VipStaleHolder",
            format!("the VIP is on {interface}, but {holder} holds the Lease"),
        ),
        (None, Lease::Held { holder, .. }) => Verdict::ok("Standby", format!("{holder} holds the VIP")),
        (Some(interface), Lease::Free) => Verdict::critical(
            "VipStaleHolder",
            format!("the VIP is on {interface}, but nobody holds the Lease"),
        ),
        (None, Lease::Free) => Verdict::critical("VipUnclaimed", "nobody holds the Lease of the VIP"),
    }
}

/// With BGP: kube-vip of every master puts the address on its own loopback and announces it.
pub fn judge_announced(here: Option<&str>) -> Verdict {
    match here {
        Some(interface) => Verdict::ok("Announcer", format!("the VIP is on {interface}, as on every master")),
        None => Verdict::critical(
            "VipMissing",
            "kube-vip announces the VIP from every master, but here it is on no interface",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{Lease, judge, judge_announced, parse_lease};
    use crate::verdict::Verdict;
    use jiff::Timestamp;

    fn held(holder: &str, overdue_secs: i64) -> Lease {
        Lease::Held { holder: holder.to_owned(), overdue_secs }
    }

    #[test]
    fn truth_table() {
        let here = Some("cluster0");
        let table = [
            (here, held("m1", -10), Verdict::ok("Holder", "this master holds the VIP on cluster0")),
            (None, held("m2", -10), Verdict::ok("Standby", "m2 holds the VIP")),
            (
                None,
                held("m1", -10),
                Verdict::critical(
                    "VipMissing",
                    "this master holds the Lease, but the VIP is on no interface",
                ),
            ),
            (
                here,
                held("m2", -10),
                Verdict::critical("VipStaleHolder", "the VIP is on cluster0, but m2 holds the Lease"),
            ),
            (
                here,
                held("m1", 7),
                Verdict::critical(
                    "VipUnrenewed",
                    "the VIP is on cluster0, but m1 has not renewed the Lease for 7 s too long",
                ),
            ),
            (
                None,
                held("m2", 7),
                Verdict::critical(
                    "VipAbandoned",
                    "m2 has not renewed the Lease for 7 s too long and nobody took over",
                ),
            ),
            (
                here,
                Lease::Free,
                Verdict::critical("VipStaleHolder", "the VIP is on cluster0, but nobody holds the Lease"),
            ),
            (None, Lease::Free, Verdict::critical("VipUnclaimed", "nobody holds the Lease of the VIP")),
            (here, Lease::Unreadable("x".to_owned()), Verdict::unknown("LeaseUnreadable", "x")),
            (None, Lease::Unreadable("x".to_owned()), Verdict::unknown("LeaseUnreadable", "x")),
        ];
        for (address, lease, expected) in table {
            assert_eq!(judge("m1", address, &lease), expected, "{address:?} {lease:?}");
        }
    }

    #[test]
    fn with_bgp_every_master_has_the_address_and_no_lease_is_asked() {
        let announcer = Verdict::ok("Announcer", "the VIP is on lo, as on every master");
        assert_eq!(judge_announced(Some("lo")), announcer);
        let text = "kube-vip announces the VIP from every master, but here it is on no interface";
        assert_eq!(judge_announced(None), Verdict::critical("VipMissing", text));
    }

    #[test]
    fn a_lease_is_overdue_after_its_duration_and_some_slack() {
        let now: Timestamp = "2026-11-21T07:00:30Z".parse().unwrap();
        let lease = |renewed: &str| {
            let text = format!(
                r#"{{"spec":{{"holderIdentity":"m1","leaseDurationSeconds":15,"renewTime":"{renewed}"}}}}"#
            );
            parse_lease(&text, now)
        };
        assert_eq!(lease("2026-11-21T07:00:29.000000Z"), held("m1", -19));
        assert_eq!(lease("2026-11-21T07:00:00.000000Z"), held("m1", 10));
        assert_eq!(parse_lease(r#"{"spec":{"holderIdentity":""}}"#, now), Lease::Free);
        let odd = Lease::Unreadable("the Lease has no renewTime or no duration".to_owned());
        assert_eq!(lease("yesterday"), odd);
        assert_eq!(parse_lease("<", now), Lease::Unreadable("the API server sent no JSON".to_owned()));
    }
}

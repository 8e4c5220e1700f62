//! `vip.local`: the API VIP is on this master exactly when kube-vip's Lease says so. With BGP there is no Lease: every
//! master announces the address and has it.

use crate::catalogue::{Check, Looking, Moment, Patience, Wanted, secs};
use crate::context::Context;
use crate::http::Answer;
use crate::verdict::Verdict;
use profiles::node::{NodeConfig, Role};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use sysio::addresses::read_addresses;

/// kube-vip's Lease for the control plane.
const LEASE_PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/plndr-cp-lock";

/// A Lease is stale when it was not seen to change for its duration and this long: it is looked at every five seconds only.
const LEASE_SLACK: Duration = secs(5);

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "vip.local",
    title: "The API VIP is here exactly when this master holds it",
    source: "addresses of the interfaces (netlink) against Lease `kube-system/plndr-cp-lock` (API); how long it was not renewed is measured with this node's own clock",
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
        /// Seconds for which it was not renewed beyond its duration and some slack; 0 while it is fresh.
        overdue_secs: u64,
    },
    /// It is not there, or nobody holds it.
    Free,
    /// It could not be read.
    Unreadable(String),
}

/// The Lease as it was seen last. As client-go's leader election does: the time of renewal is only compared with itself, never
/// with a clock, because it comes from the clock of another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    holder: String,
    renew_time: String,
    /// When this node saw it change to this; time since boot.
    seen_at: Duration,
}

impl Renewal {
    /// Remembers what a Lease says now, and gives for how long it has said so.
    fn unchanged_for(last: &mut Option<Self>, holder: &str, renew_time: &str, now: Duration) -> Duration {
        let seen_at = match last {
            Some(last) if last.holder == holder && last.renew_time == renew_time => last.seen_at,
            _ => now,
        };
        *last = Some(Self { holder: holder.to_owned(), renew_time: renew_time.to_owned(), seen_at });
        now.saturating_sub(seen_at)
    }
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
            Ok(Answer::Http { status: 200, body }) => {
                parse_lease(&body, &mut context.memory.renewal(), moment.boottime)
            }
            Ok(Answer::Http { status, .. }) => Lease::Unreadable(format!("the API server answers {status}")),
        };
        judge(&context.node.hostname, here.as_deref(), &lease)
    })
}

/// Reads a Lease object that was asked for at `now` (since boot). The first look at a renewal never calls it overdue.
pub fn parse_lease(body: &str, last: &mut Option<Renewal>, now: Duration) -> Lease {
    let Ok(object) = serde_json::from_str::<Value>(body) else {
        return Lease::Unreadable("the API server sent no JSON".to_owned());
    };
    let spec = &object["spec"];
    let holder = spec["holderIdentity"].as_str().unwrap_or_default();
    if holder.is_empty() {
        return Lease::Free;
    }
    let (Some(renewed), Some(duration)) = (spec["renewTime"].as_str(), spec["leaseDurationSeconds"].as_u64())
    else {
        return Lease::Unreadable("the Lease has no renewTime or no duration".to_owned());
    };
    let unchanged = Renewal::unchanged_for(last, holder, renewed, now);
    let overdue = unchanged.saturating_sub(secs(duration)).saturating_sub(LEASE_SLACK);
    Lease::Held { holder: holder.to_owned(), overdue_secs: overdue.as_secs() }
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
    use std::time::Duration;

    fn held(holder: &str, overdue_secs: u64) -> Lease {
        Lease::Held { holder: holder.to_owned(), overdue_secs }
    }

    #[test]
    fn truth_table() {
        let here = Some("cluster0");
        let table = [
            (here, held("m1", 0), Verdict::ok("Holder", "this master holds the VIP on cluster0")),
            (None, held("m2", 0), Verdict::ok("Standby", "m2 holds the VIP")),
            (
                None,
                held("m1", 0),
                Verdict::critical(
                    "VipMissing",
                    "this master holds the Lease, but the VIP is on no interface",
                ),
            ),
            (
                here,
                held("m2", 0),
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
    fn a_lease_is_overdue_when_it_was_not_seen_to_change_for_its_duration_and_some_slack() {
        let mut last = None;
        let mut lease = |holder: &str, renewed: &str, seconds| {
            let text = format!(
                r#"{{"spec":{{"holderIdentity":"{holder}","leaseDurationSeconds":15,"renewTime":"{renewed}"}}}}"#
            );
            parse_lease(&text, &mut last, Duration::from_secs(seconds))
        };
        // The holder's clock is years behind; this one only counts.
        let (first, second) = ("2020-11-21T07:00:29.000000Z", "2020-11-21T07:00:34.000000Z");
        assert_eq!(lease("m1", first, 1000), held("m1", 0));
        assert_eq!(lease("m1", first, 1020), held("m1", 0));
        assert_eq!(lease("m1", first, 1021), held("m1", 1));
        assert_eq!(lease("m1", second, 1030), held("m1", 0), "any change is a renewal");
        assert_eq!(lease("m1", first, 1040), held("m1", 0), "also one back in time");
        assert_eq!(lease("m1", first, 1070), held("m1", 10));
        assert_eq!(lease("m2", first, 1071), held("m2", 0), "another holder is a change");
    }

    #[test]
    fn a_lease_that_tells_nothing_is_free_or_unreadable() {
        let mut last = None;
        let mut parse = |text| parse_lease(text, &mut last, Duration::ZERO);
        assert_eq!(parse(r#"{"spec":{"holderIdentity":""}}"#), Lease::Free);
        let odd = Lease::Unreadable("the Lease has no renewTime or no duration".to_owned());
        assert_eq!(parse(r#"{"spec":{"holderIdentity":"m1","leaseDurationSeconds":15}}"#), odd);
        assert_eq!(parse(r#"{"spec":{"holderIdentity":"m1","renewTime":"2026-11-21T07:00:29Z"}}"#), odd);
        assert_eq!(parse("<"), Lease::Unreadable("the API server sent no JSON".to_owned()));
    }
}

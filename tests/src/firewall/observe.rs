//! An observer in the node: notes what gets past every filter, for packets whose sender can never hear an answer.
//!
//! Its chains stand behind ours (priority 300 on input and forward) and have no verdict, so that they see exactly what
//! passed and change nothing.

use super::space::Space;
use anyhow::{Context, Result};
use std::collections::BTreeSet;

const TABLE: &str = "table inet observer {
 set seen { type inet_proto . inet_service . inet_service; flags dynamic; size 65535; }
 counter vrrp { }
 counter unasked_error { }
 counter far_neighbour { }
 counter misplaced_echo { }
 counter listener_query { }
 chain note {
  meta l4proto { tcp, udp } add @seen { meta l4proto . th sport . th dport }
  meta l4proto 112 counter name vrrp
  icmp type destination-unreachable counter name unasked_error
  icmpv6 type packet-too-big counter name unasked_error
  iifname cluster0 ip saddr 192.168.1.0/24 icmp type echo-request counter name misplaced_echo
  icmpv6 type mld-listener-query counter name listener_query
  icmpv6 type nd-neighbor-advert ip6 hoplimit 64 counter name far_neighbour
 }
 chain input { type filter hook input priority 300; policy accept; jump note; }
 chain forward { type filter hook forward priority 300; policy accept; jump note; }
}
";

/// Starts from nothing.
///
/// # Errors
/// nft refuses it.
pub fn reset(node: &Space) -> Result<()> {
    node.nft(&format!("table inet observer\ndelete table inet observer\n{TABLE}"))
}

/// What was seen: `tcp SOURCE_PORT PORT`, `udp SOURCE_PORT PORT`, and names of counters that are not zero.
///
/// # Errors
/// The table is not there.
pub fn seen(node: &Space) -> Result<BTreeSet<String>> {
    let text = node.run(&["nft", "-j", "-n", "list", "table", "inet", "observer"], "")?;
    let listing: serde_json::Value = serde_json::from_str(&text).context("reading the observer's table")?;
    let mut found = BTreeSet::new();
    for object in listing["nftables"].as_array().into_iter().flatten() {
        let counter = &object["counter"];
        if counter["packets"].as_u64().is_some_and(|n| n > 0) {
            found.extend(counter["name"].as_str().map(str::to_owned));
        }
        for element in object["set"]["elem"].as_array().into_iter().flatten() {
            let parts = element["concat"].as_array().context("an element of the observer's set")?;
            let name = |v: &serde_json::Value| match v.to_string().trim_matches('"') {
                "6" => "tcp".to_owned(),
                "17" => "udp".to_owned(),
                other => other.to_owned(),
            };
            found.insert(parts.iter().map(name).collect::<Vec<_>>().join(" "));
        }
    }
    Ok(found)
}

/// Names of counters of our own table that are not zero.
///
/// # Errors
/// The table is not there.
pub fn counters(node: &Space) -> Result<BTreeSet<String>> {
    let text = node.run(&["nft", "-j", "list", "counters", "table", "inet", "metalstrap"], "")?;
    let listing: serde_json::Value = serde_json::from_str(&text).context("reading our counters")?;
    let objects = listing["nftables"].as_array().into_iter().flatten();
    let used = objects.filter(|o| o["counter"]["packets"].as_u64().is_some_and(|n| n > 0));
    Ok(used.filter_map(|o| o["counter"]["name"].as_str().map(str::to_owned)).collect())
}

//! The host firewall: how quickly rules are made and loaded, and what they cost the traffic.

use super::{Row, row, row_at_least};
use crate::host;
use ::tests::firewall::speed;
use anyhow::Result;

/// The rows; none, with a word why, where namespaces cannot be made.
pub fn rows() -> Result<Vec<Row>> {
    if !host::is_root() {
        eprintln!("the host firewall is not measured: that needs root, for network namespaces");
        return Ok(vec![]);
    }
    let speed = speed::measure()?;
    let nodes = speed::NODES;
    Ok(vec![
        row(&format!("firewall, rules made for {nodes} nodes"), speed.render_millis, "ms", Some(10.0)),
        row(&format!("firewall, loaded for {nodes} nodes"), speed.load_millis, "ms", Some(50.0)),
        row_at_least("firewall, throughput to that without rules", speed.throughput.ratio, "", 0.95),
        row("firewall, throughput", speed.throughput.with_rules / 1e9 * 8.0, "Gbit/s", None),
        row_at_least("firewall, new connections to those without rules", speed.connections.ratio, "", 0.95),
        row("firewall, new connections", speed.connections.with_rules, "1/s", None),
        row_at_least(
            "firewall, new connections, both beside kube-proxy",
            speed.connections_beside_kube_proxy.ratio,
            "",
            0.95,
        ),
    ])
}

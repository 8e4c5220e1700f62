//! DNS and time servers: addresses that a node can ask.

use super::findings::Findings;
use super::view::View;
use crate::code::Code;
use crate::path::KeyPath;
use ipnet::IpNet;
use std::net::IpAddr;

/// Every server that is given by its address is a host outside of the pods and services.
pub(super) fn reachable(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let network = view.network.as_ref();
    let dns = network.map(|network| ("networks.cluster.dns", network.dns.clone()));
    let in_dmz = view.dmz.as_ref().map(|dmz| ("networks.dmz.dns", dmz.dns.clone()));
    for (path, servers) in dns.into_iter().chain(in_dmz) {
        for (n, server) in servers.into_iter().enumerate() {
            reach(view, server, &KeyPath::of(path).index(n), findings);
        }
    }
    let times = network.iter().flat_map(|network| network.ntp.iter().enumerate());
    for (n, server) in times.filter_map(|(n, server)| Some((n, server.parse().ok()?))) {
        reach(view, server, &KeyPath::of("networks.cluster.ntp").index(n), findings);
    }
}

fn reach(view: &View<'_>, server: IpAddr, path: &KeyPath, findings: &mut Findings<'_, '_>) {
    if let Some(why) = unreachable(view, server) {
        findings.value(
            Code::ServerAddress,
            path,
            format!("{server} cannot be a server of nodes: it is {why}"),
        );
    }
}

/// Why no node can ask this address.
fn unreachable(view: &View<'_>, server: IpAddr) -> Option<String> {
    let is_broadcast =
        matches!(server, IpAddr::V4(server) if server.is_broadcast() || server.octets()[0] == 0);
    if server.is_unspecified() || server.is_multicast() || is_broadcast {
        return Some("the address of no host".to_owned());
    }
    if server.is_loopback() {
        return Some("this host itself, where nothing answers".to_owned());
    }
    if matches!(server, IpAddr::V6(server) if server.is_unicast_link_local()) {
        return Some("known on one wire only, and the file does not say on which".to_owned());
    }
    let ranges = view.all_ranges();
    let (name, range) = ranges.iter().find(|(_, range)| range.contains(&server))?;
    if ["pod range", "service range"].contains(name) {
        return Some(format!(
            "inside the {name} {}, which is not there before the cluster is",
            range.trunc()
        ));
    }
    let is_end = matches!(range, IpNet::V4(_)) && (server == range.network() || server == range.broadcast());
    is_end.then(|| format!("the network's own or broadcast address of {}", range.trunc()))
}

//! Names: `/etc/hostname`, `/etc/hosts`, `/etc/resolv.conf`. Nodes find each other without any DNS server.

use super::Input;
use super::error::RenderError;
use super::output::Output;
use super::text::{HEADER, dns_name};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The resolver configuration, also handed to the kubelet (`resolv-conf`), so that k3s never falls back to a public
/// server when this one holds only loopback addresses.
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    let hostname = dns_name("host name", &input.node.hostname)?;
    output.file("/etc/hostname", format!("{hostname}\n"));
    output.file("/etc/hosts", hosts(input)?);
    output.file(RESOLV_CONF, resolv_conf(input)?);
    Ok(())
}

fn hosts(input: &Input<'_>) -> Result<String, RenderError> {
    let facts = &input.node.cluster;
    let domain = dns_name("domain", &facts.domain)?;
    let mut text = format!(
        "{HEADER}127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\n\
         ff02::2 ip6-allrouters\n\n"
    );
    for peer in &input.node.peers {
        let name = dns_name("host name", &peer.hostname)?;
        text.push_str(&format!("{} {name}.{domain} {name}\n", peer.cluster_address));
        if let Some(address) = peer.cluster_address6 {
            text.push_str(&format!("{address} {name}.{domain} {name}\n"));
        }
    }
    let initial = input.node.initial_master().map(|m| m.cluster_address);
    let names: Vec<&str> = api_names(input)?;
    if let (Some(address), false) = (facts.api_vip.or(initial), names.is_empty()) {
        text.push_str(&format!("{address} {}\n", names.join(" ")));
    }
    Ok(text)
}

/// The API names that are names and not addresses.
fn api_names<'a>(input: &Input<'a>) -> Result<Vec<&'a str>, RenderError> {
    let names = input.node.cluster.api_names.iter().filter(|name| name.parse::<std::net::IpAddr>().is_err());
    names.map(|name| dns_name("API name", name)).collect()
}

fn resolv_conf(input: &Input<'_>) -> Result<String, RenderError> {
    let mut text = format!("{HEADER}search {}\n", dns_name("domain", &input.node.cluster.domain)?);
    let mut seen: BTreeSet<IpAddr> = BTreeSet::new();
    // Those of the legs first: the C library asks the first three.
    let of_legs = input.node.interfaces.iter().flat_map(|leg| &leg.dns);
    let of_others = input.node.network.links().iter().flat_map(|link| &link.dns);
    for server in of_legs.chain(of_others).filter(|dns| seen.insert(**dns)) {
        text.push_str(&format!("nameserver {server}\n"));
    }
    Ok(text)
}

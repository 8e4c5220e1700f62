//! `.network`: what a link carries, and what stands on it.

use super::super::error::RenderError;
use super::super::text::{IniFile, dns_name};
use super::Place;
use super::netdev::yes_no;
use ipnet::IpNet;
use profiles::network::{Bond, Link, LinkKind, Network, NicMatch, Route};

pub(super) fn file(link: &Link, network: &Network, place: Place) -> Result<String, RenderError> {
    let mut file = matching(link, place)?;
    // Nobody waits for a card of a bond: the bond is there while one of them is.
    let required = (!link.is_addressed()).then_some("no");
    if link.mtu_bytes.is_some() || required.is_some() {
        let section = file.section("Link").entries("MTUBytes", link.mtu_bytes);
        file = section.entries("RequiredForOnline", required);
    }
    file = above(file.section("Network"), link, network);
    file = if link.is_addressed() { addressed(file, link)? } else { silent(file) };
    file = link.routes.iter().fold(file, route);
    if link.dhcp4 {
        file = dhcp4(file, network, place);
    }
    if link.auto6 {
        file = auto6(file, network, place);
    }
    file.finish()
}

/// On an installed node a card is found by the name that its `.link` gives it, and only by that: networkd takes over from the initramfs a
/// device that udev has yet to rename, would bring it up if it matched by MAC, and Linux 6.1 does not rename an interface that is up.
/// In the live system cards keep their names, and the permanent MAC is the one that no bond changes.
fn matching(link: &Link, place: Place) -> Result<IniFile, RenderError> {
    let file = IniFile::new().section("Match");
    Ok(match (&link.kind, place) {
        (LinkKind::Physical { nic: NicMatch::Mac(mac) }, Place::Live) => {
            file.entry("Type", "ether").entry("PermanentMACAddress", mac)
        }
        (LinkKind::Physical { nic: NicMatch::Name(name) }, _) => file.entry("Name", name),
        // A physical link is of no kind.
        (LinkKind::Physical { nic: NicMatch::Any }, _) => file.entry("Type", "ether").entry("Kind", "!*"),
        (LinkKind::Physical { nic: NicMatch::Only }, _) => {
            return Err(RenderError::NoMac { interface: link.name.clone() });
        }
        (LinkKind::Physical { nic: NicMatch::Mac(_) }, Place::Installed)
        | (LinkKind::Bond(_) | LinkKind::Bridge { .. } | LinkKind::Vlan { .. }, _) => {
            file.entry("Name", &link.name)
        }
    })
}

/// The links that stand on this one.
fn above(mut file: IniFile, link: &Link, network: &Network) -> IniFile {
    for upper in network.upper(&link.name) {
        file = match &upper.kind {
            LinkKind::Vlan { .. } => file.entry("VLAN", &upper.name),
            LinkKind::Bridge { .. } => file.entry("Bridge", &upper.name),
            LinkKind::Bond(Bond { primary, .. }) => {
                let is_primary = primary.as_ref() == Some(&link.name);
                let primary = is_primary.then_some("yes");
                file.entry("Bond", &upper.name).entries("PrimarySlave", primary)
            }
            LinkKind::Physical { .. } => file,
        };
    }
    file
}

/// A link that only carries others says and hears nothing itself.
fn silent(file: IniFile) -> IniFile {
    file.entry("DHCP", "no").entry("LinkLocalAddressing", "no").entry("IPv6AcceptRA", "no")
}

fn addressed(file: IniFile, link: &Link) -> Result<IniFile, RenderError> {
    for domain in &link.domains {
        dns_name("domain", domain)?;
    }
    Ok(file
        .entries("Address", &link.addresses)
        .entries("Gateway", link.gateways())
        .entries("DNS", &link.dns)
        .entries("Domains", &link.domains)
        .entry("DHCP", if link.dhcp4 { "ipv4" } else { "no" })
        // Without IPv6 there is no second way in: the leg has no IPv6 address at all.
        .entry("LinkLocalAddressing", if link.speaks_ipv6() { "ipv6" } else { "no" })
        .entry("IPv6AcceptRA", yes_no(link.auto6))
        .entry("LLMNR", "no")
        .entry("MulticastDNS", "no")
        // A restart of networkd keeps the VIPs that kube-vip and keepalived have put there.
        .entry("KeepConfiguration", "static"))
}

fn route(file: IniFile, route: &Route) -> IniFile {
    let file = file.section("Route").entry("Destination", route.to).entries("Gateway", route.via);
    // Scope is of IPv4 only.
    let on_link = route.via.is_none() && matches!(route.to, IpNet::V4(_));
    file.entries("Scope", on_link.then_some("link")).entries("Metric", route.metric)
}

/// The server knows the machine by its MAC, as the firmware and the live system have shown it. The default route is that of the
/// file, if it has one.
fn dhcp4(file: IniFile, network: &Network, place: Place) -> IniFile {
    let has_gateway = network.links().iter().any(|link| link.gateway.is_some());
    let file = file.section("DHCPv4").entry("ClientIdentifier", "mac");
    told(file.entry("UseGateway", yes_no(!has_gateway)), place).entry("UseHostname", "no")
}

fn auto6(file: IniFile, network: &Network, place: Place) -> IniFile {
    let has_gateway = network.links().iter().any(|link| link.gateway6.is_some());
    let use_dns = yes_no(place == Place::Live);
    let file =
        file.section("IPv6AcceptRA").entry("UseGateway", yes_no(!has_gateway)).entry("UseDNS", use_dns);
    told(file.section("DHCPv6"), place)
}

/// An installed node asks the servers of its cluster file only; the live system has nothing better.
fn told(file: IniFile, place: Place) -> IniFile {
    let live = yes_no(place == Place::Live);
    file.entry("UseDNS", live).entry("UseNTP", live)
}

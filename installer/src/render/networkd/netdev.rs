//! `.netdev`: bonds, bridges and VLANs.

use super::super::error::RenderError;
use super::super::text::IniFile;
use profiles::network::{Bond, BondMode, Link, LinkKind, Network};

/// The file that makes a link. A bond or bridge has the MAC of its first card, in every boot and whichever card comes up first: what
/// a switch, a DHCP server or a neighbour has learnt of it stays true.
pub(super) fn file(link: &Link, network: &Network) -> Result<String, RenderError> {
    let kind = match &link.kind {
        LinkKind::Bond(_) => "bond",
        LinkKind::Bridge { .. } => "bridge",
        LinkKind::Vlan { .. } => "vlan",
        LinkKind::Physical { .. } => return Err(RenderError::NoMac { interface: link.name.clone() }),
    };
    let mac = network.mac_of(&link.name).filter(|_| kind != "vlan");
    let file = IniFile::new()
        .section("NetDev")
        .entry("Name", &link.name)
        .entry("Kind", kind)
        .entries("MACAddress", mac)
        .entries("MTUBytes", link.mtu_bytes);
    let file = match &link.kind {
        LinkKind::Bond(bond) => bonded(file.section("Bond"), bond),
        LinkKind::Bridge { stp, .. } => file.section("Bridge").entry("STP", yes_no(*stp)),
        LinkKind::Vlan { id, .. } => file.section("VLAN").entry("Id", id),
        LinkKind::Physical { .. } => file,
    };
    file.finish()
}

fn bonded(file: IniFile, bond: &Bond) -> IniFile {
    let lacp = bond.mode == BondMode::Lacp;
    file.entry("Mode", bond.mode)
        .entry("MIIMonitorSec", format!("{}ms", bond.miimon_ms))
        .entries("TransmitHashPolicy", Some(bond.hash).filter(|_| bond.mode.hashes()))
        .entries("LACPTransmitRate", Some(bond.lacp_rate).filter(|_| lacp))
        .entries("MinLinks", Some(bond.min_links).filter(|least| lacp && *least > 0))
        .entries("PrimaryReselectPolicy", bond.primary.as_ref().map(|_| "always"))
}

pub(super) fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

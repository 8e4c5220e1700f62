//! systemd-networkd: the links of the node, and hands off what Kubernetes makes.
//!
//! [`files`] is the pure part and serves the live system too: a [`Network`] in, files of networkd 252 out.

mod netdev;
mod network;

use super::Input;
use super::error::RenderError;
use super::output::Output;
use super::text::{IniFile, interface_name};
use profiles::network::{Link, LinkKind, Network, NicMatch};
use profiles::node::{Cni, Role};
use std::collections::BTreeMap;

/// Where the files of an installed node are.
pub const INSTALLED: &str = "/etc/systemd/network";

/// Where those of the live system are: gone with the next boot.
pub const LIVE: &str = "/run/systemd/network";

/// DHCP on every interface, as the live system has it; an empty file of the same name in `/etc` masks it.
const LIVE_DHCP: &str = "/etc/systemd/network/80-metalstrap-dhcp.network";

/// Interfaces made by k3s and its container network.
const POD_INTERFACES: &str = "cni* flannel* veth* kube-*";

/// Which system the files are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An installed node: cards get the names of the model, DNS is that of `/etc/resolv.conf`.
    Installed,
    /// The live system: cards keep the names they have, and what DHCP says about DNS and time is taken.
    Live,
}

/// Those of the other container networks.
fn pod_interfaces(cni: Cni) -> String {
    match cni {
        Cni::FlannelVxlan | Cni::FlannelWireguard => POD_INTERFACES.to_owned(),
        Cni::CalicoVxlan | Cni::CalicoBgp => format!("{POD_INTERFACES} cali* vxlan.calico tunl*"),
        Cni::CiliumVxlan | Cni::CiliumWireguard => format!("{POD_INTERFACES} cilium* lxc*"),
    }
}

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    for (name, text) in files(&input.node.network, Place::Installed)? {
        output.file(&format!("{INSTALLED}/{name}"), text);
    }
    output.file(LIVE_DHCP, String::new());
    if input.node.role.role() != Role::Proxy {
        let pods = pod_interfaces(input.node.cluster.cni);
        output.file("/etc/systemd/network/05-pods.link", pods_link(&pods)?);
        output.file("/etc/systemd/network/05-pods.network", pods_network(&pods)?);
    }
    output.file("/etc/systemd/networkd.conf.d/metalstrap.conf", daemon()?);
    Ok(())
}

/// The files of a network, by file name: `10-NAME.link` pins the name of a card to its permanent MAC, `15-NAME.netdev` makes
/// a bond, bridge or VLAN, `20-NAME.network` says what a link carries.
///
/// # Errors
/// A card that nobody has chosen yet, or a text that would change the meaning of its file.
pub fn files(network: &Network, place: Place) -> Result<BTreeMap<String, String>, RenderError> {
    let mut files = BTreeMap::new();
    for link in network.links() {
        let name = interface_name(&link.name)?;
        match &link.kind {
            LinkKind::Physical { nic } => {
                if let (Place::Installed, Some(text)) = (place, pin(name, link, nic)?) {
                    files.insert(format!("10-{name}.link"), text);
                }
            }
            _ => {
                files.insert(format!("15-{name}.netdev"), netdev::file(link, network)?);
            }
        }
        files.insert(format!("20-{name}.network"), network::file(link, network, place)?);
    }
    Ok(files)
}

/// The name of a card. `Type=ether` leaves out the VLANs on it, which have its permanent MAC too.
fn pin(name: &str, link: &Link, nic: &NicMatch) -> Result<Option<String>, RenderError> {
    let mac = match nic {
        NicMatch::Mac(mac) => mac,
        NicMatch::Only => return Err(RenderError::NoMac { interface: link.name.clone() }),
        NicMatch::Name(_) | NicMatch::Any => return Ok(None),
    };
    let file = IniFile::new()
        .section("Match")
        .entry("Type", "ether")
        .entry("PermanentMACAddress", mac)
        .section("Link")
        .entry("Name", name)
        .entries("MTUBytes", link.mtu_bytes);
    file.finish().map(Some)
}

/// udev's default policy would give flannel's device another MAC than flannel has announced to the other nodes.
fn pods_link(pods: &str) -> Result<String, RenderError> {
    IniFile::new()
        .section("Match")
        .entry("OriginalName", pods)
        .section("Link")
        .entry("MACAddressPolicy", "none")
        .finish()
}

fn pods_network(pods: &str) -> Result<String, RenderError> {
    IniFile::new().section("Match").entry("Name", pods).section("Link").entry("Unmanaged", "yes").finish()
}

/// Without this a restart of networkd removes the routes of the container network.
fn daemon() -> Result<String, RenderError> {
    IniFile::new()
        .section("Network")
        .entry("ManageForeignRoutes", "no")
        .entry("ManageForeignRoutingPolicyRules", "no")
        .finish()
}

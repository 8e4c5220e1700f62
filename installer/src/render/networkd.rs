//! systemd-networkd: each leg pinned to its permanent MAC, a static address, and hands off what Kubernetes makes.

use super::Input;
use super::error::RenderError;
use super::output::Output;
use super::text::{IniFile, dns_name, interface_name};
use profiles::node::{Cni, Interface, Role};

/// DHCP on every interface, as the live system has it; an empty file of the same name in `/etc` masks it.
const LIVE_DHCP: &str = "/etc/systemd/network/80-metalstrap-dhcp.network";

/// Interfaces made by k3s and its container network.
const POD_INTERFACES: &str = "cni* flannel* veth* kube-*";

/// Those of the other container networks.
fn pod_interfaces(cni: Cni) -> String {
    match cni {
        Cni::FlannelVxlan | Cni::FlannelWireguard => POD_INTERFACES.to_owned(),
        Cni::CalicoVxlan | Cni::CalicoBgp => format!("{POD_INTERFACES} cali* vxlan.calico tunl*"),
        Cni::CiliumVxlan | Cni::CiliumWireguard => format!("{POD_INTERFACES} cilium* lxc*"),
    }
}

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    for interface in &input.node.interfaces {
        let name = interface_name(&interface.name)?;
        output.file(&format!("/etc/systemd/network/10-{name}.link"), link(name, interface)?);
        output.file(&format!("/etc/systemd/network/20-{name}.network"), network(name, interface, input)?);
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

fn link(name: &str, interface: &Interface) -> Result<String, RenderError> {
    let mac = interface.mac.ok_or_else(|| RenderError::NoMac { interface: interface.name.clone() })?;
    IniFile::new()
        .section("Match")
        .entry("PermanentMACAddress", mac)
        .section("Link")
        .entry("Name", name)
        .entries("MTUBytes", interface.mtu_bytes)
        .finish()
}

fn network(name: &str, interface: &Interface, input: &Input<'_>) -> Result<String, RenderError> {
    IniFile::new()
        .section("Match")
        .entry("Name", name)
        .section("Network")
        .entry("Address", interface.address)
        .entries("Gateway", interface.gateway)
        .entries("DNS", &interface.dns)
        .entry("Domains", dns_name("domain", &input.node.cluster.domain)?)
        .entry("DHCP", "no")
        // No second way in: the cluster speaks IPv4, so the leg has no IPv6 address at all.
        .entry("LinkLocalAddressing", "no")
        .entry("IPv6AcceptRA", "no")
        .entry("LLMNR", "no")
        .entry("MulticastDNS", "no")
        // A restart of networkd keeps the VIPs that kube-vip and keepalived have put there.
        .entry("KeepConfiguration", "static")
        .finish()
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

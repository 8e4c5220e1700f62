//! The network of the live system from kernel arguments in dracut's syntax: `ip=`, `ifname=`, `vlan=`, `bond=`, `bridge=`,
//! `nameserver=`, `rd.route=`. It is up before any cluster file is known, so that one can be fetched from behind a tagged LACP port.
//!
//! [`parse_early_network`] is pure: a command line in, a [`Network`] or every error with the right form out. [`live`] finds the cards
//! and writes it where systemd-networkd looks.

mod address;
mod build;
mod links;
pub mod live;
#[cfg(test)]
mod tests;

use crate::inventory::sanitise;
use profiles::network::Network;
use std::fmt;

/// Forms that the errors show.
pub(super) mod forms {
    pub(crate) const IP: &str = "ip=dhcp, ip=INTERFACE:dhcp, or ip=ADDRESS::GATEWAY:NETMASK:HOST:INTERFACE:none[:DNS1[:DNS2]] with IPv6 \
                                 addresses in brackets";
    pub(crate) const IFNAME: &str = "ifname=NAME:MAC, as in ifname=lan0:52:54:00:12:34:56";
    pub(crate) const VLAN: &str =
        "vlan=NAME:INTERFACE with the tag at the end of the name, as in vlan=bond0.20:bond0";
    pub(crate) const BOND: &str =
        "bond=NAME:INTERFACE,INTERFACE[:OPTIONS[:MTU]], as in bond=bond0:eth0,eth1:mode=802.3ad,miimon=100";
    pub(crate) const BRIDGE: &str = "bridge=NAME:INTERFACE,INTERFACE";
    pub(crate) const NAMESERVER: &str = "nameserver=ADDRESS";
    pub(crate) const ROUTE: &str = "rd.route=NETWORK/BITS:GATEWAY[:INTERFACE]";
}

/// A kernel argument that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentError {
    /// The argument as it was given.
    pub argument: String,
    /// What is wrong.
    pub reason: String,
    /// What it should look like.
    pub form: &'static str,
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (argument, reason) = (sanitise(&self.argument), sanitise(&self.reason));
        write!(f, "{argument}: {reason}; expected {}", self.form)
    }
}

/// Reads the network arguments of a kernel command line; `None` when it has none. Arguments of others are left alone.
///
/// # Errors
/// Every argument that cannot be meant, in the order of the command line.
pub fn parse_early_network(line: &str) -> Result<Option<Network>, Vec<ArgumentError>> {
    let mut builder = build::Builder::default();
    let mut errors = Vec::new();
    for word in sysio::kernel_line::split_words(line) {
        let Some((name, value)) = word.split_once('=') else { continue };
        let (taken, form) = match name {
            "ip" => (address::parse(value).and_then(|ip| builder.add_address(ip)), forms::IP),
            "ifname" => (links::parse_ifname(value).and_then(|card| builder.add_card(card)), forms::IFNAME),
            "vlan" => (links::parse_vlan(value).and_then(|link| builder.add_link(link)), forms::VLAN),
            "bond" => (links::parse_bond(value).and_then(|link| builder.add_link(link)), forms::BOND),
            "bridge" => (links::parse_bridge(value).and_then(|link| builder.add_link(link)), forms::BRIDGE),
            "nameserver" => (address::parse_server(value).map(|dns| builder.add_dns(dns)), forms::NAMESERVER),
            "rd.route" => (address::parse_route(value).map(|route| builder.add_route(route)), forms::ROUTE),
            _ => continue,
        };
        if let Err(reason) = taken {
            errors.push(ArgumentError { argument: word.clone(), reason, form });
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    builder.finish().map_err(|error| vec![error])
}

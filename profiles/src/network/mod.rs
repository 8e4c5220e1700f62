//! The network of one machine as a neutral model: links, what they stand on, what they carry. The cluster file and the
//! kernel arguments of the live system become this one type; renderers and probes read nothing else.
//!
//! What does not belong here: any one tool's file format, and anything about roles, zones or Kubernetes.

mod bond;
mod mtu;
mod order;
mod words;

pub use bond::{Bond, BondMode, BondWordError, LacpRate, TransmitHash};
pub use mtu::MTU_ETHERNET;
pub use order::{NAME_BYTES_MAX, NetworkError, is_link_name};

use crate::node::MacAddr;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The links of a machine; each one comes after those it stands on. Made by [`Network::new`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Link>", into = "Vec<Link>")]
pub struct Network {
    links: Vec<Link>,
}

/// One link: what it is, and what it carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Name, at most [`NAME_BYTES_MAX`] bytes, unique on the machine.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// MTU in bytes; `None` leaves the driver's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu_bytes: Option<u16>,
    /// Ask for an IPv4 address by DHCP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dhcp4: bool,
    /// Take IPv6 addresses and routes from router advertisements, and by DHCPv6 when the routers say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto6: bool,
    /// Static addresses with the prefix length of their network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpNet>,
    /// Default gateway for IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// Default gateway for IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<Ipv6Addr>,
    /// Further routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// DNS servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// DNS search domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
}

/// What a link is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum LinkKind {
    /// A network card.
    Physical {
        /// Which one.
        nic: NicMatch,
    },
    /// Several cards as one.
    Bond(Bond),
    /// A tagged VLAN.
    Vlan {
        /// Tag, 1 to 4094.
        id: u16,
        /// The link that carries the tagged frames.
        parent: String,
    },
    /// A switch inside the machine.
    Bridge {
        /// Its ports.
        members: Vec<String>,
        /// Take part in the spanning tree protocol.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        stp: bool,
    },
}

/// Which network card of a machine is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NicMatch {
    /// The one with this permanent MAC.
    Mac(MacAddr),
    /// The one with this kernel name. Live system only: names move when hardware is added.
    Name(String),
    /// The only one of the machine that nothing else names (the plan puts its MAC in).
    Only,
    /// Every one that nothing else names. Live system only.
    Any,
}

/// A route beyond the networks of the addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Where to.
    pub to: IpNet,
    /// Next hop; `None`: the destination is on the link itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Preference, lower is better; `None` leaves the kernel's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

impl Link {
    /// A link that carries nothing yet.
    pub fn new(name: impl Into<String>, kind: LinkKind) -> Self {
        Self {
            name: name.into(),
            kind,
            mtu_bytes: None,
            dhcp4: false,
            auto6: false,
            addresses: vec![],
            gateway: None,
            gateway6: None,
            routes: vec![],
            dns: vec![],
            domains: vec![],
        }
    }

    /// A network card with this permanent MAC.
    pub fn nic(name: impl Into<String>, mac: MacAddr) -> Self {
        Self::new(name, LinkKind::Physical { nic: NicMatch::Mac(mac) })
    }

    /// Names of the links it stands on.
    pub fn lower(&self) -> Vec<&str> {
        match &self.kind {
            LinkKind::Physical { .. } => vec![],
            LinkKind::Bond(bond) => bond.members.iter().map(String::as_str).collect(),
            LinkKind::Vlan { parent, .. } => vec![parent],
            LinkKind::Bridge { members, .. } => members.iter().map(String::as_str).collect(),
        }
    }

    /// It has, or will ask for, an address.
    pub fn is_addressed(&self) -> bool {
        self.dhcp4 || self.auto6 || !self.addresses.is_empty()
    }

    /// It speaks IPv6.
    pub fn speaks_ipv6(&self) -> bool {
        self.auto6 || self.addresses.iter().any(|address| matches!(address, IpNet::V6(_)))
    }

    /// Its static default gateways.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        let (four, six) = (self.gateway.map(IpAddr::from), self.gateway6.map(IpAddr::from));
        four.into_iter().chain(six)
    }
}

impl TryFrom<Vec<Link>> for Network {
    type Error = NetworkError;

    fn try_from(links: Vec<Link>) -> Result<Self, NetworkError> {
        Self::new(links)
    }
}

impl From<Network> for Vec<Link> {
    fn from(network: Network) -> Self {
        network.links
    }
}

impl Network {
    /// Puts links in order, lower ones first, otherwise as given.
    ///
    /// # Errors
    /// A name that no link can have or that is given twice, a link that stands on none there is, on itself, or on one that
    /// is taken already.
    pub fn new(links: Vec<Link>) -> Result<Self, NetworkError> {
        Ok(Self { links: order::ordered(links)? })
    }

    /// All links, each after those it stands on.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The same links, for changes that leave names and stacking as they are.
    pub fn links_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.links.iter_mut()
    }

    /// The link with this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The links that carry addresses.
    pub fn addressed(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(|link| link.is_addressed())
    }

    /// The links that stand directly on this one.
    pub fn upper<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n Link> {
        self.links.iter().filter(move |link| link.lower().contains(&name))
    }

    /// The network cards.
    pub fn nics(&self) -> impl Iterator<Item = (&Link, &NicMatch)> {
        self.links.iter().filter_map(|link| match &link.kind {
            LinkKind::Physical { nic } => Some((link, nic)),
            _ => None,
        })
    }

    /// The cards below a link, in the order of its members; itself when it is one.
    pub fn nics_below<'n>(&'n self, name: &'n str) -> Vec<&'n Link> {
        let Some(link) = self.link(name) else { return vec![] };
        match link.kind {
            LinkKind::Physical { .. } => vec![link],
            _ => link.lower().into_iter().flat_map(|lower| self.nics_below(lower)).collect(),
        }
    }

    /// The MAC a link shows on the wire: that of the first card below it. `None` while that is not known.
    pub fn mac_of(&self, name: &str) -> Option<MacAddr> {
        match self.nics_below(name).first()?.kind {
            LinkKind::Physical { nic: NicMatch::Mac(mac) } => Some(mac),
            _ => None,
        }
    }
}

//! The `interfaces` of a node, as the operator writes them. One entry is one leg in a network, with everything below it, or
//! a link that others stand on.

use crate::format;
use crate::network::{BondMode, LacpRate, TransmitHash};
use crate::node::{MacAddr, Zone};
use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One interface of a node. What it is: a card (`mac`, or none of these keys on a machine with one card), a bond of cards
/// (`bond`), a bridge (`bridge`) or another interface (`on`); with `vlan`, that VLAN on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InterfaceEntry {
    /// The network it stands in; `other` is one of its own (storage, backup), from which nothing is let in. Leave it out for an interface that
    /// only carries others.
    #[serde(default)]
    pub network: Option<InterfaceNetwork>,
    /// Name. Left out: `cluster0`, `dmz0`, `other0` for a card with addresses, `bond0`, `br0`, `nic0` for what is below; a VLAN has the name
    /// of what it stands on, a dot and its number.
    #[serde(default)]
    #[schemars(schema_with = "format::interface_name")]
    pub name: Option<String>,
    /// Permanent MAC of the card. May be left out when the machine has one card only.
    #[serde(default)]
    #[schemars(schema_with = "format::mac")]
    pub mac: Option<MacAddr>,
    /// Cards of a bond, by permanent MAC or by the name of another entry. Example: `["52:54:00:00:00:21", "52:54:00:00:00:22"]`.
    #[serde(default)]
    #[schemars(schema_with = "format::member_list")]
    pub bond: Option<Vec<String>>,
    /// Ports of a bridge, by permanent MAC or by the name of another entry. Example: `["bond0.20"]`.
    #[serde(default)]
    #[schemars(schema_with = "format::member_list")]
    pub bridge: Option<Vec<String>>,
    /// Name of the interface that carries this VLAN. Example: `"bond0"`.
    #[serde(default)]
    #[schemars(schema_with = "format::interface_name")]
    pub on: Option<String>,
    /// Number of the VLAN, when the switch sends its frames tagged.
    #[serde(default)]
    #[schemars(range(min = 1, max = 4094))]
    pub vlan: Option<u16>,
    /// How the cards of the bond share the work. Default: `802.3ad` (LACP), which the switch must speak too.
    #[serde(default)]
    #[schemars(schema_with = "mode_schema")]
    pub mode: Option<BondMode>,
    /// How often LACP packets are asked for. Default: `fast`, every second.
    #[serde(default)]
    pub lacp_rate: Option<LacpRate>,
    /// What chooses the card of a packet, for `802.3ad` and `balance-xor`. Default: `layer3+4`, addresses and ports.
    #[serde(default)]
    pub hash: Option<TransmitHash>,
    /// How often the bond looks for a carrier, in milliseconds. Default: 100.
    #[serde(default)]
    #[schemars(range(min = 10, max = 10000))]
    pub miimon_ms: Option<u16>,
    /// Cards that must be up before the bond is, for `802.3ad`. Default: 1.
    #[serde(default)]
    #[schemars(range(min = 1, max = 8))]
    pub min_links: Option<u8>,
    /// The card that works whenever it can, for `active-backup`: one of `bond`.
    #[serde(default)]
    #[schemars(schema_with = "format::member")]
    pub primary: Option<String>,
    /// The bridge takes part in the spanning tree protocol. Default: false.
    #[serde(default)]
    pub stp: Option<bool>,
    /// Its address in the cluster network or the DMZ; the prefix length is that of the network.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv4")]
    pub address: Option<Ipv4Addr>,
    /// Its IPv6 address there, beside the other one; the prefix length is that of the network's `cidr6`.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv6")]
    pub address6: Option<Ipv6Addr>,
    /// Addresses in a network of its own (`other`), with prefix length. Example: `["10.9.0.21/24", "fd00:9::21/64"]`.
    #[serde(default)]
    #[schemars(schema_with = "format::cidr_list")]
    pub addresses: Vec<IpNet>,
    /// Ask for addresses in a network of its own (`other`): `ipv4` by DHCP, `ipv6` from router advertisements and DHCPv6, or `both`.
    #[serde(default)]
    pub dhcp: Option<Dhcp>,
    /// MTU in bytes of a link below or of a network of its own; that of the cluster network and the DMZ is in `[networks]`.
    #[serde(default)]
    #[schemars(range(min = 576, max = 9216))]
    pub mtu: Option<u16>,
    /// DNS servers, beside those of the network.
    #[serde(default)]
    #[schemars(schema_with = "format::ip_list")]
    pub dns: Vec<IpAddr>,
    /// Routes to networks behind this one.
    #[serde(default)]
    pub routes: Vec<RouteEntry>,
}

impl InterfaceEntry {
    /// It says something that only an interface in a network can have.
    pub(super) fn carries(&self) -> bool {
        self.address.is_some()
            || self.address6.is_some()
            || self.dhcp.is_some()
            || !(self.addresses.is_empty() && self.dns.is_empty() && self.routes.is_empty())
    }

    /// It is not said what it is for: no network although it carries something, or nothing at all.
    pub(super) fn is_unfinished(&self) -> bool {
        self.network.is_none() && (self.carries() || *self == Self::default())
    }
}

/// The network an interface stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InterfaceNetwork {
    /// The cluster network.
    Cluster,
    /// The DMZ.
    Dmz,
    /// A network of its own.
    Other,
}

impl InterfaceNetwork {
    /// The zone of the firewall; a network of its own has none.
    pub fn zone(self) -> Option<Zone> {
        match self {
            Self::Cluster => Some(Zone::Cluster),
            Self::Dmz => Some(Zone::Dmz),
            Self::Other => None,
        }
    }
}

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dhcp {
    /// IPv4, by DHCP.
    Ipv4,
    /// IPv6, from router advertisements and DHCPv6.
    Ipv6,
    /// Both.
    Both,
}

impl Dhcp {
    /// IPv4 is asked for.
    pub fn four(self) -> bool {
        self != Self::Ipv6
    }

    /// IPv6 is asked for.
    pub fn six(self) -> bool {
        self != Self::Ipv4
    }
}

/// One route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteEntry {
    /// Where to. Example: `"10.50.0.0/16"`; `"0.0.0.0/0"` is everything.
    #[schemars(schema_with = "format::cidr")]
    pub to: IpNet,
    /// Next hop, in the network of the interface. Left out: the destination is on the wire itself.
    #[serde(default)]
    #[schemars(schema_with = "format::ip")]
    pub via: Option<IpAddr>,
    /// Preference: of two routes to the same place the lower one is taken.
    #[serde(default)]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub metric: Option<u32>,
}

/// The modes that make sense between a server and a switch.
fn mode_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["802.3ad", "active-backup", "balance-xor"] })
}

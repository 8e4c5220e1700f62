//! The cluster file as the operator writes it, version 1. The types are the one source of truth: the JSON Schema made
//! from them drives the structural check, the editors' schema and the reference page.
//!
//! A value of this type was parsed, not validated: only [`Cluster`](super::Cluster) was.

use super::data_disk::DataDiskEntry;
use super::disk_table::DiskTable;
pub use super::interface::{Dhcp, InterfaceEntry, InterfaceNetwork, RouteEntry};
use crate::firewall::{Features, OperatorFlow};
use crate::format;
use crate::node::{Cni, MacAddr, ProxyPlacement, Role};
use crate::profile::ProfileV1;
use crate::secret::Secret;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The cluster file: one file that describes the cluster, its networks and its nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterFileV1 {
    /// Version of this format, always 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Facts common to all nodes.
    pub cluster: ClusterTable,
    /// The networks the nodes stand in.
    #[serde(default)]
    pub networks: NetworksTable,
    /// Who may administer the nodes, and from where.
    #[serde(default)]
    pub admin: AdminTable,
    /// Optional parts of the cluster that need ports of their own.
    #[serde(default, skip_serializing_if = "Features::is_default")]
    pub features: Features,
    /// What passes the firewalls of the nodes beyond what roles and container network need.
    #[serde(default, skip_serializing_if = "FirewallTable::is_default")]
    pub firewall: FirewallTable,
    /// The checks that are made before an install.
    #[serde(default, skip_serializing_if = "PreflightTable::is_default")]
    pub preflight: PreflightTable,
    /// Join tokens. Better kept in `secrets.toml` beside the cluster file, which has `version = 1` and this same table.
    #[serde(default)]
    pub secrets: SecretsTable,
    /// Changes to the profiles that metalstrap ships.
    #[serde(default)]
    pub profiles: ProfilesTable,
    /// The machines, one table each. The first master forms the cluster, the others join it.
    #[schemars(length(min = 1))]
    pub nodes: Vec<NodeEntry>,
}

/// Facts common to all nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterTable {
    /// Name of the cluster: one DNS label. Example: `"lab"`.
    #[schemars(schema_with = "format::dns_label")]
    pub name: String,
    /// DNS domain of the hosts. Default: the name of the cluster followed by `.internal`.
    #[serde(default)]
    #[schemars(schema_with = "format::dns_name")]
    pub domain: Option<String>,
    /// Virtual address of the Kubernetes API, held by kube-vip on one of the masters. Needed with two or more masters. Example: `"10.0.0.10"`.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv4")]
    pub api_vip: Option<Ipv4Addr>,
    /// Further names and addresses by which clients reach the API; the API certificate will carry them.
    #[serde(default)]
    #[schemars(schema_with = "format::host_list")]
    pub api_names: Vec<String>,
    /// Virtual address of the internal proxies, held by keepalived. Example: `"10.0.0.9"`.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv4")]
    pub proxy_vip: Option<Ipv4Addr>,
    /// Range of the pods. Every node gets a /24 of it.
    #[serde(default = "default_pod_cidr")]
    #[schemars(schema_with = "format::ipv4_cidr")]
    pub pod_cidr: Ipv4Net,
    /// Range of the services.
    #[serde(default = "default_service_cidr")]
    #[schemars(schema_with = "format::ipv4_cidr")]
    pub service_cidr: Ipv4Net,
    /// IPv6 range of the pods. Refused for now (`E_DUAL_STACK`): pods with both families have not been run yet.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv6_cidr")]
    pub pod_cidr6: Option<Ipv6Net>,
    /// IPv6 range of the services. Refused for now, as `pod_cidr6` is.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv6_cidr")]
    pub service_cidr6: Option<Ipv6Net>,
    /// Container network.
    #[serde(default = "default_cni")]
    pub cni: Cni,
    /// Accept an even number of masters, which stands no more failures than one master less.
    #[serde(default)]
    pub allow_even_masters: bool,
    /// Time zone of the nodes.
    #[serde(default = "default_timezone")]
    #[schemars(schema_with = "format::timezone")]
    pub timezone: String,
}

/// The networks the nodes stand in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworksTable {
    /// The cluster network: every node has a leg in it.
    #[serde(default)]
    pub cluster: ClusterNetwork,
    /// The DMZ, for proxies with `placement = "dmz"`. Leave the table out if there is none.
    #[serde(default)]
    pub dmz: Option<DmzNetwork>,
}

/// The cluster network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterNetwork {
    /// Its range.
    #[serde(default = "default_cluster_cidr")]
    #[schemars(schema_with = "format::ipv4_cidr")]
    pub cidr: Ipv4Net,
    /// Default gateway. Without one the nodes reach nothing outside.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv4")]
    pub gateway: Option<Ipv4Addr>,
    /// Its IPv6 range, beside the other one: the host firewall lets in over it what it lets in over IPv4. Example: `"fd00:10::/64"`.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv6_cidr")]
    pub cidr6: Option<Ipv6Net>,
    /// Default gateway for IPv6, in `cidr6` or link-local. Example: `"fe80::1"`.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv6")]
    pub gateway6: Option<Ipv6Addr>,
    /// DNS servers.
    #[serde(default)]
    #[schemars(schema_with = "format::ip_list")]
    pub dns: Vec<IpAddr>,
    /// NTP servers, names or addresses. Empty: Debian's pool.
    #[serde(default)]
    #[schemars(schema_with = "format::host_list")]
    pub ntp: Vec<String>,
    /// MTU in bytes. Left out: the driver's default.
    #[serde(default)]
    #[schemars(range(min = 1280, max = 9216))]
    pub mtu: Option<u16>,
    /// Ranges that somebody else hands out (DHCP, load balancer); no node and no virtual address may be inside. Example: `["10.0.3.100-10.0.3.200"]`.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv4_range_list")]
    pub pools: Vec<AddressPool>,
}

/// The DMZ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DmzNetwork {
    /// Its range.
    #[serde(default = "default_dmz_cidr")]
    #[schemars(schema_with = "format::ipv4_cidr")]
    pub cidr: Ipv4Net,
    /// Default gateway of the DMZ proxies; without one they use that of the cluster network.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv4")]
    pub gateway: Option<Ipv4Addr>,
    /// Its IPv6 range, beside the other one: the host firewall lets in over it what it lets in over IPv4. Example: `"fd00:10::/64"`.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv6_cidr")]
    pub cidr6: Option<Ipv6Net>,
    /// Default gateway for IPv6, in `cidr6` or link-local. Example: `"fe80::1"`.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv6")]
    pub gateway6: Option<Ipv6Addr>,
    /// DNS servers for the leg in the DMZ.
    #[serde(default)]
    #[schemars(schema_with = "format::ip_list")]
    pub dns: Vec<IpAddr>,
    /// MTU in bytes. Left out: the driver's default.
    #[serde(default)]
    #[schemars(range(min = 1280, max = 9216))]
    pub mtu: Option<u16>,
}

/// Who may administer the nodes, and from where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminTable {
    /// Ranges of either family that may reach SSH, the health report and the API. Example: `["10.0.0.0/28", "fd00:10::/120"]`.
    #[serde(default)]
    #[schemars(schema_with = "format::cidr_list")]
    pub sources: Vec<IpNet>,
    /// SSH public keys, one `authorized_keys` line each.
    #[serde(default)]
    #[schemars(schema_with = "format::ssh_key_list")]
    pub ssh_authorized_keys: Vec<String>,
}

/// What passes the firewalls of the nodes beyond what roles and container network need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FirewallTable {
    /// Let every node open connections only to what it needs. A DMZ proxy always is restricted like this.
    #[serde(default)]
    pub egress: bool,
    /// Flows to add, one table each.
    #[serde(default)]
    pub flows: Vec<OperatorFlow>,
}

/// The checks that are made before an install.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreflightTable {
    /// Ids of checks to leave out, on every node; the install record names them. What protects data cannot be left out. The ids are in
    /// docs/reference/preflight-checks.md. Example: `["network.speed"]`.
    #[serde(default)]
    pub skip: Vec<String>,
}

impl PreflightTable {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FirewallTable {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Join tokens. A worker is given the agent token only, a proxy none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretsTable {
    /// k3s server token: with it a machine becomes a master. A single master generates its own. A password, or the secure form
    /// `K10…::server:PASSWORD`, with which a node that joins verifies the CA of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "format::token")]
    pub server_token: Option<Secret>,
    /// k3s agent token: with it a machine becomes a worker. A password, or the secure form `K10…::node:PASSWORD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "format::token")]
    pub agent_token: Option<Secret>,
}

/// Changes to the profiles that metalstrap ships.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfilesTable {
    /// Changes for masters.
    #[serde(default)]
    pub master: ProfileV1,
    /// Changes for workers.
    #[serde(default)]
    pub worker: ProfileV1,
    /// Changes for proxies.
    #[serde(default)]
    pub proxy: ProfileV1,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeEntry {
    /// Host name: one DNS label, also the Kubernetes node name.
    #[schemars(schema_with = "format::dns_label")]
    pub hostname: String,
    /// What the node is: `master` (also `server`, `controlplane`), `worker` (also `agent`) or `proxy`.
    #[schemars(schema_with = "role_schema")]
    pub role: Role,
    /// Where a proxy stands; needed for proxies, an error for others.
    #[serde(default)]
    pub placement: Option<ProxyPlacement>,
    /// Short form for a node with one interface: its permanent MAC.
    #[serde(default)]
    #[schemars(schema_with = "format::mac")]
    pub mac: Option<MacAddr>,
    /// Short form for a node with one interface: its address on the cluster network.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv4")]
    pub address: Option<Ipv4Addr>,
    /// Short form for a node with one interface: its IPv6 address on the cluster network, beside the other one.
    #[serde(default)]
    #[schemars(schema_with = "format::ipv6")]
    pub address6: Option<Ipv6Addr>,
    /// DMI serial number by which the machine is recognised.
    #[serde(default)]
    #[schemars(schema_with = "format::hardware_id")]
    pub serial: Option<String>,
    /// DMI system UUID by which the machine is recognised.
    #[serde(default)]
    #[schemars(schema_with = "format::uuid")]
    pub uuid: Option<uuid::Uuid>,
    /// Interfaces, when there is more than one, or a VLAN, bond or bridge.
    #[serde(default)]
    pub interfaces: Vec<InterfaceEntry>,
    /// Which disk may be taken. Left out: the one eligible empty disk.
    #[serde(default)]
    pub disk: DiskTable,
    /// Further disks, each with one file system of its own. A reinstall keeps what is on them.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub data_disks: Vec<DataDiskEntry>,
    /// Node labels.
    #[serde(default)]
    #[schemars(schema_with = "labels_schema")]
    pub labels: BTreeMap<String, String>,
    /// Taints; given here they replace those of the profile. Example: `["dedicated=db:NoSchedule"]`.
    #[serde(default)]
    #[schemars(schema_with = "format::taint_list")]
    pub taints: Option<Vec<String>>,
    /// Least usable memory in MiB, instead of the profile's.
    #[serde(default)]
    #[schemars(range(min = 256, max = 16_777_216))]
    pub memory_min_mib: Option<u64>,
    /// Least size of the disk in MiB, instead of the profile's.
    #[serde(default)]
    #[schemars(range(min = 4608, max = 1_073_741_824))]
    pub disk_min_mib: Option<u64>,
}

/// Addresses from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// First address.
    pub first: Ipv4Addr,
    /// Last address.
    pub last: Ipv4Addr,
}

impl AddressPool {
    /// Whether the address is one of the pool's.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.first <= address && address <= self.last
    }
}

/// Why a text is not a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a range of IPv4 addresses (as in 10.0.3.100-10.0.3.200)")]
pub struct AddressPoolError;

impl FromStr for AddressPool {
    type Err = AddressPoolError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').ok_or(AddressPoolError)?;
        let parse = |part: &str| part.trim_matches(' ').parse().map_err(|_| AddressPoolError);
        Ok(Self { first: parse(first)?, last: parse(last)? })
    }
}

impl fmt::Display for AddressPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl Serialize for AddressPool {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressPool {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Default for ClusterNetwork {
    fn default() -> Self {
        Self {
            cidr: default_cluster_cidr(),
            gateway: None,
            cidr6: None,
            gateway6: None,
            dns: vec![],
            ntp: vec![],
            mtu: None,
            pools: vec![],
        }
    }
}

fn role_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "enum": ["master", "worker", "proxy", "server", "controlplane", "agent"],
    })
}

pub(crate) fn labels_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "propertyNames": format::label_key(generator),
        "additionalProperties": format::label_value(generator),
    })
}

/// A range out of an address and a prefix length known to be at most 32.
fn net(address: [u8; 4], prefix_length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::from(address), prefix_length)
}

fn default_pod_cidr() -> Ipv4Net {
    net([10, 42, 0, 0], 16)
}

fn default_service_cidr() -> Ipv4Net {
    net([10, 43, 0, 0], 16)
}

fn default_cluster_cidr() -> Ipv4Net {
    net([10, 0, 0, 0], 22)
}

fn default_dmz_cidr() -> Ipv4Net {
    net([192, 168, 1, 0], 24)
}

fn default_cni() -> Cni {
    Cni::FlannelVxlan
}

fn default_timezone() -> String {
    "UTC".to_owned()
}

//! What an operator says about the firewall: optional parts of the cluster that need ports, and flows in words.
//!
//! The same types stand in the cluster file and, resolved, in the node config. Rules are made from them by the installer;
//! nobody writes a rule by hand.

use crate::cluster::file::AddressPool;
use crate::format;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// What every node must know to make its firewall.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirewallFacts {
    /// Optional parts of the cluster.
    #[serde(default, skip_serializing_if = "Features::is_default")]
    pub features: Features,
    /// Every node, and not only a DMZ proxy, may open connections only to what it needs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub egress: bool,
    /// Flows the operator adds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<OperatorFlow>,
}

impl FirewallFacts {
    /// True when the operator said nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Optional parts of the cluster that need ports of their own. metalstrap opens the ports; it does not install the part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// Hubble, the flow log of Cilium (TCP 4244 between nodes).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hubble: bool,
    /// ClusterMesh of Cilium with another cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clustermesh: Option<ClusterMesh>,
    /// MetalLB in layer 2 mode; k3s' own load balancer is then left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metallb: Option<MetalLb>,
    /// Routers that speak BGP (TCP 179) with the nodes, for the container network `calico-bgp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "format::ipv4_list")]
    pub bgp_routers: Vec<Ipv4Addr>,
    /// kube-vip announces the API address to routers by BGP, instead of answering for it by ARP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_vip_bgp: Option<KubeVipBgp>,
}

impl Features {
    /// True when there is none.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// ClusterMesh of Cilium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterMesh {
    /// NodePort of the ClusterMesh API server of this cluster; the other cluster must use another one. Example: `32379`.
    #[schemars(range(min = 30000, max = 32767))]
    pub node_port: u16,
    /// Addresses of all nodes of the other cluster.
    #[schemars(schema_with = "format::ipv4_list")]
    pub nodes: Vec<Ipv4Addr>,
}

/// MetalLB in layer 2 mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetalLb {
    /// Ranges it hands out; each inside one of `networks.cluster.pools`. Example: `["10.0.3.100-10.0.3.150"]`.
    #[schemars(schema_with = "format::ipv4_range_list")]
    pub pools: Vec<AddressPool>,
}

/// kube-vip with BGP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubeVipBgp {
    /// AS number of the masters.
    #[schemars(range(min = 1, max = 4_294_967_294_i64))]
    pub local_as: u32,
    /// AS number of the routers.
    #[schemars(range(min = 1, max = 4_294_967_294_i64))]
    pub router_as: u32,
    /// Addresses of the routers.
    #[schemars(schema_with = "format::ipv4_list")]
    pub routers: Vec<Ipv4Addr>,
}

/// One flow in words: who may open connections to what, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperatorFlow {
    /// Who opens the connection: a zone (`cluster`, `dmz`, `wan`, `admin`, `pods`) or the nodes of a role.
    pub from: FlowFrom,
    /// Only these ranges of it, of either family. Left out: all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "format::cidr_list")]
    pub sources: Vec<IpNet>,
    /// Who answers: the nodes of a role, or the addresses of MetalLB.
    pub to: FlowTo,
    /// Port or ports. Example: `"tcp/30080"`, `"udp/7000-7010"`.
    #[schemars(schema_with = "format::flow_port")]
    pub port: PortSpec,
    /// Why it is needed; shown by `metalstrap firewall explain`.
    #[schemars(schema_with = "format::sentence")]
    pub why: String,
    /// For a flow that opens etcd, the API, the kubelet, SSH or the pod network to where it should not be: why that is
    /// accepted. Shown in the health report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "format::sentence")]
    pub accept_risk: Option<String>,
}

/// Who opens connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlowFrom {
    /// The cluster network, but for the DMZ proxies.
    Cluster,
    /// The DMZ network.
    Dmz,
    /// Everything outside.
    Wan,
    /// The ranges of `admin.sources`, but for the DMZ proxies.
    Admin,
    /// The pods of the node itself, and those that reach it inside the container network.
    Pods,
    /// Masters.
    Master,
    /// Workers.
    Worker,
    /// Internal proxies.
    InternalProxy,
    /// DMZ proxies, by their address on the cluster network.
    DmzProxy,
}

impl FlowFrom {
    /// Every word.
    pub const ALL: [Self; 9] = [
        Self::Cluster,
        Self::Dmz,
        Self::Wan,
        Self::Admin,
        Self::Pods,
        Self::Master,
        Self::Worker,
        Self::InternalProxy,
        Self::DmzProxy,
    ];

    /// Where nobody is trusted: outside, the DMZ, and the proxies that stand in it.
    pub fn is_hostile(self) -> bool {
        matches!(self, Self::Dmz | Self::Wan | Self::DmzProxy)
    }

    /// As it is written in the cluster file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Dmz => "dmz",
            Self::Wan => "wan",
            Self::Admin => "admin",
            Self::Pods => "pods",
            Self::Master => "master",
            Self::Worker => "worker",
            Self::InternalProxy => "internal-proxy",
            Self::DmzProxy => "dmz-proxy",
        }
    }
}

impl fmt::Display for FlowFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlowTo {
    /// Masters.
    Master,
    /// Workers.
    Worker,
    /// Internal proxies.
    InternalProxy,
    /// DMZ proxies.
    DmzProxy,
    /// Addresses of MetalLB, on whatever node holds them.
    LoadBalancer,
}

impl fmt::Display for FlowTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Worker => "worker",
            Self::InternalProxy => "internal-proxy",
            Self::DmzProxy => "dmz-proxy",
            Self::LoadBalancer => "load-balancer",
        })
    }
}

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Ports of one protocol, `tcp/80` or `udp/7000-7010`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSpec {
    /// Protocol.
    pub transport: Transport,
    /// First port, from 1.
    pub first: u16,
    /// Last port, itself included. Not below the first one in a validated cluster.
    pub last: u16,
}

impl PortSpec {
    /// One TCP port.
    pub const fn tcp(port: u16) -> Self {
        Self { transport: Transport::Tcp, first: port, last: port }
    }

    /// One UDP port.
    pub const fn udp(port: u16) -> Self {
        Self { transport: Transport::Udp, first: port, last: port }
    }

    /// The ports.
    pub fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    /// Whether two have a port in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.transport == other.transport && self.first <= other.last && other.first <= self.last
    }
}

/// Why a text is not a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a port (as in tcp/30080 or udp/7000-7010)")]
pub struct PortSpecError;

impl FromStr for PortSpec {
    type Err = PortSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (transport, ports) = text.split_once('/').ok_or(PortSpecError)?;
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err(PortSpecError),
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let parse = |port: &str| {
            let digits = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
            port.parse::<u16>().ok().filter(|port| digits && *port > 0).ok_or(PortSpecError)
        };
        Ok(Self { transport, first: parse(first)?, last: parse(last)? })
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.transport, self.first)?;
        if self.last == self.first { Ok(()) } else { write!(f, "-{}", self.last) }
    }
}

impl Serialize for PortSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::PortSpec;

    #[test]
    fn reads_and_prints_ports() {
        for text in ["tcp/1", "udp/65535", "tcp/30000-32767", "tcp/8080-8000"] {
            assert_eq!(text.parse::<PortSpec>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "tcp",
            "80",
            "tcp/",
            "tcp/0",
            "tcp/65536",
            "icmp/1",
            "tcp/+1",
            "tcp/1-",
            "tcp/1-2-3",
            "tcp/01",
        ] {
            assert!(text.parse::<PortSpec>().is_err(), "{text}");
        }
    }
}

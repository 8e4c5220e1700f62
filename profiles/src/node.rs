//! The node config: everything one machine needs to know, resolved and validated.
//!
//! Made only by `Cluster::resolve`; read by the plan, the renderers and the health agent. Serialised as
//! `/etc/metalstrap/node.json` on an installed node. Holds no secret (see [`NodeSecrets`]).

pub use crate::disk::{DataDisk, DiskKind, DiskSelector, DiskTransport, SizeRange, matches_glob};
use crate::firewall::FirewallFacts;
use crate::network::Network;
use crate::secret::Secret;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Schema id of a serialised [`NodeConfig`].
pub const NODE_CONFIG_SCHEMA: &str = "metalstrap.node/v1";

/// Everything one machine needs to know about itself and its cluster. No secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Always [`NODE_CONFIG_SCHEMA`].
    pub schema: String,
    /// Facts common to all nodes.
    pub cluster: ClusterFacts,
    /// Host name: one DNS label, lower case; also the Kubernetes node name.
    pub hostname: String,
    /// What this node is, with what only that role has.
    pub role: RoleConfig,
    /// How the machine is recognised.
    pub identity: Identity,
    /// The legs in the cluster network and the DMZ, in the order of the cluster file: what the services and the firewall of the node need to
    /// know of its network.
    pub interfaces: Vec<Interface>,
    /// All links, those below the legs and those in other networks too: what makes the network.
    pub network: Network,
    /// Which disk may be taken.
    pub disk: DiskSelector,
    /// Further disks, in the order of the cluster file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_disks: Vec<DataDisk>,
    /// What the machine must have.
    pub requirements: Requirements,
    /// Kernel modules loaded at boot, sorted.
    pub kernel_modules: Vec<String>,
    /// Kernel parameters (`sysctl`), sorted by key.
    pub sysctls: BTreeMap<String, String>,
    /// Kubernetes settings; `None` for a proxy.
    pub kubernetes: Option<KubernetesConfig>,
    /// Every node of the cluster, this one included, in the order of the cluster file.
    pub peers: Vec<Peer>,
}

impl NodeConfig {
    /// The address on the cluster network: `node-ip`, and the source every other node knows.
    pub fn cluster_interface(&self) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.zone == Zone::Cluster)
    }

    /// The leg in the DMZ, if there is one.
    pub fn dmz_interface(&self) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.zone == Zone::Dmz)
    }

    /// All peers of one role, this node included.
    pub fn peers_with(&self, role: Role) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(move |p| p.role == role)
    }

    /// The master that forms the cluster; every other server and agent joins through the API VIP or, without one, through it.
    pub fn initial_master(&self) -> Option<&Peer> {
        self.peers_with(Role::Master).next()
    }
}

/// Facts that hold for every node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFacts {
    /// Cluster name: one DNS label.
    pub name: String,
    /// DNS domain of the hosts, without leading dot.
    pub domain: String,
    /// Address of the Kubernetes API held by kube-vip; `None` only in a cluster with one master.
    pub api_vip: Option<Ipv4Addr>,
    /// Further names and addresses that clients use for the API; each becomes a `tls-san`.
    pub api_names: Vec<String>,
    /// Address held by keepalived on the internal proxies.
    pub proxy_vip: Option<Ipv4Addr>,
    /// Pod range.
    pub pod_cidr: Ipv4Net,
    /// Service range.
    pub service_cidr: Ipv4Net,
    /// Address of the cluster DNS service, inside the service range.
    pub cluster_dns: Ipv4Addr,
    /// Container network.
    pub cni: Cni,
    /// Cluster network.
    pub cluster_network: Ipv4Net,
    /// DMZ network, if the cluster has one.
    pub dmz_network: Option<Ipv4Net>,
    /// The same over IPv6, as far as the cluster speaks it.
    #[serde(default, skip_serializing_if = "Ipv6Facts::is_default")]
    pub ipv6: Ipv6Facts,
    /// NodePorts of the ingress of every DMZ proxy, HTTP and then HTTPS; empty without a DMZ proxy. The firewall of a
    /// worker opens these, for the DMZ proxies, and no other NodePort; k3s' Traefik listens there.
    pub ingress_node_ports: Vec<u16>,
    /// Where operators come from (SSH, health report, API); sorted.
    pub admin_sources: Vec<IpNet>,
    /// SSH public keys of the operators, one `authorized_keys` line each.
    pub ssh_authorized_keys: Vec<String>,
    /// NTP servers (names or addresses); empty means Debian's default pool.
    pub ntp_servers: Vec<String>,
    /// Time zone name of the tz database, `UTC` by default.
    pub timezone: String,
    /// What the operator says about the firewall and the parts of the cluster that need ports.
    #[serde(default, skip_serializing_if = "FirewallFacts::is_default")]
    pub firewall: FirewallFacts,
}

/// What the cluster has of IPv6, beside IPv4.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ipv6Facts {
    /// Cluster network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_network: Option<Ipv6Net>,
    /// DMZ network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dmz_network: Option<Ipv6Net>,
    /// Pods and services, when they have both families.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesIpv6>,
}

impl Ipv6Facts {
    /// True when the cluster speaks IPv4 only.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// IPv6 ranges of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesIpv6 {
    /// Pod range.
    pub pod_cidr: Ipv6Net,
    /// Service range.
    pub service_cidr: Ipv6Net,
    /// Address of the cluster DNS service, inside the service range.
    pub cluster_dns: Ipv6Addr,
}

/// Container network provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cni {
    /// flannel over VXLAN (UDP 8472), built into k3s.
    FlannelVxlan,
    /// flannel over WireGuard (UDP 51820), built into k3s.
    FlannelWireguard,
    /// Calico over VXLAN (UDP 4789); the operator installs it.
    CalicoVxlan,
    /// Calico with BGP (TCP 179) and pods routed without a tunnel; the operator installs it.
    CalicoBgp,
    /// Cilium over VXLAN (UDP 8472) instead of kube-proxy; the operator installs it.
    CiliumVxlan,
    /// Cilium over VXLAN, encrypted by WireGuard (UDP 51871), instead of kube-proxy; the operator installs it.
    CiliumWireguard,
}

impl Cni {
    /// flannel, which k3s brings along.
    pub fn is_flannel(self) -> bool {
        matches!(self, Self::FlannelVxlan | Self::FlannelWireguard)
    }

    /// Calico.
    pub fn is_calico(self) -> bool {
        matches!(self, Self::CalicoVxlan | Self::CalicoBgp)
    }

    /// Cilium, here always in the place of kube-proxy: it answers NodePorts in eBPF, before any nftables rule.
    pub fn is_cilium(self) -> bool {
        matches!(self, Self::CiliumVxlan | Self::CiliumWireguard)
    }
}

/// What a node is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// k3s server with embedded etcd and a kube-vip static pod.
    #[serde(alias = "server", alias = "controlplane")]
    Master,
    /// k3s agent.
    #[serde(alias = "agent")]
    Worker,
    /// HAProxy and keepalived, no Kubernetes.
    Proxy,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Worker => "worker",
            Self::Proxy => "proxy",
        })
    }
}

/// A role with what only that role has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RoleConfig {
    /// k3s server.
    Master {
        /// True for the one master that forms the cluster (`cluster-init`), false for those that join it.
        forms_cluster: bool,
    },
    /// k3s agent.
    Worker {},
    /// Load balancer.
    Proxy(ProxyConfig),
}

impl RoleConfig {
    /// The bare role.
    pub fn role(&self) -> Role {
        match self {
            Self::Master { .. } => Role::Master,
            Self::Worker {} => Role::Worker,
            Self::Proxy(_) => Role::Proxy,
        }
    }
}

/// Where a proxy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyPlacement {
    /// On the cluster network: balances the API to the masters.
    Internal,
    /// In the DMZ with a leg into the cluster network: takes 80/443 to the ingress NodePorts of the workers.
    Dmz,
}

/// Settings of a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {
    /// Where it stands.
    pub placement: ProxyPlacement,
    /// VRRP settings; present when the proxy VIP is set and the proxy is internal.
    pub vrrp: Option<Vrrp>,
    /// NodePort of the ingress for HTTP on every worker.
    pub ingress_http_node_port: u16,
    /// NodePort of the ingress for HTTPS on every worker.
    pub ingress_https_node_port: u16,
}

/// VRRP settings of one internal proxy (keepalived, unicast).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vrrp {
    /// Virtual router id, 1 to 255, unique on the segment.
    pub router_id: u8,
    /// Priority, 1 to 254; the highest one that is healthy holds the address.
    pub priority: u8,
    /// Cluster addresses of the other internal proxies.
    pub peers: Vec<Ipv4Addr>,
}

/// A part of the network the firewall speaks of.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Zone {
    /// The cluster network.
    Cluster,
    /// The DMZ.
    Dmz,
}

/// One leg of the node: the link that carries its addresses in a zone, whatever is below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Name of the link on the installed node, such as `cluster0`, `dmz0`, `bond0.20`.
    pub name: String,
    /// Zone it stands in.
    pub zone: Zone,
    /// The MAC it shows: that of the first card below it; `None` means: the only card of the machine (the plan puts the MAC in).
    pub mac: Option<MacAddr>,
    /// Address with the prefix length of its network.
    pub address: Ipv4Net,
    /// IPv6 address with the prefix length of its network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address6: Option<Ipv6Net>,
    /// Default gateway; at most one interface has one.
    pub gateway: Option<Ipv4Addr>,
    /// Default gateway for IPv6; at most one interface has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<Ipv6Addr>,
    /// DNS servers.
    pub dns: Vec<IpAddr>,
    /// MTU in bytes; `None` leaves the driver's default.
    pub mtu_bytes: Option<u16>,
}

impl Interface {
    /// Its addresses, without prefix length.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let six = self.address6.map(|address| IpAddr::from(address.addr()));
        [IpAddr::from(self.address.addr())].into_iter().chain(six)
    }

    /// Its default gateways.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        let (four, six) = (self.gateway.map(IpAddr::from), self.gateway6.map(IpAddr::from));
        four.into_iter().chain(six)
    }
}

/// How a machine is recognised as this node. Any one of them is enough; two nodes never share one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Permanent MACs of its interfaces.
    pub macs: Vec<MacAddr>,
    /// DMI system serial number, compared without surrounding white space.
    pub serial: Option<String>,
    /// DMI system UUID, lower case.
    pub uuid: Option<uuid::Uuid>,
}

/// What a machine must have for its role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirements {
    /// Least usable memory (`MemTotal`) in MiB.
    pub memory_min_mib: u64,
    /// Least size of the disk in MiB.
    pub disk_min_mib: u64,
}

/// Kubernetes settings of a master or worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesConfig {
    /// Node labels, sorted.
    pub labels: BTreeMap<String, String>,
    /// Node taints in k3s' form `key=value:Effect`.
    pub taints: Vec<String>,
    /// `kubelet-arg` values.
    pub kubelet_args: Vec<String>,
    /// Packaged components that k3s shall not deploy (`disable`), masters only.
    pub disable: Vec<String>,
    /// Encrypt secrets in etcd (`secrets-encryption`), masters only.
    pub secrets_encryption: bool,
    /// Number of etcd snapshots kept (`etcd-snapshot-retention`), masters only.
    pub etcd_snapshot_retention: u16,
}

/// Another node as seen from this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Host name.
    pub hostname: String,
    /// Role.
    pub role: Role,
    /// Placement, for a proxy.
    pub placement: Option<ProxyPlacement>,
    /// Address on the cluster network.
    pub cluster_address: Ipv4Addr,
    /// Address in the DMZ.
    pub dmz_address: Option<Ipv4Addr>,
    /// IPv6 address on the cluster network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_address6: Option<Ipv6Addr>,
    /// IPv6 address in the DMZ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dmz_address6: Option<Ipv6Addr>,
}

/// Kernel parameters a kubelet with `protect-kernel-defaults` insists on; with another value it does not start (Kubernetes 1.28,
/// `setupKernelTunables`).
pub const KUBELET_SYSCTLS: [(&str, &str); 6] = [
    ("kernel.keys.root_maxbytes", "25000000"),
    ("kernel.keys.root_maxkeys", "1000000"),
    ("kernel.panic", "10"),
    ("kernel.panic_on_oops", "1"),
    ("vm.overcommit_memory", "1"),
    ("vm.panic_on_oom", "0"),
];

/// The secrets one node is given: already cut down to what its role may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSecrets {
    /// k3s server token; masters only.
    pub server_token: Option<Secret>,
    /// k3s agent token; masters and workers.
    pub agent_token: Option<Secret>,
    /// What k3s proves this node by to the cluster, of which it keeps the first it saw: with another one the node is refused. Made by the
    /// install, or kept from the one before; `None` leaves to k3s what is there.
    pub node_password: Option<Secret>,
}

/// An Ethernet address; printed lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

/// Why a text is not an Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address (six bytes in hex, as in 52:54:00:12:34:56)")]
pub struct MacAddrError;

impl FromStr for MacAddr {
    type Err = MacAddrError;

    /// Takes `:` or `-` between the bytes, either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or(MacAddrError)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(MacAddrError);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| MacAddrError)?;
        }
        if parts.next().is_some() { Err(MacAddrError) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for MacAddr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::MacAddr;

    #[test]
    fn reads_both_separators_and_prints_colons() {
        let mac: MacAddr = "52-54-00-AB-cd-01".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:01");
    }

    #[test]
    fn refuses_other_shapes() {
        for text in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:01:02",
            "52:54:00:ab:cd:1",
            "52:54:00:ab:cd:+1",
            "gg:54:00:ab:cd:01",
        ] {
            assert!(text.parse::<MacAddr>().is_err(), "{text}");
        }
    }
}

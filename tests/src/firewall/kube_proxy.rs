//! What runs beside our table on a node with pods: NodePorts, hostPorts, ServiceLB and flannel's masquerade, in the
//! tables, chains, hooks and priorities of kube-proxy's two modes. iptables-nft is emulated by the native rules it
//! stands for: to the kernel, hook and priority decide, not who wrote the rule.

use super::matrix::{HOST_PORT, HOST_SERVICE_PORT, OTHER_NODE_PORTS, UDP_NODE_PORT};
use super::nodes::{INGRESS_PORTS, Kind};
use super::space::Space;
use super::topology::{Host, Place};
use anyhow::Result;
use std::net::IpAddr;

/// Which of its backends kube-proxy uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// iptables-nft, k3s' own.
    Iptables,
    /// nftables, from Kubernetes 1.29 on.
    Nftables,
}

/// Values of one family.
struct Family {
    name: &'static str,
    pod: IpAddr,
    pods: &'static str,
    multicast: &'static str,
    service: IpAddr,
    host_service: IpAddr,
    node: IpAddr,
}

fn families(kind: Kind) -> [Family; 2] {
    [("ip", "10.42.0.0/16", "224.0.0.0/4", false), ("ip6", "fd00:42::/32", "ff00::/8", true)].map(
        |(name, pods, multicast, v6)| Family {
            name,
            pod: Place::Beyond(Host::Pod).address(kind, v6),
            pods,
            multicast,
            service: Place::Service.address(kind, v6),
            host_service: Place::HostService.address(kind, v6),
            node: Place::Cluster.address(kind, v6),
        },
    )
}

/// Loads the tables of a mode; loaded ones are replaced.
///
/// # Errors
/// nft refuses them.
pub fn load(node: &Space, kind: Kind, mode: Mode) -> Result<()> {
    let mut text = String::new();
    for family in families(kind) {
        for table in tables(mode) {
            text += &format!("table {0} {table}\ndelete table {0} {table}\n", family.name);
        }
        text += &match mode {
            Mode::Iptables => family.iptables(),
            Mode::Nftables => family.nftables(),
        };
    }
    node.nft(&text)
}

/// Removes the tables of a mode.
///
/// # Errors
/// They are not there.
pub fn unload(node: &Space, mode: Mode) -> Result<()> {
    let lines = ["ip", "ip6"]
        .iter()
        .flat_map(|f| tables(mode).iter().map(move |t| format!("delete table {f} {t}\n")));
    node.nft(&lines.collect::<String>())
}

/// Every table that is not ours, as the kernel has it.
///
/// # Errors
/// One is missing.
pub fn listing(node: &Space, mode: Mode) -> Result<String> {
    let mut text = String::new();
    for family in ["ip", "ip6"] {
        for table in tables(mode) {
            text += &node.run(&["nft", "-j", "-a", "list", "table", family, table], "")?;
        }
    }
    Ok(text)
}

/// Tables of a mode, in each family.
fn tables(mode: Mode) -> &'static [&'static str] {
    match mode {
        Mode::Iptables => &["nat", "filter"],
        Mode::Nftables => &["kube-proxy", "flannel", "cni_hostport"],
    }
}

impl Family {
    fn to_pod(&self, port: u16) -> String {
        self.to(self.pod, port)
    }

    fn to(&self, address: IpAddr, port: u16) -> String {
        // Marked for masquerade, as kube-proxy and the CNI do where a pod may reach itself.
        format!("meta mark set meta mark or 0x4000 dnat to {}", std::net::SocketAddr::new(address, port))
    }

    fn node_ports(&self) -> String {
        let rule = |what: String, port| format!("  {what} {}\n", self.to_pod(port));
        let others = [INGRESS_PORTS[0]].into_iter().chain(OTHER_NODE_PORTS);
        let mut rules: String = others.map(|port| rule(format!("tcp dport {port}"), 8080)).collect();
        rules += &rule(format!("tcp dport {}", INGRESS_PORTS[1]), 8443);
        rules + &rule(format!("udp dport {UDP_NODE_PORT}"), 53)
    }

    /// hostPort of a pod, and klipper's 80 and 443, which ServiceLB makes a hostPort on every node.
    fn host_ports(&self) -> String {
        format!(
            "  tcp dport {HOST_PORT} {}\n  tcp dport {{ 80, 443 }} {}\n",
            self.to_pod(8080),
            self.to_pod(8443)
        )
    }

    fn services(&self) -> String {
        let Self { name, service, host_service, node, .. } = self;
        format!(
            "  {name} daddr {service} tcp dport 80 {}\n  {name} daddr {host_service} tcp dport 80 {}\n",
            self.to_pod(8080),
            self.to(*node, HOST_SERVICE_PORT)
        )
    }

    fn masquerade(&self) -> String {
        let Self { name, pods, multicast, .. } = self;
        format!(
            "  {name} saddr {pods} {name} daddr {pods} return\n  {name} saddr {pods} {name} daddr != {multicast} masquerade\n"
        )
    }

    fn iptables(&self) -> String {
        format!(
            "table {family} nat {{
 chain KUBE-NODEPORTS {{
{nodeports} }}
 chain KUBE-SERVICES {{
{services}  fib daddr type local jump KUBE-NODEPORTS
 }}
 chain CNI-HOSTPORT-DNAT {{
{hostports} }}
 chain PREROUTING {{ type nat hook prerouting priority dstnat; policy accept;
  jump KUBE-SERVICES
  fib daddr type local jump CNI-HOSTPORT-DNAT
 }}
 chain OUTPUT {{ type nat hook output priority -100; policy accept;
  jump KUBE-SERVICES
  fib daddr type local jump CNI-HOSTPORT-DNAT
 }}
 chain POSTROUTING {{ type nat hook postrouting priority srcnat; policy accept;
  meta mark and 0x4000 == 0x4000 masquerade
{masquerade} }}
}}
table {family} filter {{
 chain KUBE-FORWARD {{
  ct state invalid drop
  meta mark and 0x4000 == 0x4000 accept
  ct state established,related accept
 }}
 chain INPUT {{ type filter hook input priority filter; policy accept; }}
 chain FORWARD {{ type filter hook forward priority filter; policy accept;
  jump KUBE-FORWARD
  {family} saddr {pods} accept
  {family} daddr {pod} accept
 }}
 chain OUTPUT {{ type filter hook output priority filter; policy accept; }}
}}
",
            family = self.name,
            pods = self.pods,
            pod = self.pod,
            nodeports = self.node_ports(),
            services = self.services(),
            hostports = self.host_ports(),
            masquerade = self.masquerade(),
        )
    }

    fn nftables(&self) -> String {
        format!(
            "table {family} kube-proxy {{
 chain nodeports {{
{nodeports} }}
 chain services {{
{services}  fib daddr type local jump nodeports
 }}
 chain filter-prerouting {{ type filter hook prerouting priority -110; policy accept;
  ct state new accept
 }}
 chain filter-input {{ type filter hook input priority -110; policy accept;
  ct state new accept
 }}
 chain filter-forward {{ type filter hook forward priority -110; policy accept;
  ct state new accept
 }}
 chain nat-prerouting {{ type nat hook prerouting priority dstnat; policy accept;
  jump services
 }}
 chain nat-output {{ type nat hook output priority -100; policy accept;
  jump services
 }}
 chain nat-postrouting {{ type nat hook postrouting priority srcnat; policy accept;
  meta mark and 0x4000 == 0x4000 masquerade
 }}
}}
table {family} flannel {{
 chain postrtg {{ type nat hook postrouting priority srcnat; policy accept;
{masquerade} }}
}}
table {family} cni_hostport {{
 chain hostports {{
{hostports} }}
 chain prerouting {{ type nat hook prerouting priority dstnat; policy accept;
  fib daddr type local jump hostports
 }}
 chain output {{ type nat hook output priority -100; policy accept;
  fib daddr type local jump hostports
 }}
}}
",
            family = self.name,
            nodeports = self.node_ports(),
            services = self.services(),
            hostports = self.host_ports(),
            masquerade = self.masquerade(),
        )
    }
}

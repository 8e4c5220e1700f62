//! Resolution: what one machine gets, out of defaults, shipped profile, `[profiles.…]` and its node entry.

use super::data_disk::DataDiskEntry;
use super::file::{ClusterFileV1, NodeEntry};
use super::legs;
use super::stack::{Stack, entries};
use crate::firewall::FirewallFacts;
use crate::network::NetworkError;
use crate::node::{
    ClusterFacts, Identity, Ipv6Facts, KubernetesConfig, KubernetesIpv6, NODE_CONFIG_SCHEMA, NodeConfig,
    Peer, ProxyConfig, ProxyPlacement, Requirements, Role, RoleConfig, Vrrp, Zone,
};
use crate::profile::{ProfileError, ProfileV1, shipped};
use ipnet::IpNet;
use sha2::{Digest, Sha256};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Host number of the cluster DNS service in the service range, as k3s has it.
const CLUSTER_DNS_HOST: u32 = 10;

/// VRRP priority of the first internal proxy; each further one is a step lower.
const VRRP_PRIORITY_FIRST: u8 = 200;

/// Why a node cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No such node in the cluster file.
    #[error("the cluster has no node `{hostname}` (it has {known})")]
    NoSuchNode {
        /// The host name asked for.
        hostname: String,
        /// The host names there are.
        known: String,
    },
    /// A shipped profile is broken: a bug of this program.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The rules let pass interfaces that cannot be built: a bug of this program.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// The node entry with this host name.
pub(super) fn find<'f>(file: &'f ClusterFileV1, hostname: &str) -> Result<&'f NodeEntry, ResolveError> {
    file.nodes.iter().find(|node| node.hostname == hostname).ok_or_else(|| {
        let names: Vec<_> = file.nodes.iter().map(|node| node.hostname.as_str()).collect();
        ResolveError::NoSuchNode { hostname: hostname.to_owned(), known: names.join(", ") }
    })
}

/// How a machine is recognised as this node.
pub(super) fn identity(node: &NodeEntry) -> Identity {
    Identity {
        macs: Stack::of(&entries(node)).macs().collect(),
        serial: node.serial.clone(),
        uuid: node.uuid,
    }
}

/// Facts common to all nodes.
pub(super) fn facts(file: &ClusterFileV1) -> Result<ClusterFacts, ResolveError> {
    let cluster = &file.cluster;
    let mut admin_sources: Vec<IpNet> = file.admin.sources.clone();
    admin_sources.sort();
    admin_sources.dedup();
    Ok(ClusterFacts {
        name: cluster.name.clone(),
        domain: cluster.domain.clone().unwrap_or_else(|| format!("{}.internal", cluster.name)),
        api_vip: cluster.api_vip,
        api_names: cluster.api_names.clone(),
        proxy_vip: cluster.proxy_vip,
        pod_cidr: cluster.pod_cidr,
        service_cidr: cluster.service_cidr,
        cluster_dns: Ipv4Addr::from(u32::from(cluster.service_cidr.network()) | CLUSTER_DNS_HOST),
        cni: cluster.cni,
        cluster_network: file.networks.cluster.cidr,
        dmz_network: file.networks.dmz.as_ref().map(|dmz| dmz.cidr),
        ipv6: ipv6_facts(file),
        ingress_node_ports: ingress_node_ports(file)?,
        admin_sources,
        ssh_authorized_keys: file.admin.ssh_authorized_keys.clone(),
        ntp_servers: file.networks.cluster.ntp.clone(),
        timezone: cluster.timezone.clone(),
        firewall: FirewallFacts {
            features: file.features.clone(),
            egress: file.firewall.egress,
            flows: file.firewall.flows.clone(),
        },
    })
}

fn ipv6_facts(file: &ClusterFileV1) -> Ipv6Facts {
    let both = file.cluster.pod_cidr6.zip(file.cluster.service_cidr6);
    Ipv6Facts {
        cluster_network: file.networks.cluster.cidr6,
        dmz_network: file.networks.dmz.as_ref().and_then(|dmz| dmz.cidr6),
        kubernetes: both.map(|(pod_cidr, service_cidr)| KubernetesIpv6 {
            pod_cidr,
            service_cidr,
            cluster_dns: Ipv6Addr::from(u128::from(service_cidr.network()) | u128::from(CLUSTER_DNS_HOST)),
        }),
    }
}

/// NodePorts of the ingress, HTTP and then HTTPS, when there is a DMZ proxy that passes traffic to them.
fn ingress_node_ports(file: &ClusterFileV1) -> Result<Vec<u16>, ProfileError> {
    if !file.nodes.iter().any(|node| node.placement == Some(ProxyPlacement::Dmz)) {
        return Ok(vec![]);
    }
    let profile = shipped(Role::Proxy)?.overlaid_with(&file.profiles.proxy);
    let ports = [profile.ingress_http_node_port, profile.ingress_https_node_port];
    Ok(ports.into_iter().flatten().collect())
}

/// The node config of one node.
pub(super) fn resolve(file: &ClusterFileV1, hostname: &str) -> Result<NodeConfig, ResolveError> {
    let node = find(file, hostname)?;
    let profile = profile_of(file, node)?;
    let network = legs::network(file, node)?;
    Ok(NodeConfig {
        schema: NODE_CONFIG_SCHEMA.to_owned(),
        cluster: facts(file)?,
        hostname: node.hostname.clone(),
        role: role_config(file, node, &profile),
        identity: identity(node),
        interfaces: legs::interfaces(file, node, &network),
        network,
        disk: node.disk.selector(),
        data_disks: node.data_disks.iter().map(DataDiskEntry::resolved).collect(),
        requirements: Requirements {
            memory_min_mib: profile.memory_min_mib.unwrap_or_default(),
            disk_min_mib: profile.disk_min_mib.unwrap_or_default(),
        },
        kubernetes: kubernetes(node.role, &profile),
        kernel_modules: profile.kernel_modules,
        sysctls: profile.sysctls,
        peers: file.nodes.iter().filter_map(peer).collect(),
    })
}

/// Shipped profile ← `[profiles.…]` ← node entry.
fn profile_of(file: &ClusterFileV1, node: &NodeEntry) -> Result<ProfileV1, ProfileError> {
    let mut base = shipped(node.role)?;
    let has_worker = file.nodes.iter().any(|other| other.role == Role::Worker);
    if node.role == Role::Master && !has_worker {
        // A taint that keeps workloads off the masters would leave them nowhere to run.
        base.taints = None;
    }
    let change = match node.role {
        Role::Master => &file.profiles.master,
        Role::Worker => &file.profiles.worker,
        Role::Proxy => &file.profiles.proxy,
    };
    let own = ProfileV1 {
        memory_min_mib: node.memory_min_mib,
        disk_min_mib: node.disk_min_mib,
        labels: node.labels.clone(),
        taints: node.taints.clone(),
        ..ProfileV1::default()
    };
    Ok(base.overlaid_with(change).overlaid_with(&own))
}

fn kubernetes(role: Role, profile: &ProfileV1) -> Option<KubernetesConfig> {
    let master = match role {
        Role::Proxy => return None,
        Role::Master => true,
        Role::Worker => false,
    };
    Some(KubernetesConfig {
        labels: profile.labels.clone(),
        taints: profile.taints.clone().unwrap_or_default(),
        kubelet_args: profile.kubelet_args.clone(),
        disable: profile.disable.clone().filter(|_| master).unwrap_or_default(),
        secrets_encryption: master && profile.secrets_encryption.unwrap_or_default(),
        etcd_snapshot_retention: profile.etcd_snapshot_retention.filter(|_| master).unwrap_or_default(),
    })
}

fn role_config(file: &ClusterFileV1, node: &NodeEntry, profile: &ProfileV1) -> RoleConfig {
    match node.role {
        Role::Master => {
            let first = file.nodes.iter().find(|other| other.role == Role::Master);
            RoleConfig::Master { forms_cluster: first.is_some_and(|first| first.hostname == node.hostname) }
        }
        Role::Worker => RoleConfig::Worker {},
        Role::Proxy => {
            let placement = node.placement.unwrap_or(ProxyPlacement::Internal);
            RoleConfig::Proxy(ProxyConfig {
                placement,
                vrrp: vrrp(file, node),
                ingress_http_node_port: profile.ingress_http_node_port.unwrap_or_default(),
                ingress_https_node_port: profile.ingress_https_node_port.unwrap_or_default(),
            })
        }
    }
}

/// VRRP settings of an internal proxy, when there is an address to hold.
fn vrrp(file: &ClusterFileV1, node: &NodeEntry) -> Option<Vrrp> {
    file.cluster.proxy_vip?;
    let internal: Vec<&NodeEntry> =
        file.nodes.iter().filter(|other| other.placement == Some(ProxyPlacement::Internal)).collect();
    let index = internal.iter().position(|other| other.hostname == node.hostname)?;
    let step = u8::try_from(index).unwrap_or(u8::MAX);
    Some(Vrrp {
        router_id: router_id(&file.cluster.name),
        priority: VRRP_PRIORITY_FIRST.saturating_sub(step).max(1),
        peers: internal
            .iter()
            .filter(|other| other.hostname != node.hostname)
            .filter_map(|other| legs::address_in(other, Zone::Cluster))
            .collect(),
    })
}

/// Router id out of the cluster name (1 to 255), so that two clusters on one segment rarely meet.
fn router_id(cluster: &str) -> u8 {
    let digest = Sha256::digest(cluster.as_bytes());
    digest.iter().copied().find(|byte| *byte != 0).unwrap_or(1)
}

fn peer(node: &NodeEntry) -> Option<Peer> {
    Some(Peer {
        hostname: node.hostname.clone(),
        role: node.role,
        placement: node.placement,
        cluster_address: legs::address_in(node, Zone::Cluster)?,
        dmz_address: legs::address_in(node, Zone::Dmz),
        cluster_address6: legs::address6_in(node, Zone::Cluster),
        dmz_address6: legs::address6_in(node, Zone::Dmz),
    })
}

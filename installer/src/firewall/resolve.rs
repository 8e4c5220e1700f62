//! How a node config becomes a model.

use super::groups::{members, services};
use super::model::{Group, Leg, LegFacts, Model, NodeKind, PodNetwork};
use super::routing::Routes;
use super::{builtin, egress, operator};
use crate::render::RenderError;
use ipnet::IpNet;
use profiles::node::{Cni, Interface, NodeConfig, Zone};
use std::net::IpAddr;

impl Model {
    /// The model of a node.
    ///
    /// # Errors
    /// When the node config lacks a leg that its role needs.
    pub fn of(node: &NodeConfig) -> Result<Self, RenderError> {
        let kind = NodeKind::of(node);
        let facts = &node.cluster;
        let missing = || RenderError::NoClusterInterface { hostname: node.hostname.clone() };
        let cluster_leg = leg(node.cluster_interface().ok_or_else(missing)?);
        let dmz_leg = node.interfaces.iter().find(|i| i.zone == Zone::Dmz).map(leg);
        if kind == NodeKind::DmzProxy && dmz_leg.is_none() {
            return Err(RenderError::NoDmzInterface { hostname: node.hostname.clone() });
        }
        let mut flows = builtin::flows(node, kind);
        flows.extend(operator::flows(node, kind));
        flows.sort_by(|a, b| a.id.cmp(&b.id));
        let load_balancers = match (&facts.firewall.features.metallb, kind.runs_pods()) {
            (Some(metallb), true) => metallb.pools.clone(),
            _ => vec![],
        };
        let leg_of = |name: &str| match &dmz_leg {
            _ if name == cluster_leg.name => Leg::Cluster,
            Some(dmz) if name == dmz.name => Leg::Dmz,
            _ => Leg::Other,
        };
        Ok(Self {
            hostname: node.hostname.clone(),
            kind,
            addresses: addresses(node, kind),
            routes: Routes::of(&node.network, leg_of),
            cluster_leg,
            dmz_leg,
            cluster_network: members(node, Group::Cluster),
            dmz_network: members(node, Group::Dmz),
            pod_cidr: members(node, Group::Pods),
            service_cidr: services(facts),
            pods: kind.runs_pods().then(|| pod_network(facts.cni, facts.ipv6.kubernetes.is_some())),
            learning: node.network.links().iter().filter(|l| l.auto6).map(|l| l.name.clone()).collect(),
            nodes: members(node, Group::Nodes).iter().map(IpNet::addr).collect(),
            load_balancers,
            flows,
            egress: egress::flows(node, kind),
            gaps: gaps(node, kind),
        })
    }
}

fn leg(interface: &Interface) -> LegFacts {
    LegFacts {
        name: interface.name.clone(),
        address: interface.address,
        has_default_route: interface.gateway.is_some(),
        address6: interface.address6,
        has_default_route6: interface.gateway6.is_some(),
    }
}

fn addresses(node: &NodeConfig, kind: NodeKind) -> Vec<IpAddr> {
    let own = node.interfaces.iter().flat_map(Interface::addresses);
    let virtual_one = match kind {
        NodeKind::Master => node.cluster.api_vip,
        NodeKind::InternalProxy => node.cluster.proxy_vip,
        NodeKind::Worker | NodeKind::DmzProxy => None,
    };
    own.chain(virtual_one.map(IpAddr::from)).collect()
}

fn pod_network(cni: Cni, both_families: bool) -> PodNetwork {
    let devices = match (cni, both_families) {
        // flannel has one tunnel for each family.
        (Cni::FlannelVxlan, false) => vec!["cni0", "flannel.1"],
        (Cni::FlannelVxlan, true) => vec!["cni0", "flannel.1", "flannel-v6.1"],
        (Cni::FlannelWireguard, false) => vec!["cni0", "flannel-wg"],
        (Cni::FlannelWireguard, true) => vec!["cni0", "flannel-wg", "flannel-wg-v6"],
        (Cni::CalicoVxlan, _) => vec!["cali*", "vxlan.calico"],
        (Cni::CalicoBgp, _) => vec!["cali*"],
        (Cni::CiliumVxlan, _) => vec!["cilium_host", "cilium_net", "cilium_vxlan", "lxc*"],
        // What was decrypted comes out of a device of its own.
        (Cni::CiliumWireguard, _) => {
            vec!["cilium_host", "cilium_net", "cilium_vxlan", "cilium_wg0", "lxc*"]
        }
    };
    PodNetwork { devices, routed: cni == Cni::CalicoBgp, replaces_kube_proxy: cni.is_cilium() }
}

/// What this firewall cannot do, said where it counts.
fn gaps(node: &NodeConfig, kind: NodeKind) -> Vec<String> {
    if !kind.runs_pods() || !node.cluster.cni.is_cilium() {
        return vec![];
    }
    vec![
        "Cilium answers NodePorts, hostPorts and load balancer addresses in eBPF before nftables sees a packet: this \
         firewall does not cover them. Cilium's value `devices` keeps them to the cluster interface; there, \
         /etc/metalstrap/cilium-policies.yaml of the masters, once applied, keeps out the DMZ and the outside as far as \
         their addresses are seen, and the rest is for loadBalancerSourceRanges to say"
            .to_owned(),
    ]
}

//! Flows that follow from role, container network and services (ports: Kubernetes, k3s, and each project's own pages).

use super::groups::{exceptions, members};
use super::model::{Flow, Group, Leg, NodeKind, Origin, Service, Target};
use profiles::firewall::PortSpec;
use profiles::node::{Cni, NodeConfig};
use std::net::Ipv4Addr;

/// SSH.
pub(super) const SSH_PORT: u16 = 22;
/// API and supervisor of k3s.
pub(super) const API_PORT: u16 = 6443;
const KUBELET_PORT: u16 = 10250;
/// etcd, client and peer.
const ETCD: PortSpec = PortSpec { first: 2379, ..PortSpec::tcp(2380) };
const BGP_PORT: u16 = 179;
const FLANNEL_WIREGUARD: PortSpec = PortSpec::udp(51820);
/// The tunnel of pods with both families has one port for each.
const FLANNEL_WIREGUARD_BOTH: PortSpec = PortSpec { last: 51821, ..FLANNEL_WIREGUARD };
/// VXLAN of flannel and Cilium (Linux' old default), and of Calico (the registered port).
const VXLAN: PortSpec = PortSpec::udp(8472);
const CALICO_VXLAN: PortSpec = PortSpec::udp(4789);
const CALICO_TYPHA_PORT: u16 = 5473;
const CILIUM_WIREGUARD: PortSpec = PortSpec::udp(51871);
const CILIUM_HEALTH_PORT: u16 = 4240;
const HUBBLE_PORT: u16 = 4244;
/// MetalLB's memberlist, over both protocols.
const MEMBERLIST_PORT: u16 = 7946;

/// Collects flows of one node.
pub(super) struct Flows<'a> {
    node: &'a NodeConfig,
    list: Vec<Flow>,
}

impl Flows<'_> {
    /// Adds a flow from a whole group; none when nobody is in the group.
    fn add(&mut self, id: &str, group: Group, service: Service, why: &str) {
        let leg = if group == Group::Pods { Leg::Pods } else { Leg::Cluster };
        let sources = members(self.node, group);
        if sources.is_empty() {
            return;
        }
        self.list.push(Flow {
            id: id.to_owned(),
            leg,
            group,
            sources,
            whole_group: true,
            except: exceptions(self.node, group),
            target: Target::Local,
            service,
            why: why.to_owned(),
            origin: Origin::Builtin,
            accept_risk: None,
        });
    }

    fn tcp(&mut self, id: &str, group: Group, port: u16, why: &str) {
        self.add(id, group, Service::tcp(&[port]), why);
    }

    fn ports(&mut self, id: &str, group: Group, port: PortSpec, why: &str) {
        self.add(id, group, Service::Ports(vec![port]), why);
    }
}

/// All builtin flows of a node of this kind. Only VRRP peers and the DMZ address are the node's own; the rest would be
/// the same on every node of the kind.
pub(super) fn flows(node: &NodeConfig, kind: NodeKind) -> Vec<Flow> {
    let mut flows = Flows { node, list: vec![] };
    everywhere(&mut flows);
    match kind {
        NodeKind::Master => {
            api(&mut flows);
            flows.ports("etcd-from-masters", Group::Masters, ETCD, "etcd between the masters");
            flows.tcp(
                "api-from-pods",
                Group::Pods,
                API_PORT,
                "pods talk to the API through its service address",
            );
            // The router may be the one that opens the session.
            flows.tcp(
                "bgp-from-api-routers",
                Group::ApiRouters,
                BGP_PORT,
                "routers learn the API address from kube-vip",
            );
            kubernetes(&mut flows);
        }
        NodeKind::Worker => {
            ingress(&mut flows);
            kubernetes(&mut flows);
        }
        NodeKind::InternalProxy => {
            api(&mut flows);
            flows.add(
                "vrrp-from-peers",
                Group::VrrpPeers,
                Service::Vrrp,
                "keepalived agrees who holds the proxy VIP",
            );
        }
        NodeKind::DmzProxy => web(&mut flows),
    }
    flows.list
}

/// Operators, and the other nodes for the view of the whole fleet; a DMZ proxy asks nobody.
fn everywhere(flows: &mut Flows<'_>) {
    let why = "the health report, for operators and for the view of the whole fleet";
    flows.tcp("health-from-admin", Group::Admin, report::AGENT_PORT, why);
    flows.tcp("health-from-internal-proxies", Group::InternalProxies, report::AGENT_PORT, why);
    flows.tcp("health-from-nodes", Group::Nodes, report::AGENT_PORT, why);
    flows.tcp("ssh-from-admin", Group::Admin, SSH_PORT, "operators log in");
}

fn api(flows: &mut Flows<'_>) {
    flows.tcp("api-from-admin", Group::Admin, API_PORT, "operators use the Kubernetes API");
    flows.tcp(
        "api-from-internal-proxies",
        Group::InternalProxies,
        API_PORT,
        "the internal proxies balance the API",
    );
    flows.tcp(
        "api-from-nodes",
        Group::Nodes,
        API_PORT,
        "k3s on every node talks to the API and joins through it",
    );
}

fn ingress(flows: &mut Flows<'_>) {
    let mut ports = flows.node.cluster.ingress_node_ports.clone();
    ports.sort_unstable();
    if !ports.is_empty() {
        let why = "the DMZ proxies pass web traffic to the ingress";
        flows.add("ingress-from-dmz-proxies", Group::DmzProxies, Service::tcp(&ports), why);
    }
}

fn web(flows: &mut Flows<'_>) {
    let leg = flows.node.dmz_interface();
    // On a peer's behalf (egress) nobody asks for this address.
    let own = leg.map_or(Ipv4Addr::UNSPECIFIED, |leg| leg.address.addr());
    let own6 = leg.and_then(|leg| leg.address6).map(|address| address.addr());
    flows.list.push(Flow {
        id: "web-from-outside".to_owned(),
        leg: Leg::Dmz,
        group: Group::Wan,
        sources: members(flows.node, Group::Wan),
        whole_group: true,
        except: vec![],
        target: Target::Address(own, own6),
        service: Service::tcp(&[80, 443]),
        why: "everybody may reach the web through the DMZ proxy".to_owned(),
        origin: Origin::Builtin,
        accept_risk: None,
    });
}

/// What masters and workers have in common.
fn kubernetes(flows: &mut Flows<'_>) {
    let kubelet = "the kubelet, for the API server and for metrics";
    flows.tcp("kubelet-from-nodes", Group::Nodes, KUBELET_PORT, kubelet);
    flows.tcp("kubelet-from-pods", Group::Pods, KUBELET_PORT, kubelet);
    container_network(flows);
    let features = &flows.node.cluster.firewall.features;
    let (hubble, mesh) = (features.hubble, features.clustermesh.clone());
    let metallb = features.metallb.is_some();
    if hubble {
        let why = "Hubble relay collects the flow logs of the nodes";
        flows.tcp("hubble-from-nodes", Group::Nodes, HUBBLE_PORT, why);
        flows.tcp("hubble-from-pods", Group::Pods, HUBBLE_PORT, why);
    }
    if let Some(mesh) = mesh {
        let remote = Group::RemoteNodes;
        flows.tcp(
            "clustermesh-api",
            remote,
            mesh.node_port,
            "the other cluster reads our services (ClusterMesh)",
        );
        flows.ports("clustermesh-tunnel", remote, VXLAN, "pods of both clusters talk (ClusterMesh)");
        flows.tcp(
            "clustermesh-health",
            remote,
            CILIUM_HEALTH_PORT,
            "Cilium probes the nodes of the other cluster",
        );
        if flows.node.cluster.cni == Cni::CiliumWireguard {
            flows.ports(
                "clustermesh-wireguard",
                remote,
                CILIUM_WIREGUARD,
                "the tunnel to the other cluster, encrypted",
            );
        }
    }
    if metallb {
        let both = vec![PortSpec::tcp(MEMBERLIST_PORT), PortSpec::udp(MEMBERLIST_PORT)];
        flows.add(
            "metallb-from-nodes",
            Group::Nodes,
            Service::Ports(both),
            "MetalLB finds out which nodes are alive",
        );
        load_balancers(flows);
    }
}

fn container_network(flows: &mut Flows<'_>) {
    let nodes = Group::Nodes;
    let overlay = "pods of different nodes talk through this tunnel";
    match flows.node.cluster.cni {
        Cni::FlannelVxlan => flows.ports("flannel-from-nodes", nodes, VXLAN, overlay),
        Cni::FlannelWireguard => {
            let both = flows.node.cluster.ipv6.kubernetes.is_some();
            let port = if both { FLANNEL_WIREGUARD_BOTH } else { FLANNEL_WIREGUARD };
            flows.ports("flannel-from-nodes", nodes, port, overlay);
        }
        Cni::CalicoVxlan => flows.ports("calico-from-nodes", nodes, CALICO_VXLAN, overlay),
        Cni::CalicoBgp => {
            let why = "nodes and routers tell each other the routes to pods";
            flows.tcp("bgp-from-nodes", nodes, BGP_PORT, why);
            flows.tcp("bgp-from-routers", Group::BgpRouters, BGP_PORT, why);
        }
        Cni::CiliumVxlan => flows.ports("cilium-from-nodes", nodes, VXLAN, overlay),
        Cni::CiliumWireguard => {
            flows.ports("cilium-from-nodes", nodes, VXLAN, overlay);
            flows.ports(
                "cilium-wireguard-from-nodes",
                nodes,
                CILIUM_WIREGUARD,
                "the tunnel between nodes, encrypted",
            );
        }
    }
    if flows.node.cluster.cni.is_calico() {
        let why = "Calico's Typha passes the state of the API on to the nodes";
        flows.tcp("typha-from-nodes", nodes, CALICO_TYPHA_PORT, why);
    }
    if flows.node.cluster.cni.is_cilium() {
        flows.tcp("cilium-health-from-nodes", nodes, CILIUM_HEALTH_PORT, "Cilium probes the other nodes");
    }
}

/// What a service of type LoadBalancer publishes is meant for the cluster network; others need a flow of the operator.
fn load_balancers(flows: &mut Flows<'_>) {
    let all = |first: PortSpec| PortSpec { last: u16::MAX, ..first };
    let service = Service::Ports(vec![all(PortSpec::tcp(1)), all(PortSpec::udp(1))]);
    let why = "services of type LoadBalancer, for hosts of the cluster network";
    flows.add("load-balancers-from-cluster", Group::Cluster, service, why);
    if let Some(flow) = flows.list.last_mut().filter(|flow| flow.id == "load-balancers-from-cluster") {
        flow.target = Target::LoadBalancer;
    }
}

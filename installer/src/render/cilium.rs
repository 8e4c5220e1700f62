//! On masters, what the operator gives Cilium so that it fits this cluster; metalstrap does not install it.
//!
//! `/etc/metalstrap/cilium-values.yaml` is for its chart. `devices` is what limits NodePorts: Cilium answers them in eBPF before nftables
//! sees a packet, and only on the interfaces named here. `k8sServiceHost` is k3s' own load balancer on every node, as there is no
//! kube-proxy.
//!
//! `/etc/metalstrap/cilium-policies.yaml` says to Cilium what the host firewall says to everybody else: from a zone out of which no flow
//! leads to a master, a worker or a load balancer, pods take nothing.

use super::Input;
use super::error::RenderError;
use super::output::Output;
use super::text::{HEADER, dns_name, interface_name};
use ipnet::{IpNet, Ipv4Net};
use profiles::firewall::{FlowFrom, FlowTo};
use profiles::node::{ClusterFacts, Cni, Role};
use serde_json::{Value, json};
use std::net::IpAddr;

const VALUES: &str = "/etc/metalstrap/cilium-values.yaml";
const POLICIES: &str = "/etc/metalstrap/cilium-policies.yaml";

/// What a reader of the policies must know before anything else.
const POLICIES_HEAD: &str = "\
# For: kubectl apply -f, with Cilium 1.16 or later. An earlier one does not know enableDefaultDeny, and would close all pods.
# A client is known by its address only as long as the packet carries it: Cilium replaces it on the way to a pod on another node, unless
# the service has externalTrafficPolicy: Local.
";

/// k3s' load balancer to the API servers, on loopback of every node.
const LOCAL_API_PORT: &str = "6444";

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    let facts = &input.node.cluster;
    if input.node.role.role() != Role::Master || !facts.cni.is_cilium() {
        return Ok(());
    }
    let features = &facts.firewall.features;
    let mut values = json!({
        "cluster": { "name": dns_name("cluster name", &facts.name)? },
        "devices": interface_name(&input.cluster_interface()?.name)?,
        "kubeProxyReplacement": "true",
        "k8sServiceHost": "127.0.0.1",
        "k8sServicePort": LOCAL_API_PORT,
        // The chart's own default, 10.0.0.0/8, overlaps the cluster network.
        "ipam": { "mode": "kubernetes" },
        "routingMode": "tunnel",
        "tunnelProtocol": "vxlan",
        "bpf": { "masquerade": true },
        "hubble": { "enabled": features.hubble, "relay": { "enabled": features.hubble } },
        "operator": { "replicas": input.node.peers_with(Role::Master).count().min(2) },
    });
    if facts.cni == Cni::CiliumWireguard {
        values["encryption"] = json!({ "enabled": true, "type": "wireguard" });
    }
    if let Some(mesh) = &features.clustermesh {
        let service = json!({ "type": "NodePort", "nodePort": mesh.node_port });
        values["clustermesh"] = json!({ "useAPIServer": true, "apiserver": { "service": service } });
    }
    output.file(VALUES, format!("{HEADER}{}", to_yaml(VALUES, &values)?));
    if let Some(policy) = policy(facts) {
        output.file(POLICIES, format!("{HEADER}{POLICIES_HEAD}{}", to_yaml(POLICIES, &policy)?));
    }
    Ok(())
}

fn to_yaml(path: &'static str, value: &Value) -> Result<String, RenderError> {
    serde_yaml_ng::to_string(value).map_err(|source| RenderError::Encode { path, source: source.into() })
}

/// One policy for all pods; `None` when flows lead in from everywhere. IPv4 only, as pods are.
fn policy(facts: &ClusterFacts) -> Option<Value> {
    let outside = IpNet::V4(Ipv4Net::default());
    let dmz = facts.dmz_network.and_then(|range| Some((IpNet::V4(range), let_in(facts, FlowFrom::Dmz)?)));
    let wan = let_in(facts, FlowFrom::Wan).map(|sources| (outside, [sources, known_ranges(facts)].concat()));
    let closed: Vec<Value> = dmz.into_iter().chain(wan).map(|(range, except)| deny(range, except)).collect();
    (!closed.is_empty()).then(|| {
        json!({
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumClusterwideNetworkPolicy",
            "metadata": { "name": "metalstrap-outside" },
            "spec": {
                "description": "From where no flow of the cluster file leads in, pods take nothing.",
                "endpointSelector": {},
                "enableDefaultDeny": { "ingress": false, "egress": false },
                "ingressDeny": [{ "fromCIDRSet": closed }],
            },
        })
    })
}

/// The sources of a zone for which flows lead to pods; `None` when one does for all of it.
fn let_in(facts: &ClusterFacts, zone: FlowFrom) -> Option<Vec<IpNet>> {
    let has_pods = |to: FlowTo| matches!(to, FlowTo::Master | FlowTo::Worker | FlowTo::LoadBalancer);
    let mut flows = facts.firewall.flows.iter().filter(|flow| flow.from == zone && has_pods(flow.to));
    flows.try_fold(vec![], |mut all, flow| {
        all.extend(&flow.sources);
        (!flow.sources.is_empty()).then_some(all)
    })
}

/// A range without some others, of which the widest are enough.
fn deny(range: IpNet, except: Vec<IpNet>) -> Value {
    let mut except: Vec<IpNet> = except.iter().filter(|net| net.addr().is_ipv4()).map(IpNet::trunc).collect();
    except.sort_unstable();
    except.dedup();
    let is_widest = |net: &&IpNet| !except.iter().any(|other| other != *net && other.contains(*net));
    let widest: Vec<&IpNet> = except.iter().filter(is_widest).collect();
    if widest.is_empty() {
        return json!({ "cidr": range.trunc() });
    }
    json!({ "cidr": range.trunc(), "except": widest })
}

/// Everything that is not outside.
fn known_ranges(facts: &ClusterFacts) -> Vec<IpNet> {
    let own = [facts.cluster_network, facts.pod_cidr, facts.service_cidr].map(IpNet::V4);
    let mesh = facts.firewall.features.clustermesh.iter().flat_map(|mesh| &mesh.nodes);
    own.into_iter()
        .chain(facts.dmz_network.map(IpNet::V4))
        .chain(facts.admin_sources.iter().copied())
        .chain(mesh.map(|node| IpNet::from(IpAddr::V4(*node))))
        .collect()
}

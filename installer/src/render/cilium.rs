//! `/etc/metalstrap/cilium-values.yaml` on masters: what Cilium's chart must be given so that it fits this cluster. metalstrap
//! does not install Cilium.
//!
//! `devices` is what limits NodePorts: Cilium answers them in eBPF before nftables sees a packet, and only on the interfaces
//! named here. `k8sServiceHost` is k3s' own load balancer on every node, as there is no kube-proxy.

use super::Input;
use super::error::RenderError;
use super::output::Output;
use super::text::{HEADER, dns_name, interface_name};
use profiles::node::{Cni, Role};
use serde_json::json;

const VALUES: &str = "/etc/metalstrap/cilium-values.yaml";

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
    let yaml = serde_yaml_ng::to_string(&values)
        .map_err(|source| RenderError::Encode { path: VALUES, source: source.into() })?;
    output.file(VALUES, format!("{HEADER}{yaml}"));
    Ok(())
}

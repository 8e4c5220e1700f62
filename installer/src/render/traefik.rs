//! `metalstrap-traefik.yaml` on masters: how the Traefik that k3s brings listens where the DMZ proxies look for the ingress. Left to
//! itself its service gets NodePorts at random. k3s' deploy controller watches the folder and brings a change to the cluster.

use super::Input;
use super::error::RenderError;
use super::k3s_config::{SERVICE_LB, disabled};
use super::output::Output;
use super::text::HEADER;
use profiles::node::Role;
use serde_json::{Value, json};

/// The folder that k3s makes itself when it is missing, with this mode.
const SERVER_FOLDER: &str = "/var/lib/rancher/k3s/server";
const MANIFESTS: &str = "/var/lib/rancher/k3s/server/manifests";
const MANIFEST: &str = "/var/lib/rancher/k3s/server/manifests/metalstrap-traefik.yaml";

/// Name of Traefik among k3s' components, and of its chart.
const TRAEFIK: &str = "traefik";

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    let node = input.node;
    let ([http, https], Some(kubernetes), Role::Master) =
        (node.cluster.ingress_node_ports.as_slice(), &node.kubernetes, node.role.role())
    else {
        return Ok(());
    };
    let disabled = disabled(node, kubernetes)?;
    if disabled.contains(&TRAEFIK) {
        return Ok(());
    }
    let mut values = json!({ "ports": { "web": { "nodePort": http }, "websecure": { "nodePort": https } } });
    // A load balancer that is there keeps its service, which has NodePorts too.
    if disabled.contains(&SERVICE_LB) && node.cluster.firewall.features.metallb.is_none() {
        values["service"] = json!({ "type": "NodePort" });
    }
    let config = json!({
        "apiVersion": "helm.cattle.io/v1",
        "kind": "HelmChartConfig",
        "metadata": { "name": TRAEFIK, "namespace": "kube-system" },
        "spec": { "valuesContent": encode(&values)? },
    });
    output.private_directory(SERVER_FOLDER);
    output.private_directory(MANIFESTS);
    output.private_file(MANIFEST, format!("{HEADER}{}", encode(&config)?));
    Ok(())
}

fn encode(value: &Value) -> Result<String, RenderError> {
    serde_yaml_ng::to_string(value)
        .map_err(|source| RenderError::Encode { path: MANIFEST, source: source.into() })
}

//! The kube-vip static pod that holds the API VIP on one of the masters.
//!
//! Why these values: k3s' kubeconfig is mounted where kube-vip looks for it, as `File`, so that no folder is made in its
//! place; `kubernetes` is a name in k3s' certificate; the lease times ride out a slow etcd; metrics stay on loopback.

use super::Input;
use super::error::RenderError;
use super::k3s_config::API_PORT;
use super::output::Output;
use super::text::{HEADER, interface_name, word};
use profiles::firewall::KubeVipBgp;
use profiles::node::Role;
use serde_json::{Value, json};

/// Where the address is when it is announced by BGP: the node's own, and on no wire.
pub(super) const LOOPBACK: &str = "lo";

const MANIFEST: &str = "/var/lib/rancher/k3s/agent/pod-manifests/kube-vip.yaml";

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    let Some(vip) = input.node.cluster.api_vip.filter(|_| input.node.role.role() == Role::Master) else {
        return Ok(());
    };
    let interface = interface_name(&input.cluster_interface()?.name)?;
    let image = word("kube-vip image", &input.context.kube_vip_image, "-._/:@")?;
    let own = input.cluster_interface()?.address.addr().to_string();
    let bgp = input.node.cluster.firewall.features.kube_vip_bgp.as_ref();
    let pod = pod(image, environment(interface, &vip.to_string(), bgp.map(|bgp| bgp_values(bgp, &own))));
    let yaml = serde_yaml_ng::to_string(&pod)
        .map_err(|source| RenderError::Encode { path: MANIFEST, source: source.into() })?;
    output.private_file(MANIFEST, format!("{HEADER}{yaml}"));
    Ok(())
}

/// With BGP every master announces the address, and the routers share the load: no leader, no ARP.
fn bgp_values(bgp: &KubeVipBgp, own: &str) -> Vec<(&'static str, String)> {
    let peers: Vec<String> =
        bgp.routers.iter().map(|router| format!("{router}:{}::false", bgp.router_as)).collect();
    vec![
        ("bgp_enable", "true".to_owned()),
        ("bgp_routerid", own.to_owned()),
        ("bgp_as", bgp.local_as.to_string()),
        ("bgp_peers", peers.join(",")),
    ]
}

fn environment(interface: &str, vip: &str, bgp: Option<Vec<(&'static str, String)>>) -> Vec<Value> {
    let port = API_PORT.to_string();
    let (arp, interface) = if bgp.is_some() { ("false", LOOPBACK) } else { ("true", interface) };
    let values = [
        ("vip_arp", arp),
        ("port", &port),
        ("vip_interface", interface),
        ("vip_cidr", "32"),
        ("cp_enable", "true"),
        ("cp_namespace", "kube-system"),
        ("svc_enable", "false"),
        ("lb_enable", "false"),
        ("vip_leaderelection", arp),
        ("vip_leasename", "plndr-cp-lock"),
        ("vip_leaseduration", "15"),
        ("vip_renewdeadline", "10"),
        ("vip_retryperiod", "2"),
        ("address", vip),
        ("prometheus_server", "127.0.0.1:2112"),
    ];
    let mut environment: Vec<Value> =
        values.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let bgp = bgp.into_iter().flatten();
    environment.extend(bgp.map(|(name, value)| json!({ "name": name, "value": value })));
    environment.push(
        json!({ "name": "vip_nodename", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }),
    );
    environment
}

fn pod(image: &str, environment: Vec<Value>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "kube-vip",
            "namespace": "kube-system",
            "labels": { "app.kubernetes.io/name": "kube-vip" },
        },
        "spec": {
            "hostNetwork": true,
            "priorityClassName": "system-node-critical",
            "hostAliases": [{ "ip": "127.0.0.1", "hostnames": ["kubernetes"] }],
            "containers": [{
                "name": "kube-vip",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "args": ["manager"],
                "env": environment,
                "securityContext": { "capabilities": { "add": ["NET_ADMIN", "NET_RAW"] } },
                "volumeMounts": [{
                    "name": "kubeconfig",
                    "mountPath": "/etc/kubernetes/admin.conf",
                    "readOnly": true,
                }],
            }],
            "volumes": [{
                "name": "kubeconfig",
                "hostPath": { "path": "/etc/rancher/k3s/k3s.yaml", "type": "File" },
            }],
        },
    })
}

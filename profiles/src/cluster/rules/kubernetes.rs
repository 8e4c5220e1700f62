//! What Kubernetes takes: labels, taints, kernel parameters; and which profile key belongs to which role.

use super::findings::Findings;
use super::view::View;
use crate::code::Code;
use crate::format::parse_taint;
use crate::node::{KUBELET_SYSCTLS, ProxyPlacement, Role};
use crate::path::KeyPath;
use crate::profile::{ProfileV1, shipped};
use std::collections::{BTreeMap, BTreeSet};

/// Labels of the reserved domains that a kubelet may give itself (Kubernetes' `kubeletLabels`).
const KUBELET_LABELS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Reserved domains in which, and below which, a kubelet may give itself any label.
const KUBELET_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// The domains that Kubernetes keeps for itself.
const RESERVED_DOMAINS: [&str; 2] = ["kubernetes.io", "k8s.io"];

fn is_in(prefix: &str, domain: &str) -> bool {
    prefix.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether a kubelet may give itself this label (NodeRestriction).
fn is_allowed_label(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else { return true };
    let reserved = RESERVED_DOMAINS.iter().any(|domain| is_in(prefix, domain));
    !reserved || KUBELET_LABELS.contains(&key) || KUBELET_DOMAINS.iter().any(|domain| is_in(prefix, domain))
}

/// Labels and taints of the nodes.
pub(super) fn labels_and_taints(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for node in &view.nodes {
        let entry = &node.entry;
        if node.is(Role::Proxy) {
            for (key, given) in [("labels", !entry.labels.is_empty()), ("taints", entry.taints.is_some())] {
                if given {
                    let message = format!("`{}` is a proxy, not a Kubernetes node", entry.hostname);
                    findings.key(Code::KubernetesOnProxy, &node.path.key(key), message);
                }
            }
            continue;
        }
        labels(findings, &node.path.key("labels"), &entry.labels);
        taints(findings, &node.path.key("taints"), entry.taints.as_deref().unwrap_or_default());
    }
}

fn labels(findings: &mut Findings<'_, '_>, path: &KeyPath, labels: &BTreeMap<String, String>) {
    for key in labels.keys().filter(|key| !is_allowed_label(key)) {
        findings.key(Code::LabelForbidden, &path.key(key), "a kubelet may not give itself this label");
    }
}

fn taints(findings: &mut Findings<'_, '_>, path: &KeyPath, taints: &[String]) {
    let mut seen = BTreeSet::new();
    for (n, taint) in taints.iter().enumerate() {
        if parse_taint(taint).is_some_and(|taint| !seen.insert(taint)) {
            findings.value(
                Code::TaintDuplicate,
                &path.index(n),
                format!("`{taint}` repeats a key and effect"),
            );
        }
    }
}

/// The changes to the shipped profiles.
pub(super) fn profiles(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let Some(profiles) = &view.profiles else { return };
    for (role, profile) in
        [(Role::Master, &profiles.master), (Role::Worker, &profiles.worker), (Role::Proxy, &profiles.proxy)]
    {
        let path = KeyPath::of("profiles").key(&role.to_string());
        foreign_keys(findings, &path, role, profile);
        if role == Role::Proxy {
            node_ports(findings, &path, profile);
            continue;
        }
        labels(findings, &path.key("labels"), &profile.labels);
        taints(findings, &path.key("taints"), profile.taints.as_deref().unwrap_or_default());
        for (key, needed) in KUBELET_SYSCTLS {
            if profile.sysctls.get(key).is_some_and(|value| value != needed) {
                let message = format!("the kubelet insists on {needed}");
                findings.value(Code::SysctlProtected, &path.key("sysctls").key(key), message);
            }
        }
    }
}

/// Keys that the role does not have.
fn foreign_keys(findings: &mut Findings<'_, '_>, path: &KeyPath, role: Role, profile: &ProfileV1) {
    let kubernetes = [Role::Master, Role::Worker];
    let keys: [(&str, bool, &[Role]); 8] = [
        ("labels", !profile.labels.is_empty(), &kubernetes),
        ("taints", profile.taints.is_some(), &kubernetes),
        ("kubelet_args", !profile.kubelet_args.is_empty(), &kubernetes),
        ("disable", profile.disable.is_some(), &[Role::Master]),
        ("secrets_encryption", profile.secrets_encryption.is_some(), &[Role::Master]),
        ("etcd_snapshot_retention", profile.etcd_snapshot_retention.is_some(), &[Role::Master]),
        ("ingress_http_node_port", profile.ingress_http_node_port.is_some(), &[Role::Proxy]),
        ("ingress_https_node_port", profile.ingress_https_node_port.is_some(), &[Role::Proxy]),
    ];
    for (key, given, roles) in keys {
        if given && !roles.contains(&role) {
            findings.key(
                Code::ProfileKeyRole,
                &path.key(key),
                format!("the profile of a {role} has no `{key}`"),
            );
        }
    }
}

/// HTTP and HTTPS come in by different NodePorts.
fn node_ports(findings: &mut Findings<'_, '_>, path: &KeyPath, change: &ProfileV1) {
    let Ok(profile) = shipped(Role::Proxy).map(|profile| profile.overlaid_with(change)) else { return };
    if let Some(port) = profile.ingress_https_node_port
        && profile.ingress_http_node_port == Some(port)
    {
        let message = format!("HTTP and HTTPS would both come in by NodePort {port}");
        findings.key(Code::NodePortSame, &path.key("ingress_https_node_port"), message);
    }
}

/// ClusterMesh does not come in where a DMZ proxy sends what is for the ingress.
pub(super) fn mesh_node_port(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let (Some(features), Some(profiles)) = (&view.features, &view.profiles) else { return };
    let has_ingress = view.nodes.iter().any(|node| node.entry.placement == Some(ProxyPlacement::Dmz));
    let Some(mesh) = features.clustermesh.as_ref().filter(|_| has_ingress) else { return };
    let Ok(proxy) = shipped(Role::Proxy).map(|profile| profile.overlaid_with(&profiles.proxy)) else {
        return;
    };
    let ingress = [("HTTP", proxy.ingress_http_node_port), ("HTTPS", proxy.ingress_https_node_port)];
    for (name, _) in ingress.iter().filter(|(_, port)| *port == Some(mesh.node_port)) {
        let message = format!("NodePort {} is that of the ingress for {name}", mesh.node_port);
        findings.value(Code::NodePortSame, &KeyPath::of("features.clustermesh.node_port"), message);
    }
}

#[cfg(test)]
mod tests {
    use super::is_allowed_label;
    use crate::node::{KUBELET_SYSCTLS, Role};
    use crate::profile::shipped;

    #[test]
    fn kubelets_keep_out_of_the_reserved_domains() {
        for key in [
            "rack",
            "example.org/x",
            "notkubernetes.io/x",
            "topology.kubernetes.io/zone",
            "a.node.kubernetes.io/b",
        ] {
            assert!(is_allowed_label(key), "{key}");
        }
        for key in [
            "node-role.kubernetes.io/worker",
            "node-restriction.kubernetes.io/a",
            "topology.kubernetes.io/rack",
            "k8s.io/a",
            "kubernetes.io/role",
        ] {
            assert!(!is_allowed_label(key), "{key}");
        }
    }

    #[test]
    fn shipped_profiles_have_the_values_the_kubelet_insists_on() {
        for role in [Role::Master, Role::Worker] {
            let profile = shipped(role).unwrap();
            for (key, value) in KUBELET_SYSCTLS {
                assert_eq!(profile.sysctls.get(key).map(String::as_str), Some(value), "{role} {key}");
            }
        }
    }
}

//! `/etc/rancher/k3s/config.yaml` and the token files. Everything k3s would otherwise guess is said: addresses,
//! interface, names in the certificate, resolver.

use super::Input;
use super::error::RenderError;
use super::hosts::RESOLV_CONF;
use super::output::Output;
use super::text::{HEADER, dns_name, interface_name, line};
use profiles::node::{Cni, KubernetesConfig, NodeConfig, Peer, ProxyPlacement, Role, RoleConfig};
use profiles::secret::Secret;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::Ipv4Addr;

/// k3s' configuration file.
pub(super) const CONFIG: &str = "/etc/rancher/k3s/config.yaml";
const SERVER_TOKEN: &str = "/etc/rancher/k3s/server-token";
const AGENT_TOKEN: &str = "/etc/rancher/k3s/agent-token";

/// What k3s proves a node by. It makes the file itself where there is none.
const NODE_FOLDER: &str = "/etc/rancher/node";
pub(crate) const NODE_PASSWORD: &str = "/etc/rancher/node/password";

/// k3s' own load balancer, which listens on every node.
pub(super) const SERVICE_LB: &str = "servicelb";

/// Port of the API and of k3s' supervisor.
pub(super) const API_PORT: u16 = 6443;

/// Keys of `k3s agent`, which `k3s server` has too.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct NodeKeys<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    token_file: &'static str,
    node_name: &'a str,
    node_ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    flannel_iface: Option<&'a str>,
    resolv_conf: &'static str,
    protect_kernel_defaults: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    node_label: Vec<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    node_taint: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    kubelet_arg: &'a [String],
}

/// Keys of `k3s server` alone.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ServerKeys<'a> {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cluster_init: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_token_file: Option<&'static str>,
    advertise_address: Ipv4Addr,
    tls_san: Vec<String>,
    cluster_cidr: String,
    service_cidr: String,
    cluster_dns: String,
    flannel_backend: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    flannel_ipv6_masq: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disable_network_policy: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disable_kube_proxy: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disable: Vec<&'a str>,
    secrets_encryption: bool,
    /// A string: as a bare number YAML 1.1 reads it as octal.
    write_kubeconfig_mode: &'static str,
    etcd_snapshot_retention: u16,
}

#[derive(Serialize)]
struct MasterFile<'a> {
    #[serde(flatten)]
    node: NodeKeys<'a>,
    #[serde(flatten)]
    server: ServerKeys<'a>,
}

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    let role = input.node.role.role();
    if role == Role::Proxy {
        return Ok(());
    }
    let missing = || RenderError::NoKubernetes { hostname: input.node.hostname.clone(), role };
    let kubernetes = input.node.kubernetes.as_ref().ok_or_else(missing)?;
    let yaml = match &input.node.role {
        RoleConfig::Master { forms_cluster } => master(input, kubernetes, *forms_cluster, output)?,
        _ => worker(input, kubernetes, output)?,
    };
    output.private_directory("/etc/rancher");
    output.private_directory("/etc/rancher/k3s");
    if let Some(password) = &input.secrets.node_password {
        output.private_directory(NODE_FOLDER);
        output.secret_file(NODE_PASSWORD, password);
    }
    output.private_file(CONFIG, format!("{HEADER}{yaml}"));
    Ok(())
}

fn master(
    input: &Input<'_>,
    kubernetes: &KubernetesConfig,
    forms_cluster: bool,
    output: &mut Output,
) -> Result<String, RenderError> {
    let forms = forms_cluster && !input.context.cluster_exists;
    let server = if forms { None } else { Some(join_address(input.node)?) };
    output.secret_file(SERVER_TOKEN, require(input, input.secrets.server_token.as_ref(), "server token")?);
    // Without a token of its own k3s would hand the server token to every worker.
    let has_workers = input.node.peers_with(Role::Worker).next().is_some();
    let agent_token = match &input.secrets.agent_token {
        None if !has_workers => None,
        token => Some(require(input, token.as_ref(), "agent token")?),
    };
    if let Some(token) = agent_token {
        output.secret_file(AGENT_TOKEN, &bare_password(token));
    }
    let facts = &input.node.cluster;
    let six = facts.ipv6.kubernetes.as_ref();
    let file = MasterFile {
        node: node_keys(input, kubernetes, server, SERVER_TOKEN)?,
        server: ServerKeys {
            cluster_init: forms,
            agent_token_file: agent_token.map(|_| AGENT_TOKEN),
            advertise_address: input.cluster_interface()?.address.addr(),
            tls_san: tls_san(input.node)?,
            cluster_cidr: both(facts.pod_cidr, six.map(|six| six.pod_cidr)),
            service_cidr: both(facts.service_cidr, six.map(|six| six.service_cidr)),
            cluster_dns: both(facts.cluster_dns, six.map(|six| six.cluster_dns)),
            flannel_backend: match facts.cni {
                Cni::FlannelVxlan => "vxlan",
                Cni::FlannelWireguard => "wireguard-native",
                Cni::CalicoVxlan | Cni::CalicoBgp | Cni::CiliumVxlan | Cni::CiliumWireguard => "none",
            },
            // Pod ranges are private to the cluster: nobody outside knows the way back to them.
            flannel_ipv6_masq: six.is_some(),
            // The container network has its own.
            disable_network_policy: !facts.cni.is_flannel(),
            disable_kube_proxy: facts.cni.is_cilium(),
            disable: disabled(input.node, kubernetes)?,
            secrets_encryption: kubernetes.secrets_encryption,
            write_kubeconfig_mode: "0600",
            etcd_snapshot_retention: kubernetes.etcd_snapshot_retention,
        },
    };
    encode(&file)
}

/// One value, or one of each family as k3s wants them: IPv4 first, which makes it the first family of services and pods.
fn both(four: impl Display, six: Option<impl Display>) -> String {
    six.map_or_else(|| four.to_string(), |six| format!("{four},{six}"))
}

/// The password inside a secure agent token (`K10<CA hash>::node:<password>`), or the token itself when it is one. A
/// server compares the content of `agent-token-file` with the bare password that a joining agent sends; with the whole
/// token in the file every worker would get 401.
fn bare_password(token: &Secret) -> Secret {
    let text = token.expose();
    let password = text.strip_prefix("K10").and_then(|rest| rest.split_once("::node:"));
    Secret::new(password.map_or(text, |(_, password)| password))
}

/// A worker presents the agent token, under the key `token-file`: `agent-token-file` is a key of servers.
fn worker(
    input: &Input<'_>,
    kubernetes: &KubernetesConfig,
    output: &mut Output,
) -> Result<String, RenderError> {
    output.secret_file(AGENT_TOKEN, require(input, input.secrets.agent_token.as_ref(), "agent token")?);
    encode(&node_keys(input, kubernetes, Some(join_address(input.node)?), AGENT_TOKEN)?)
}

fn node_keys<'a>(
    input: &'a Input<'_>,
    kubernetes: &'a KubernetesConfig,
    server: Option<String>,
    token_file: &'static str,
) -> Result<NodeKeys<'a>, RenderError> {
    let interface = input.cluster_interface()?;
    let pods6 = input.node.cluster.ipv6.kubernetes.as_ref();
    Ok(NodeKeys {
        server,
        token_file,
        node_name: dns_name("host name", &input.node.hostname)?,
        // Of the families the pods have, no more and no less: k3s refuses anything else.
        node_ip: both(interface.address.addr(), pods6.and(interface.address6).map(|six| six.addr())),
        flannel_iface: input
            .node
            .cluster
            .cni
            .is_flannel()
            .then(|| interface_name(&interface.name))
            .transpose()?,
        resolv_conf: RESOLV_CONF,
        protect_kernel_defaults: true,
        node_label: labels(&kubernetes.labels)?,
        node_taint: plain(&kubernetes.taints, "node taint")?,
        kubelet_arg: plain(&kubernetes.kubelet_args, "kubelet argument")?,
    })
}

/// Components of k3s that are left out; its load balancer too when MetalLB is there, or Cilium in the place of kube-proxy.
pub(super) fn disabled<'a>(
    node: &NodeConfig,
    kubernetes: &'a KubernetesConfig,
) -> Result<Vec<&'a str>, RenderError> {
    let mut list: Vec<&str> =
        plain(&kubernetes.disable, "disabled component")?.iter().map(String::as_str).collect();
    let replaced = node.cluster.firewall.features.metallb.is_some() || node.cluster.cni.is_cilium();
    if replaced && !list.contains(&SERVICE_LB) {
        list.push(SERVICE_LB);
    }
    Ok(list)
}

/// The API VIP; without one the initial master, or, when that is this node, the first other master.
fn join_address(node: &NodeConfig) -> Result<String, RenderError> {
    let other =
        || node.peers_with(Role::Master).find(|p| p.hostname != node.hostname).map(|p| p.cluster_address);
    let address = node.cluster.api_vip.or_else(other);
    let address = address.ok_or_else(|| RenderError::NothingToJoin { hostname: node.hostname.clone() })?;
    Ok(format!("https://{address}:{API_PORT}"))
}

/// Every address and name of the API: the same list, in the same order, on every master.
fn tls_san(node: &NodeConfig) -> Result<Vec<String>, RenderError> {
    let facts = &node.cluster;
    let internal = |p: &&Peer| p.placement == Some(ProxyPlacement::Internal);
    let addresses = facts
        .api_vip
        .into_iter()
        .chain(facts.proxy_vip)
        .chain(node.peers_with(Role::Proxy).filter(internal).map(|p| p.cluster_address))
        .chain(node.peers_with(Role::Master).map(|p| p.cluster_address));
    let mut names: Vec<String> = addresses.map(|a| a.to_string()).collect();
    let six = node.peers_with(Role::Master).filter_map(|p| p.cluster_address6);
    names.extend(six.map(|a| a.to_string()));
    // `/etc/hosts` of every node leads there.
    let domain = dns_name("domain", &facts.domain)?;
    for master in node.peers_with(Role::Master) {
        names.push(format!("{}.{domain}", dns_name("host name", &master.hostname)?));
    }
    for name in &facts.api_names {
        names.push(line("API name", name)?.to_owned());
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

fn labels(labels: &BTreeMap<String, String>) -> Result<Vec<String>, RenderError> {
    let pair = |(key, value): (&String, &String)| {
        let pair = format!("{key}={value}");
        line("node label", &pair).map(str::to_owned)
    };
    labels.iter().map(pair).collect()
}

/// The list, if each value is one plain line: k3s splices them into command lines of its own.
fn plain<'a>(values: &'a [String], field: &'static str) -> Result<&'a [String], RenderError> {
    for value in values {
        line(field, value)?;
    }
    Ok(values)
}

/// The secret, if it is there and k3s reads back what was written.
fn require<'a>(
    input: &Input<'_>,
    secret: Option<&'a Secret>,
    name: &'static str,
) -> Result<&'a Secret, RenderError> {
    let node = input.node;
    let missing = || RenderError::MissingSecret {
        hostname: node.hostname.clone(),
        role: node.role.role(),
        secret: name,
    };
    let secret = secret.ok_or_else(missing)?;
    if secret.expose().contains(char::is_whitespace) {
        return Err(RenderError::Value { field: name, reason: "it has white space" });
    }
    line(name, secret.expose())?;
    Ok(secret)
}

fn encode(file: &impl Serialize) -> Result<String, RenderError> {
    serde_yaml_ng::to_string(file)
        .map_err(|source| RenderError::Encode { path: CONFIG, source: source.into() })
}

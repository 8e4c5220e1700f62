//! The configuration: config.yaml and flags in, checked [`Settings`] or every [`Problem`] out.
//!
//! Refuses what k3s rejects *and* what k3s silently ignores, so that a fault in a renderer of ours is found.

mod check;
mod keys;
mod labels;
mod load;

use crate::files::Paths;
use crate::token::Token;
use ipnet::IpNet;
use profiles::secret::Secret;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

pub use labels::{Taint, refuse_label};

/// Which of the two k3s processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `k3s server`.
    Server,
    /// `k3s agent`.
    Agent,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Server { "server" } else { "agent" })
    }
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    key: String,
    message: String,
}

impl Problem {
    /// A problem of a key, a file or a variable.
    pub fn new(key: &str, message: &str) -> Self {
        Self { key: key.to_owned(), message: message.to_owned() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// The checked configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Paths of the node, `data-dir` applied.
    pub paths: Paths,
    /// Kubernetes node name.
    pub node_name: String,
    /// `node-ip`; the first one is the node's own address.
    pub node_ips: Vec<IpAddr>,
    /// Address that other servers and the `kubernetes` endpoint use.
    pub advertise: IpAddr,
    /// Pod ranges.
    pub cluster_cidr: Vec<IpNet>,
    /// Service ranges.
    pub service_cidr: Vec<IpNet>,
    /// Names and addresses for the serving certificate.
    pub tls_san: Vec<String>,
    /// The join token; `None` on a first server that makes one.
    pub token: Option<Token>,
    /// The separate secret of agents.
    pub agent_token: Option<Secret>,
    /// `host:port` of the server to join.
    pub server: Option<String>,
    /// True when the node has an etcd already: `cluster-init` and `server` decide nothing any more.
    pub initialised: bool,
    /// Flannel, or somebody else's CNI.
    pub flannel: bool,
    /// kube-proxy runs.
    pub kube_proxy: bool,
    /// etcd metrics on the node address too.
    pub etcd_expose_metrics: bool,
    /// Agents keep a local balancer on 6444.
    pub apiserver_lb: bool,
    /// Where the admin kubeconfig goes, and its mode.
    pub kubeconfig: (String, u32),
    /// Labels of the own node.
    pub labels: BTreeMap<String, String>,
    /// Taints of the own node.
    pub taints: Vec<Taint>,
    /// What must be the same on all servers.
    pub critical: BTreeMap<String, String>,
}

impl Settings {
    /// First address of the first service range: the `kubernetes` service.
    pub fn service_ip(&self) -> Option<IpAddr> {
        self.service_cidr.first().and_then(|net| net.hosts().next())
    }

    /// The node's own address.
    pub fn node_ip(&self) -> IpAddr {
        self.node_ips.first().copied().unwrap_or(self.advertise)
    }
}

/// Reads and checks everything.
///
/// # Errors
/// All problems at once.
pub fn read(role: Role, args: &[String], paths: &Paths) -> Result<Settings, Vec<Problem>> {
    let mut problems = Vec::new();
    let values = load::load(role, args, paths, &mut problems);
    let settings = check::check(role, &values, paths, &mut problems);
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(problems),
    }
}

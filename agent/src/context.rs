//! What every check is given: the node, the places to look at, and the clients to look with.

use crate::api::ApiClient;
use crate::blocking::Blocking;
use crate::http::Http;
use crate::memory::Memory;
use profiles::node::{NodeConfig, Role};
use std::path::{Path, PathBuf};
use std::time::Duration;
use sysio::units::{Bus, Systemd};

/// systemd answers in milliseconds; a bus that needs longer hangs.
const DBUS_TIMEOUT: Duration = Duration::from_millis(1500);

/// Whoever reads a file larger than this reads no configuration.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Where things outside the root are found. Fixed on a node, different in tests.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// k3s supervisor.
    pub supervisor: String,
    /// kubelet's health port.
    pub kubelet: String,
    /// etcd's health port.
    pub etcd: String,
    /// Port of the API on the VIP.
    pub vip_port: u16,
    /// Reads the kernel's bound of the clock's error.
    pub clock_error: fn() -> std::io::Result<Duration>,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            supervisor: "https://127.0.0.1:6443".to_owned(),
            kubelet: "http://127.0.0.1:10248".to_owned(),
            etcd: "http://127.0.0.1:2381".to_owned(),
            vip_port: 6443,
            clock_error: sysio::clock::max_error,
        }
    }
}

/// What every check is given.
pub struct Context {
    /// `/`, or a folder that stands for it in tests.
    pub root: PathBuf,
    /// The node the agent runs on.
    pub node: NodeConfig,
    /// Where the services listen.
    pub endpoints: Endpoints,
    /// systemd over D-Bus.
    pub systemd: Systemd,
    /// HTTP without credentials.
    pub http: Http,
    /// The Kubernetes API with the node's own credentials.
    pub api: ApiClient,
    /// Calls that may hang.
    pub blocking: Blocking,
    /// What checks remember.
    pub memory: Memory,
}

impl Context {
    /// Puts the clients together; connects to nothing yet.
    pub fn new(root: PathBuf, node: NodeConfig, endpoints: Endpoints, bus: Bus) -> Self {
        Self {
            root,
            node,
            endpoints,
            systemd: Systemd::new(bus, DBUS_TIMEOUT),
            http: Http::default(),
            api: ApiClient::default(),
            blocking: Blocking::default(),
            memory: Memory::default(),
        }
    }

    /// A path of the node below the root.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Text of a file of the node. A hung disk costs the caller alone.
    ///
    /// # Errors
    /// One line with the path and the reason.
    pub async fn read(&self, path: &str) -> Result<String, String> {
        let full = self.path(path);
        let shown = path.to_owned();
        let read = self.blocking.run_in_turn(path, move || read_bounded(&full)).await;
        read.map_err(|hung| format!("reading {shown}: {hung}"))?
            .map_err(|error| format!("reading {shown}: {error}"))
    }

    /// The CA that signs what k3s serves, as this node has it.
    pub fn server_ca(&self) -> &'static str {
        match self.node.role.role() {
            Role::Master => "/var/lib/rancher/k3s/server/tls/server-ca.crt",
            Role::Worker | Role::Proxy => "/var/lib/rancher/k3s/agent/server-ca.crt",
        }
    }

    /// The kubeconfig the agent uses: the admin's on a master, the kubelet's on a worker.
    pub fn kubeconfig(&self) -> &'static str {
        match self.node.role.role() {
            Role::Master => "/etc/rancher/k3s/k3s.yaml",
            Role::Worker | Role::Proxy => "/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
        }
    }
}

/// Reads a text file of bounded length.
///
/// # Errors
/// When it cannot be read, is no UTF-8, or is too long.
pub fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, Read};
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX_BYTES { Err(Error::other("longer than 1 MiB")) } else { Ok(text) }
}

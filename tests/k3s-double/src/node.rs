//! The node's side of server and agent: certificates, image import, ports, the Node object and its lease.

use crate::client::{Auth, Client, kubeconfig_text};
use crate::config::Settings;
use crate::kubelet::Kubelet;
use crate::pki::Leaf;
use crate::serve::{self, Handler, Tls};
use crate::server::loopback;
use crate::store::{now, now_micro};
use crate::{files, images, log};
use anyhow::{Context, Result, bail};
use futures::FutureExt;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// One turn of the kubelet loop.
const TICK: Duration = Duration::from_secs(1);
/// Turns between two renewals of the node lease (reference, section 7.3: every 10 s).
const LEASE_TICKS: u64 = 10;
/// Seconds that a node lease is good for.
const LEASE_SECS: u64 = 40;

/// The supervisor a node talks to.
pub struct Supervisor {
    /// `host:port`.
    pub endpoint: String,
    /// URL for kubelet.kubeconfig.
    pub kubeconfig_server: String,
    /// CA bundle.
    pub ca: String,
    /// Token.
    pub auth: Auth,
}

/// Runs the node for ever. READY=1 of an agent is sent here, once its Node object is there.
///
/// # Errors
/// A port in use, or a file that cannot be written.
pub async fn run(settings: Settings, supervisor: Supervisor) -> Result<()> {
    let is_agent = supervisor.kubeconfig_server != "https://127.0.0.1:6443";
    let (client, serving, client_ca) = prepare(&settings, &supervisor).await?;
    let socket = settings.paths.at("/run/k3s/containerd/containerd.sock");
    hold_socket(&socket)?;
    let imported = images::import_all(&settings.paths)?;
    open_ports(&settings, &serving, &client_ca).await?;
    if settings.flannel {
        let text = "{\"name\":\"cbr0\",\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"flannel\"}]}\n";
        files::write(&settings.paths.agent("etc/cni/net.d/10-flannel.conflist"), 0o600, text.as_bytes())?;
    }
    let mut kubelet = Kubelet::new(&settings, imported)?;
    let mut registered = false;
    for tick in 0u64.. {
        let pods = kubelet.sync().await;
        if !registered {
            match register(&settings, &client).await {
                Ok(()) => {
                    registered = true;
                    log(format!("node {} is registered", settings.node_name));
                    if is_agent {
                        sd_notify::notify(&[sd_notify::NotifyState::Ready]).context("notifying systemd")?;
                    }
                }
                Err(error) => log(format!("registering the node: {error:#}")),
            }
        }
        if registered && let Err(error) = report(&settings, &client, &pods, tick).await {
            log(format!("reporting the node's state: {error:#}"));
            registered = !error.to_string().contains("not found");
        }
        tokio::time::sleep(TICK).await;
    }
    Ok(())
}

/// Gets the kubelet's certificates and lays down the files of `agent/`.
async fn prepare(settings: &Settings, supervisor: &Supervisor) -> Result<(Client, Leaf, String)> {
    let password = node_password(settings)?;
    let ips: Vec<String> = settings.node_ips.iter().map(ToString::to_string).collect();
    let ips = ips.join(",");
    let headers = [
        ("k3s-Node-Name", settings.node_name.as_str()),
        ("k3s-Node-Password", password.as_str()),
        ("k3s-Node-IP", ips.as_str()),
    ];
    let api = Client::new(&supervisor.endpoint, &supervisor.ca, supervisor.auth.clone(), None)?;
    let client_leaf = certificate(&api, "client-kubelet.crt", &headers).await;
    let serving_leaf = certificate(&api, "serving-kubelet.crt", &headers).await;
    let client_ca = api.get("/v1-k3s/client-ca.crt").await?.text();
    let agent = |name: &str| settings.paths.agent(name);
    for (name, mode, text) in [
        ("server-ca.crt", 0o644, &supervisor.ca),
        ("client-ca.crt", 0o644, &client_ca),
        ("client-kubelet.crt", 0o600, &client_leaf.cert),
        ("client-kubelet.key", 0o600, &client_leaf.key),
        ("serving-kubelet.crt", 0o600, &serving_leaf.cert),
        ("serving-kubelet.key", 0o600, &serving_leaf.key),
    ] {
        files::write(&agent(name), mode, text.as_bytes())?;
    }
    let shown = |name: &str| agent(name).display().to_string();
    let text = kubeconfig_text(
        &supervisor.kubeconfig_server,
        &shown("server-ca.crt"),
        &shown("client-kubelet.crt"),
        &shown("client-kubelet.key"),
        false,
    );
    files::write(&agent("kubelet.kubeconfig"), 0o600, text.as_bytes())?;
    let client = Client::new(
        &supervisor.endpoint,
        &supervisor.ca,
        Auth::None,
        Some((&client_leaf.cert, &client_leaf.key)),
    )?;
    Ok((client, serving_leaf, client_ca))
}

/// The node's own secret: kept, or made once.
fn node_password(settings: &Settings) -> Result<String> {
    let path = settings.paths.at("/etc/rancher/node/password");
    if path.exists() {
        return Ok(files::read(&path)?.trim().to_owned());
    }
    let password = crate::token::random_hex(16);
    files::write(&path, 0o600, format!("{password}\n").as_bytes())?;
    Ok(password)
}

/// Asks until the supervisor gives the certificate.
async fn certificate(api: &Client, name: &str, headers: &[(&str, &str)]) -> Leaf {
    loop {
        match api.send("GET", &format!("/v1-k3s/{name}"), headers, Vec::new()).await {
            Ok(reply) if reply.status == 200 => {
                let text = reply.text();
                let at = text.find("-----BEGIN PRIVATE KEY-----").unwrap_or(text.len());
                let (cert, key) = text.split_at(at);
                return Leaf { cert: cert.to_owned(), key: key.to_owned() };
            }
            Ok(reply) => log(format!("GET /v1-k3s/{name}: status {}: {}", reply.status, reply.text().trim())),
            Err(error) => log(format!("{error:#}")),
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Makes the CRI socket: it takes connections and speaks no CRI.
fn hold_socket(path: &std::path::Path) -> Result<()> {
    files::make_dir(path.parent().context("socket without a folder")?)?;
    if path.exists() {
        std::fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
    }
    let listener =
        tokio::net::UnixListener::bind(path).with_context(|| format!("listening on {}", path.display()))?;
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    Ok(())
}

async fn open_ports(settings: &Settings, serving: &Leaf, client_ca: &str) -> Result<()> {
    let health: Handler = Arc::new(|call, _| {
        let known = call.uri().path() == "/healthz";
        async move { if known { serve::text(200, "ok") } else { serve::text(404, "404 page not found\n") } }
            .boxed()
    });
    serve::spawn_plain(serve::bind(loopback(10248)).await?, health.clone());
    let kubelet: Handler = Arc::new(|call, caller| {
        let path = call.uri().path().to_owned();
        async move {
            match (caller.identity, path.as_str()) {
                (None, _) => serve::text(401, "Unauthorized"),
                (Some(_), "/healthz") => serve::text(200, "ok"),
                (Some(_), _) => serve::text(404, "404 page not found\n"),
            }
        }
        .boxed()
    });
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 10250);
    serve::spawn_tls(serve::bind(any).await?, Tls::new(serving, client_ca, false)?, kubelet);
    if settings.kube_proxy {
        serve::spawn_plain(serve::bind(loopback(10256)).await?, health);
    }
    Ok(())
}

/// Makes the Node object, or brings the labels of an existing one up to date.
async fn register(settings: &Settings, client: &Client) -> Result<()> {
    let mut labels = json!({"kubernetes.io/hostname": settings.node_name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"});
    for (key, value) in &settings.labels {
        labels[key] = value.clone().into();
    }
    let taints: Vec<Value> = settings.taints.iter().map(crate::config::Taint::to_json).collect();
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": settings.node_name, "labels": labels},
        "spec": {"taints": taints}, "status": status(settings, None)});
    let reply = client.json("POST", "/api/v1/nodes", &node).await?;
    let reply = match reply.status {
        201 => return Ok(()),
        409 => {
            client
                .json(
                    "PATCH",
                    &format!("/api/v1/nodes/{}", settings.node_name),
                    &json!({"metadata": {"labels": labels}}),
                )
                .await?
        }
        _ => reply,
    };
    if reply.status != 200 {
        bail!("status {}: {}", reply.status, reply.text());
    }
    Ok(())
}

fn cni_ready(settings: &Settings) -> bool {
    let folder = if settings.flannel {
        settings.paths.agent("etc/cni/net.d")
    } else {
        settings.paths.at("/etc/cni/net.d")
    };
    std::fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|e| e.path().extension().is_some_and(|x| x == "conflist" || x == "conf"))
    })
}

/// The node's status; `since` is the last transition of Ready when that has not changed.
fn status(settings: &Settings, since: Option<&Value>) -> Value {
    let (ready, reason, message) = if cni_ready(settings) {
        ("True", "KubeletReady", "k3s double: kubelet is posting ready status")
    } else {
        ("False", "KubeletNotReady", "container runtime network not ready: cni plugin not initialized")
    };
    let mut conditions = Vec::new();
    for kind in ["MemoryPressure", "DiskPressure", "PIDPressure"] {
        conditions.push(json!({"type": kind, "status": "False", "reason": "NotEmulatedByDouble", "message": "",
            "lastHeartbeatTime": now(), "lastTransitionTime": since.cloned().unwrap_or_else(|| now().into())}));
    }
    conditions.push(json!({"type": "Ready", "status": ready, "reason": reason, "message": message,
        "lastHeartbeatTime": now(), "lastTransitionTime": since.cloned().unwrap_or_else(|| now().into())}));
    let mut addresses: Vec<Value> =
        settings.node_ips.iter().map(|a| json!({"type": "InternalIP", "address": a.to_string()})).collect();
    addresses.push(json!({"type": "Hostname", "address": settings.node_name}));
    json!({"conditions": conditions, "addresses": addresses,
        "nodeInfo": {"kubeletVersion": "v1.28.9+k3s1", "osImage": "k3s double, not Kubernetes", "operatingSystem": "linux", "architecture": "amd64"}})
}

/// Status on change or every five minutes, the lease every ten seconds, the mirror pods on change.
async fn report(settings: &Settings, client: &Client, pods: &[Value], tick: u64) -> Result<()> {
    let path = format!("/api/v1/nodes/{}", settings.node_name);
    let reply = client.get(&path).await?;
    if reply.status != 200 {
        bail!("{path}: status {}: {}", reply.status, reply.text());
    }
    let node = reply.json()?;
    let old = node["status"]["conditions"]
        .as_array()
        .and_then(|c| c.iter().find(|c| c["type"] == "Ready"))
        .cloned()
        .unwrap_or_default();
    let wanted = if cni_ready(settings) { "True" } else { "False" };
    let changed = old["status"] != wanted;
    if changed || tick.is_multiple_of(300) {
        let since = (!changed).then(|| &old["lastTransitionTime"]).filter(|t| t.is_string());
        let reply = client
            .json("PATCH", &format!("{path}/status"), &json!({"status": status(settings, since)}))
            .await?;
        if reply.status != 200 {
            bail!("patching the status: {}: {}", reply.status, reply.text());
        }
    }
    if tick.is_multiple_of(LEASE_TICKS) || changed {
        renew(settings, client, &node).await?;
    }
    mirror(client, pods).await
}

async fn renew(settings: &Settings, client: &Client, node: &Value) -> Result<()> {
    let collection = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let path = format!("{collection}/{}", settings.node_name);
    let mut lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": settings.node_name, "namespace": "kube-node-lease",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": settings.node_name, "uid": node["metadata"]["uid"]}]},
        "spec": {"holderIdentity": settings.node_name, "leaseDurationSeconds": LEASE_SECS, "renewTime": now_micro()}});
    let old = client.get(&path).await?;
    let reply = if old.status == 404 {
        client.json("POST", collection, &lease).await?
    } else {
        lease["metadata"]["resourceVersion"] = old.json()?["metadata"]["resourceVersion"].clone();
        client.json("PUT", &path, &lease).await?
    };
    if reply.status >= 300 {
        bail!("renewing the node lease: {}: {}", reply.status, reply.text());
    }
    Ok(())
}

/// Mirror pods of the static pods.
async fn mirror(client: &Client, pods: &[Value]) -> Result<()> {
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or("default");
        let collection = format!("/api/v1/namespaces/{namespace}/pods");
        let old = client.get(&format!("{collection}/{name}")).await?;
        let reply = if old.status == 404 {
            client.json("POST", &collection, pod).await?
        } else if old.json()?["status"] == pod["status"] {
            continue;
        } else {
            client
                .json("PATCH", &format!("{collection}/{name}/status"), &json!({"status": pod["status"]}))
                .await?
        };
        if reply.status >= 300 {
            bail!("mirror pod {name}: {}: {}", reply.status, reply.text());
        }
    }
    Ok(())
}

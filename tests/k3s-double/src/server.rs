//! `k3s server`: the order of the reference, section 1.8.

use crate::api::objects::NAMESPACES;
use crate::api::{Face, Shared, handler};
use crate::bootstrap;
use crate::client::{Auth, Client};
use crate::config::Settings;
use crate::members::{self, Member};
use crate::node::{self, Supervisor};
use crate::serve::{self, Answer, Handler, Tls};
use crate::store::{Store, now, strategic_patch};
use crate::{files, log};
use anyhow::{Context, Result, bail};
use base64::Engine;
use futures::FutureExt;
use profiles::secret::Secret;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// While this file exists the API server stays down: lets a test see 503.
const HOLD_VARIABLE: &str = "K3S_DOUBLE_HOLD_API";
/// Under `server/`: present on a server that joined another one.
const UPSTREAM_MARK: &str = "db/etcd/double-upstream";

/// Runs until SIGTERM.
///
/// # Errors
/// Anything that keeps k3s from starting.
pub async fn run(settings: Settings) -> Result<()> {
    tokio::select! {
        // The handler must be there before READY=1 can be seen.
        biased;
        () = stopped() => { log("stopping"); Ok(()) }
        result = start(settings) => result,
    }
}

async fn start(settings: Settings) -> Result<()> {
    let joining = if settings.initialised { None } else { settings.server.clone() };
    let (upstream, agent_password) = match (&joining, &settings.server) {
        (Some(endpoint), _) => {
            let joined = download_bootstrap(&settings, endpoint).await?;
            (Some(joined.0), Some(joined.1))
        }
        // A restarted member that once joined: the objects are still with the other server.
        (None, Some(endpoint)) if settings.paths.server(UPSTREAM_MARK).exists() => {
            (Some(server_client(&settings, endpoint).await?), None)
        }
        _ => (None, None),
    };
    let authorities = bootstrap::authorities(&settings)?;
    let passwords = bootstrap::passwords(&settings, &authorities, agent_password)?;
    let leaf = bootstrap::serving(&settings, &authorities)?;
    let client_ca = authorities.client.bundle.clone();
    let etcd = [
        (2379, bootstrap::etcd_tls(&settings, &authorities)?),
        (2379, bootstrap::etcd_tls(&settings, &authorities)?),
    ];
    let peers =
        [bootstrap::etcd_tls(&settings, &authorities)?, bootstrap::etcd_tls(&settings, &authorities)?];
    if upstream.is_some() {
        // Before the store: a member that was interrupted while joining must never come up as a cluster of its own.
        let text = b"the objects are with the server in config.yaml\n";
        files::write(&settings.paths.server(UPSTREAM_MARK), 0o600, text)?;
    }
    let store = open_store(&settings)?;
    let shared = Arc::new(Shared::new(settings.clone(), authorities, passwords, upstream, store));

    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 6443);
    serve::spawn_tls(
        serve::bind(any).await?,
        Tls::new(&leaf, &client_ca, false)?,
        handler(shared.clone(), Face::Both),
    );
    serve::spawn_tls(
        serve::bind(loopback(6444)).await?,
        Tls::new(&leaf, &client_ca, false)?,
        handler(shared.clone(), Face::ApiOnly),
    );
    shared.core_ready.store(true, Ordering::SeqCst);
    log("supervisor is listening on 6443");

    bootstrap::admin_kubeconfig(&settings, &shared.authorities)?;
    start_etcd(&shared, etcd, peers).await?;
    let supervisor = Supervisor {
        endpoint: "127.0.0.1:6443".into(),
        kubeconfig_server: "https://127.0.0.1:6443".into(),
        ca: shared.authorities.server.bundle.clone(),
        auth: Auth::Basic("node".into(), shared.passwords.agent.clone()),
    };
    let node = tokio::spawn(node::run(settings.clone(), supervisor));
    wait_for_hold().await;
    shared.api_up.store(true, Ordering::SeqCst);
    let lead = tokio::spawn(control(shared.clone()));
    tokio::select! {
        result = node => result.context("the kubelet stand-in ended")?,
        result = lead => result.context("the control loop ended"),
        result = notify_when_ready(&shared) => result,
    }
}

/// Sends READY=1 once, then waits for ever.
async fn notify_when_ready(shared: &Shared) -> Result<()> {
    while !shared.ready() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).context("notifying systemd")?;
    log(format!("server {} is ready", shared.settings.node_name));
    std::future::pending().await
}

/// A loopback address.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Ends when the process shall stop.
pub async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
}

async fn wait_for_hold() {
    let Some(file) = std::env::var_os(HOLD_VARIABLE) else { return };
    while std::path::Path::new(&file).exists() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn open_store(settings: &Settings) -> Result<Store> {
    let folder = settings.paths.server("db/etcd");
    files::make_dir(&folder)?;
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let mut store = Store::open(folder.join("member/wal/double.json"))?;
    for name in NAMESPACES {
        let path = format!("/api/v1/namespaces/{name}");
        if store.get(&path).is_none() {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": "Active"}});
            store.put(&path, object).map_err(|e| anyhow::anyhow!(e.message))?;
        }
    }
    if store.members.is_empty() {
        store.members.push(Member {
            name: settings.node_name.clone(),
            address: settings.node_ip(),
            learner: false,
        });
        store.save().map_err(|e| anyhow::anyhow!(e.message))?;
    }
    Ok(store)
}

async fn start_etcd(shared: &Arc<Shared>, clients: [(u16, Tls); 2], peers: [Tls; 2]) -> Result<()> {
    let settings = &shared.settings;
    let refuse: Handler =
        Arc::new(|_, _| async { serve::text(501, "the k3s double speaks no etcd\n") }.boxed());
    let node = settings.node_ip();
    for (addr, (port, tls)) in [IpAddr::V4(Ipv4Addr::LOCALHOST), node].into_iter().zip(clients) {
        serve::spawn_tls(serve::bind(SocketAddr::new(addr, port)).await?, tls, refuse.clone());
    }
    for (addr, tls) in [IpAddr::V4(Ipv4Addr::LOCALHOST), node].into_iter().zip(peers) {
        serve::spawn_tls(serve::bind(SocketAddr::new(addr, members::PEER_PORT)).await?, tls, refuse.clone());
    }
    let state = shared.clone();
    let metrics: Handler = Arc::new(move |call, _| {
        let answer = etcd_metrics(&state, call.uri().path());
        async move { answer }.boxed()
    });
    serve::spawn_plain(serve::bind(loopback(2381)).await?, metrics.clone());
    if settings.etcd_expose_metrics {
        serve::spawn_plain(serve::bind(SocketAddr::new(node, 2381)).await?, metrics);
    }
    if let Some(upstream) = &shared.upstream {
        join_members(settings, upstream).await?;
    }
    Ok(())
}

fn etcd_metrics(shared: &Shared, path: &str) -> Answer {
    let leader = shared.quorum.load(Ordering::SeqCst);
    match path {
        "/health" if leader => serve::json(200, &json!({"health": "true", "reason": ""})),
        "/health" => serve::json(503, &json!({"health": "false", "reason": "RAFT NO LEADER"})),
        "/metrics" => serve::text(
            200,
            format!("# k3s double, for tests only\netcd_server_has_leader {}\n", u8::from(leader)),
        ),
        _ => serve::text(404, "404 page not found\n"),
    }
}

async fn server_client(settings: &Settings, endpoint: &str) -> Result<Client> {
    let token = settings.token.as_ref().context("joining needs a token")?;
    loop {
        match bootstrap::trusted_bundle(endpoint, token).await {
            Ok(ca) => {
                return Client::new(
                    endpoint,
                    &ca,
                    Auth::Basic("server".into(), token.password().clone()),
                    None,
                );
            }
            Err(error) if error.to_string().starts_with("token CA hash") => return Err(error),
            Err(error) => log(format!("waiting for the server to join: {error:#}")),
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Takes the CA files of the cluster from the server to join; gives its client and the agent password.
async fn download_bootstrap(settings: &Settings, endpoint: &str) -> Result<(Client, Secret)> {
    let client = server_client(settings, endpoint).await?;
    let reply = client.get("/v1-k3s/server-bootstrap").await?;
    if reply.status != 200 {
        bail!(
            "https://{endpoint}/v1-k3s/server-bootstrap: status {}: the token is not the server token of this cluster",
            reply.status
        );
    }
    let value = reply.json()?;
    for (key, mine) in &settings.critical {
        let theirs = value["critical"][key].as_str().unwrap_or_default();
        if theirs != mine {
            bail!(
                "critical configuration mismatch: {key} is {mine:?} here and {theirs:?} on the server to join"
            );
        }
    }
    for (name, data) in value["files"].as_object().context("no files in the bootstrap data")? {
        let bytes = base64::engine::general_purpose::STANDARD.decode(data.as_str().unwrap_or_default())?;
        if name.split('/').any(|part| part == "..") {
            bail!("bootstrap data names {name:?}");
        }
        files::write(&settings.paths.tls(name), if name.ends_with(".key") { 0o600 } else { 0o644 }, &bytes)?;
    }
    let agent = value["agent"].as_str().context("no agent password in the bootstrap data")?;
    Ok((client, Secret::new(agent)))
}

/// Adds this node as a learner, one at a time in the whole cluster.
async fn join_members(settings: &Settings, upstream: &Client) -> Result<()> {
    let body = json!({"name": settings.node_name, "address": settings.node_ip().to_string()});
    loop {
        match upstream.json("POST", "/db/double-member", &body).await {
            Ok(reply) if reply.status == 200 => break,
            Ok(reply) => log(format!("joining etcd: status {}: {}", reply.status, reply.text())),
            Err(error) => log(format!("joining etcd: {error:#}")),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Every second: quorum, promotion of learners, and what the server writes on Node objects.
async fn control(shared: Arc<Shared>) {
    loop {
        match &shared.upstream {
            Some(upstream) => {
                let members = upstream.get("/db/info").await.and_then(|r| r.json()).unwrap_or_default();
                let voter = members["members"].as_array().is_some_and(|all| {
                    all.iter()
                        .any(|m| m["name"] == shared.settings.node_name.as_str() && m["learner"] == false)
                });
                shared.quorum.store(voter, Ordering::SeqCst);
            }
            None => lead(&shared).await,
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn lead(shared: &Shared) {
    let members = shared.store().members.clone();
    let own = shared.settings.node_name.as_str();
    let mut voters = 0;
    let mut promote = Vec::new();
    for member in &members {
        let alive = member.name == own || members::answers(member).await;
        match (alive, member.learner) {
            (true, true) => promote.push(member.name.clone()),
            (true, false) => voters += 1,
            (false, _) => {}
        }
    }
    let quorum = voters >= members::majority(&members);
    shared.quorum.store(quorum, Ordering::SeqCst);
    if !quorum {
        return;
    }
    let mut store = shared.store();
    for member in store.members.iter_mut().filter(|m| promote.contains(&m.name)) {
        member.learner = false;
    }
    let members = store.members.clone();
    for member in &members {
        if let Err(error) = mark_server(&mut store, member) {
            log(format!("marking node {}: {error}", member.name));
        }
    }
}

/// Labels of servers and the condition `EtcdIsVoter` (reference, sections 1.4 and 7.1), written only when they differ.
fn mark_server(store: &mut Store, member: &Member) -> Result<(), String> {
    let path = format!("/api/v1/nodes/{}", member.name);
    let Some(old) = store.get(&path).cloned() else { return Ok(()) };
    let (status, reason) =
        if member.learner { ("False", "MemberIsLearner") } else { ("True", "MemberNotLearner") };
    let condition =
        old["status"]["conditions"].as_array().and_then(|c| c.iter().find(|c| c["type"] == "EtcdIsVoter"));
    let label = |name: &str| format!("node-role.kubernetes.io/{name}");
    let labelled =
        ["control-plane", "master", "etcd"].iter().all(|n| old["metadata"]["labels"][label(n)] == "true");
    if labelled && condition.is_some_and(|c| c["status"] == status) {
        return Ok(());
    }
    let mut patch: Value = json!({"status": {"conditions": [{"type": "EtcdIsVoter", "status": status, "reason": reason,
        "message": if member.learner { "Node has not been promoted to voting member of the etcd cluster" } else { "Node is a voting member of the etcd cluster" },
        "lastHeartbeatTime": now(), "lastTransitionTime": now()}]}});
    for name in ["control-plane", "master", "etcd"] {
        patch["metadata"]["labels"][label(name)] = "true".into();
    }
    let mut new = old;
    strategic_patch(&mut new, &patch).map_err(|e| e.message)?;
    store.put(&path, new).map(drop).map_err(|e| e.message)
}

//! The supervisor's paths under `/v1-k3s/` and `/db/` (reference, section 1.7).

use super::{Shared, failure, header};
use crate::members::{self, AddRefused};
use crate::pki::Use;
use crate::serve::{self, Answer, Call, Caller};
use crate::store::{ApiError, now};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::atomic::Ordering;

/// Who calls the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Server,
    Agent,
}

/// User and password of HTTP basic authentication.
pub fn basic(call: &Call) -> Option<(String, String)> {
    let encoded = header(call, "authorization")?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

/// Answers one request.
pub async fn handle(shared: &Shared, path: &str, call: &Call, caller: &Caller) -> Answer {
    let who = authenticate(shared, call, caller);
    let local_info = path == "/db/info" && caller.addr.ip().is_loopback();
    let wanted = match path {
        "/v1-k3s/server-bootstrap" | "/v1-k3s/encrypt/status" | "/db/info" | "/db/double-member" => {
            Who::Server
        }
        "/v1-k3s/readyz" | "/v1-k3s/config" | "/v1-k3s/apiservers" => Who::Agent,
        _ if path.ends_with(".crt") && path.starts_with("/v1-k3s/") => Who::Agent,
        _ => return serve::text(404, "404 page not found\n"),
    };
    match who {
        None if !local_info => return failure(&ApiError::new(401, "Unauthorized", "Unauthorized")),
        Some(who) if who != wanted && !local_info => {
            return failure(&ApiError::new(403, "Forbidden", "Forbidden"));
        }
        _ => {}
    }
    match path {
        "/v1-k3s/readyz" if shared.core_ready.load(Ordering::SeqCst) => serve::text(200, "ok"),
        "/v1-k3s/readyz" => serve::text(500, "runtime core not ready\n"),
        "/v1-k3s/config" => serve::json(200, &config(shared)),
        "/v1-k3s/apiservers" => serve::json(200, &apiservers(shared)),
        "/v1-k3s/client-ca.crt" => serve::text(200, shared.authorities.client.bundle.clone()),
        "/v1-k3s/server-ca.crt" => serve::text(200, shared.authorities.server.bundle.clone()),
        "/v1-k3s/client-kube-proxy.crt" => certificate(shared, "system:kube-proxy", &[], &[], Use::Client),
        "/v1-k3s/client-k3s-controller.crt" => {
            certificate(shared, "system:k3s-controller", &[], &[], Use::Client)
        }
        "/v1-k3s/serving-kubelet.crt" | "/v1-k3s/client-kubelet.crt" => {
            kubelet_certificate(shared, path, call).await
        }
        "/v1-k3s/server-bootstrap" => bootstrap(shared),
        "/v1-k3s/encrypt/status" => serve::json(200, &json!({"double": "not emulated"})),
        "/db/info" => serve::json(200, &json!({"members": shared.store().members})),
        "/db/double-member" => add_member(shared, call.body()),
        _ => serve::text(404, "404 page not found\n"),
    }
}

fn authenticate(shared: &Shared, call: &Call, caller: &Caller) -> Option<Who> {
    if let Some((user, password)) = basic(call) {
        return match user.as_str() {
            "server" if password == shared.passwords.server.expose() => Some(Who::Server),
            "node" if password == shared.passwords.agent.expose() => Some(Who::Agent),
            _ => None,
        };
    }
    if let Some(bearer) = header(call, "authorization").and_then(|h| h.strip_prefix("Bearer ")) {
        return bootstrap_token(shared, bearer).then_some(Who::Agent);
    }
    let identity = caller.identity.as_ref()?;
    identity.groups.iter().any(|g| g == "system:nodes").then_some(Who::Agent)
}

/// True for a bootstrap token whose Secret is there and has not expired.
fn bootstrap_token(shared: &Shared, bearer: &str) -> bool {
    let Some((id, secret)) = bearer.split_once('.') else { return false };
    let store = shared.store();
    let Some(object) = store.get(&format!("/api/v1/namespaces/kube-system/secrets/bootstrap-token-{id}"))
    else {
        return false;
    };
    let data = &object["stringData"];
    let expires = data["expiration"].as_str().unwrap_or_default();
    let valid =
        expires.is_empty() || expires.parse::<jiff::Timestamp>().is_ok_and(|t| t > jiff::Timestamp::now());
    valid && data["token-secret"].as_str() == Some(secret)
}

fn config(shared: &Shared) -> Value {
    let s = &shared.settings;
    let list = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({"double": true, "cluster-cidr": list(&s.cluster_cidr), "service-cidr": list(&s.service_cidr),
           "flannel": s.flannel, "kube-proxy": s.kube_proxy, "critical": s.critical})
}

fn apiservers(shared: &Shared) -> Value {
    let store = shared.store();
    let mut list: Vec<String> = store
        .members
        .iter()
        .filter(|m| !m.learner)
        .map(|m| std::net::SocketAddr::new(m.address, 6443).to_string())
        .collect();
    if list.is_empty() {
        list.push(std::net::SocketAddr::new(shared.settings.advertise, 6443).to_string());
    }
    json!(list)
}

fn certificate(shared: &Shared, name: &str, groups: &[&str], sans: &[String], usage: Use) -> Answer {
    let ca = if usage == Use::Server { &shared.authorities.server } else { &shared.authorities.client };
    match ca.issue(name, groups, sans, usage) {
        Ok(leaf) => serve::text(200, format!("{}{}", leaf.cert, leaf.key)),
        Err(error) => failure(&ApiError::new(500, "InternalError", format!("{error:#}"))),
    }
}

async fn kubelet_certificate(shared: &Shared, path: &str, call: &Call) -> Answer {
    if !shared.core_ready.load(Ordering::SeqCst) {
        return failure(&ApiError::new(503, "ServiceUnavailable", "runtime core not ready"));
    }
    let (Some(name), Some(password)) = (header(call, "k3s-node-name"), header(call, "k3s-node-password"))
    else {
        return failure(&ApiError::bad_request("node name and password headers are required"));
    };
    let checked = match &shared.upstream {
        None => check_node_password(shared, name, password),
        Some(upstream) => {
            // The first server has the node passwords: ask it for a certificate of the same kind and drop that.
            let headers: Vec<(&str, &str)> = ["k3s-node-name", "k3s-node-password", "k3s-node-ip"]
                .iter()
                .filter_map(|h| header(call, h).map(|v| (*h, v)))
                .collect();
            let agent = upstream.with_agent_password(&shared.passwords.agent);
            match agent.send("GET", path, &headers, Vec::new()).await {
                Ok(reply) if reply.status == 200 => Ok(()),
                Ok(reply) => return serve::answer(reply.status, "application/json", reply.body),
                Err(error) => Err(ApiError::new(503, "ServiceUnavailable", format!("{error:#}"))),
            }
        }
    };
    if let Err(error) = checked {
        return failure(&error);
    }
    if path.ends_with("client-kubelet.crt") {
        return certificate(shared, &format!("system:node:{name}"), &["system:nodes"], &[], Use::Client);
    }
    let mut sans = vec![name.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
    let ips = header(call, "k3s-node-ip").unwrap_or_default();
    sans.extend(ips.split(',').filter(|a| a.parse::<IpAddr>().is_ok()).map(str::to_owned));
    certificate(shared, name, &[], &sans, Use::Server)
}

/// Keeps the first password of a node name and refuses another one.
fn check_node_password(shared: &Shared, name: &str, password: &str) -> Result<(), ApiError> {
    let path = format!("/api/v1/namespaces/kube-system/secrets/{name}.node-password.k3s");
    let hash = hex::encode(Sha256::digest(format!("{name}:{password}")));
    let mut store = shared.store();
    match store.get(&path) {
        Some(object) if object["stringData"]["hash"].as_str() == Some(&hash) => Ok(()),
        Some(_) => Err(ApiError::new(403, "Forbidden", "Node password rejected")),
        None => {
            let object = json!({"apiVersion": "v1", "kind": "Secret", "immutable": true, "stringData": {"hash": hash},
                "metadata": {"name": format!("{name}.node-password.k3s"), "namespace": "kube-system", "creationTimestamp": now()}});
            store.put(&path, object).map(drop)
        }
    }
}

/// All CA files for a joining server. The shape is the double's own.
fn bootstrap(shared: &Shared) -> Answer {
    let mut files = serde_json::Map::new();
    for name in crate::bootstrap::CA_NAMES {
        for suffix in ["crt", "key"] {
            let relative = format!("{name}.{suffix}");
            match std::fs::read(shared.settings.paths.tls(&relative)) {
                Ok(bytes) => drop(files.insert(relative, STANDARD.encode(bytes).into())),
                Err(error) => {
                    return failure(&ApiError::new(500, "InternalError", format!("{relative}: {error}")));
                }
            }
        }
    }
    serve::json(
        200,
        &json!({"files": files, "critical": shared.settings.critical, "agent": shared.passwords.agent.expose()}),
    )
}

fn add_member(shared: &Shared, body: &[u8]) -> Answer {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return failure(&ApiError::bad_request("not JSON"));
    };
    let address = value["address"].as_str().and_then(|a| a.parse().ok());
    let (Some(name), Some(address)) = (value["name"].as_str(), address) else {
        return failure(&ApiError::bad_request("name and address are required"));
    };
    if !shared.ready() {
        return failure(&ApiError::new(503, "ServiceUnavailable", "etcdserver: no leader"));
    }
    let mut store = shared.store();
    match members::add_learner(&mut store.members, name, address) {
        Ok(()) => match store.save() {
            Ok(()) => serve::json(200, &json!({"members": store.members})),
            Err(error) => failure(&error),
        },
        Err(AddRefused::LearnerPresent(other)) => failure(&ApiError::new(
            409,
            "Conflict",
            format!("etcdserver: too many learner members in cluster ({other})"),
        )),
    }
}

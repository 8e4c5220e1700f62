//! What answers on 6443 and 6444: the supervisor's paths and the API server's.

pub mod objects;
mod supervisor;

use crate::bootstrap::{Authorities, Passwords};
use crate::client::Client;
use crate::config::Settings;
use crate::serve::{self, Answer, Call, Caller, Handler, Identity};
use crate::store::{ApiError, Store};
use futures::FutureExt;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Header with which a joined server hands on the user of a request.
const USER_HEADER: &str = "x-double-user";
/// Header with the groups of that user, comma separated.
const GROUPS_HEADER: &str = "x-double-groups";

/// Everything the handlers of one server share.
pub struct Shared {
    /// Configuration.
    pub settings: Settings,
    /// Certificate authorities.
    pub authorities: Authorities,
    /// Passwords of servers and agents.
    pub passwords: Passwords,
    /// For a joined server: the server that has the objects, with the server token.
    pub upstream: Option<Client>,
    /// The runtime core is ready.
    pub core_ready: AtomicBool,
    /// The API server runs.
    pub api_up: AtomicBool,
    /// A majority of the voters answers.
    pub quorum: AtomicBool,
    store: Mutex<Store>,
}

impl Shared {
    /// All flags down.
    pub fn new(
        settings: Settings,
        authorities: Authorities,
        passwords: Passwords,
        upstream: Option<Client>,
        store: Store,
    ) -> Self {
        let down = || AtomicBool::new(false);
        let (core_ready, api_up, quorum) = (down(), down(), down());
        Self {
            settings,
            authorities,
            passwords,
            upstream,
            core_ready,
            api_up,
            quorum,
            store: Mutex::new(store),
        }
    }

    /// The objects. A panic of another holder leaves them as they were.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when the API server runs and etcd has a majority.
    pub fn ready(&self) -> bool {
        self.api_up.load(Ordering::SeqCst) && self.quorum.load(Ordering::SeqCst)
    }
}

/// Which listener a request came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// 6443: supervisor and API server.
    Both,
    /// 6444 on loopback: the API server alone.
    ApiOnly,
}

/// The handler of one listener.
pub fn handler(shared: Arc<Shared>, face: Face) -> Handler {
    Arc::new(move |call, caller| {
        let shared = shared.clone();
        async move { route(&shared, face, call, caller).await }.boxed()
    })
}

async fn route(shared: &Shared, face: Face, call: Call, caller: Caller) -> Answer {
    let path = call.uri().path().to_owned();
    if face == Face::Both {
        match path.as_str() {
            "/ping" => return serve::text(200, "pong"),
            "/cacerts" => return serve::text(200, shared.authorities.server.bundle.clone()),
            _ if path.starts_with("/static/") => return static_file(shared, &path),
            _ if path.starts_with("/v1-k3s/") || path.starts_with("/db/") => {
                return supervisor::handle(shared, &path, &call, &caller).await;
            }
            _ => {}
        }
    }
    if !shared.ready() {
        return failure(&ApiError::new(503, "ServiceUnavailable", "apiserver not ready"));
    }
    let Some(identity) = caller.identity.clone().or_else(|| delegated(shared, &call)) else {
        return failure(&ApiError::new(401, "Unauthorized", "Unauthorized"));
    };
    match path.as_str() {
        "/readyz" | "/livez" | "/healthz" => health(&path, call.uri().query()),
        "/version" => serve::json(
            200,
            &json!({
            "major": "1", "minor": "28", "gitVersion": "v1.28.9+k3s1", "gitTreeState": "k3s-double",
            "compiler": "rustc", "platform": "linux/amd64"}),
        ),
        _ => match &shared.upstream {
            Some(upstream) => proxy(upstream, &call, &identity).await,
            None => objects::handle(shared, &call, &identity),
        },
    }
}

/// An error as answer.
pub fn failure(error: &ApiError) -> Answer {
    serve::json(error.code, &error.to_json())
}

fn health(path: &str, query: Option<&str>) -> Answer {
    let verbose = query.is_some_and(|q| q.split('&').any(|p| p == "verbose" || p.starts_with("verbose=")));
    if verbose {
        let name = path.trim_start_matches('/');
        serve::text(200, format!("[+]ping ok\n[+]log ok\n[+]etcd ok\n{name} check passed\n"))
    } else {
        serve::text(200, "ok")
    }
}

fn static_file(shared: &Shared, path: &str) -> Answer {
    let relative = path.trim_start_matches("/static/");
    if relative.split('/').any(|part| part == "..") {
        return serve::text(404, "404 page not found\n");
    }
    match std::fs::read(shared.settings.paths.server("static").join(relative)) {
        Ok(bytes) => serve::answer(200, "application/octet-stream", bytes),
        Err(_) => serve::text(404, "404 page not found\n"),
    }
}

/// The user that a joined server vouches for with the server token.
fn delegated(shared: &Shared, call: &Call) -> Option<Identity> {
    let user = header(call, USER_HEADER)?;
    let is_server = supervisor::basic(call)
        .is_some_and(|(name, password)| name == "server" && password == shared.passwords.server.expose());
    let groups = header(call, GROUPS_HEADER).unwrap_or_default().split(',').map(str::to_owned).collect();
    is_server.then(|| Identity { user: user.to_owned(), groups })
}

/// A header's text.
pub fn header<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    call.headers().get(name).and_then(|v| v.to_str().ok())
}

async fn proxy(upstream: &Client, call: &Call, identity: &Identity) -> Answer {
    let groups = identity.groups.join(",");
    let mut headers = vec![(USER_HEADER, identity.user.as_str()), (GROUPS_HEADER, groups.as_str())];
    if let Some(kind) = header(call, "content-type") {
        headers.push(("content-type", kind));
    }
    let path = call.uri().path_and_query().map_or("/", |p| p.as_str());
    match upstream.send(call.method().as_str(), path, &headers, call.body().to_vec()).await {
        Ok(reply) => serve::answer(reply.status, "application/json", reply.body),
        Err(error) => {
            failure(&ApiError::new(503, "ServiceUnavailable", format!("etcdserver: no leader ({error:#})")))
        }
    }
}

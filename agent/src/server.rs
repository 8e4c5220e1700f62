//! Serves the snapshot over HTTP: a unix socket, loopback and the cluster address. A request never causes a look.

use crate::announce::headline;
use crate::metrics;
use crate::run::Snapshot;
use anyhow::Context as _;
use axum::Router;
use axum::extract::{RawQuery, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use report::State;
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinHandle};

/// What connections may take. One peer shall not be able to keep the others out, whatever it sends or does not send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at one time on one listener; more wait in the kernel's queue.
    pub connections: usize,
    /// Connections at one time from one address; more are closed at once.
    pub per_peer: usize,
    /// Time for the head of a request, and between two requests. Who needs longer holds a connection for nothing.
    pub head: Duration,
    /// Longest life of a connection, idle or not.
    pub life: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 64, per_peer: 16, head: Duration::from_secs(2), life: Duration::from_secs(30) }
    }
}

/// Pause before an address that does not exist yet is tried again.
const BIND_RETRY: Duration = Duration::from_secs(2);

/// A snapshot older than this means that the scheduler stands still.
const SNAPSHOT_MAX_AGE: Duration = Duration::from_secs(15);

/// The listeners' tasks.
pub struct Listeners(Vec<AbortHandle>);

impl Listeners {
    /// Ends them all; open connections end with the process.
    pub fn abort_all(&self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Starts one task per listener.
///
/// # Errors
/// When the unix socket cannot be made.
pub fn start(
    socket: &Path,
    listen: &[SocketAddr],
    snapshots: watch::Receiver<Snapshot>,
    limits: Limits,
) -> anyhow::Result<Listeners> {
    let router = router(snapshots);
    let unix = bind_socket(socket).with_context(|| format!("listening on {}", socket.display()))?;
    let mut tasks = vec![serve_unix(unix, router.clone(), limits)];
    tasks.extend(listen.iter().map(|address| serve_tcp(*address, router.clone(), limits)));
    Ok(Listeners(tasks.iter().map(JoinHandle::abort_handle).collect()))
}

/// All answers.
pub fn router(snapshots: watch::Receiver<Snapshot>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/healthz", get(healthz))
        .route("/v1/report", get(report))
        .route("/metrics", get(openmetrics))
        .with_state(snapshots)
}

type Snapshots = Shared<watch::Receiver<Snapshot>>;

/// The agent itself: 200 while its scheduler goes round.
async fn livez(Shared(snapshots): Snapshots) -> Response {
    let made_at = snapshots.borrow().made_at;
    let age = sysio::clock::boottime().map(|now| now.saturating_sub(made_at));
    match age {
        Ok(age) if age <= SNAPSHOT_MAX_AGE => text(true, "ok\n".to_owned()),
        Ok(age) => text(false, format!("the scheduler has stood still for {} s\n", age.as_secs())),
        Err(error) => text(false, format!("the clock cannot be read: {error}\n")),
    }
}

/// 200 once every check has run.
async fn readyz(Shared(snapshots): Snapshots) -> Response {
    let done = snapshots.borrow().first_pass_done;
    text(done, if done { "ok\n" } else { "not every check has run yet\n" }.to_owned())
}

/// The node: 200 healthy, 503 not. With `?verbose` one line per check.
async fn healthz(Shared(snapshots): Snapshots, RawQuery(query): RawQuery) -> Response {
    let report = snapshots.borrow().report.clone();
    let mut out = String::new();
    let wants_all =
        query.is_some_and(|query| query.split('&').any(|q| q == "verbose" || q.starts_with("verbose=")));
    if wants_all {
        for check in &report.checks {
            let sign = match check.state {
                State::Ok => '+',
                State::Disabled => ' ',
                State::Unknown => '?',
                State::Warning => '!',
                State::Critical => '-',
            };
            let place =
                if check.instance.is_empty() { String::new() } else { format!(" {}", check.instance) };
            out.push_str(&format!("[{sign}]{}{place} {}: {}\n", check.id, check.state, check.message));
        }
    }
    out.push_str(&format!("{}\n", headline(&report)));
    text(report.ready, out)
}

/// The report as JSON.
async fn report(Shared(snapshots): Snapshots) -> Response {
    let report = snapshots.borrow().report.clone();
    match serde_json::to_vec(&*report) {
        Ok(body) => answer(StatusCode::OK, "application/json", body),
        Err(error) => text(false, format!("the report cannot be written: {error}\n")),
    }
}

/// The report as OpenMetrics.
async fn openmetrics(Shared(snapshots): Snapshots) -> Response {
    let snapshot = snapshots.borrow().clone();
    match metrics::render(&snapshot) {
        Ok(body) => answer(StatusCode::OK, metrics::CONTENT_TYPE, body.into_bytes()),
        Err(error) => text(false, format!("the metrics cannot be written: {error}\n")),
    }
}

fn text(fine: bool, body: String) -> Response {
    let status = if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, "text/plain; charset=utf-8", body.into_bytes())
}

fn answer(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, body).into_response()
}

/// A socket left over by an earlier run is replaced; anything else at that path is not touched.
fn bind_socket(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Only root and its group may open the socket: there is no peer to guard against.
fn serve_unix(listener: UnixListener, router: Router, limits: Limits) -> JoinHandle<()> {
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(limits.connections));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => serve_connection(stream, router.clone(), limits, place),
                Err(error) => pause_after(&error).await,
            }
        }
    })
}

fn serve_tcp(address: SocketAddr, router: Router, limits: Limits) -> JoinHandle<()> {
    tokio::spawn(async move {
        let listener = bind_when_possible(address).await;
        let places = Arc::new(Semaphore::new(limits.connections));
        let peers = Peers::default();
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, from)) => match peers.enter(from.ip().to_canonical(), limits.per_peer) {
                    Some(peer) => serve_connection(stream, router.clone(), limits, (place, peer)),
                    None => tracing::debug!(%from, "a peer with too many connections gets no more"),
                },
                Err(error) => pause_after(&error).await,
            }
        }
    })
}

/// Open connections by address of the peer.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One connection of a peer; gives its place back when it is dropped.
struct PeerPlace {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    /// A place, unless that address has `most` already.
    fn enter(&self, address: IpAddr, most: usize) -> Option<PeerPlace> {
        let mut counts = self.lock();
        let count = counts.get(&address).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        counts.insert(address, count + 1);
        Some(PeerPlace { peers: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let mut counts = self.peers.lock();
        match counts.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            // Addresses without a connection are forgotten: the list stays as short as that of the connections.
            _ => drop(counts.remove(&self.address)),
        }
    }
}

/// The cluster address may come up long after the agent.
async fn bind_when_possible(address: SocketAddr) -> TcpListener {
    let mut told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                tracing::info!(%address, "serving");
                return listener;
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!(%address, %error, "cannot serve there yet, trying again");
            }
            Err(_) => {}
        }
        tokio::time::sleep(BIND_RETRY).await;
    }
}

/// Out of file descriptors, for one: going round at once would only burn the processor.
async fn pause_after(error: &std::io::Error) {
    tracing::warn!(%error, "accepting a connection failed");
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// `place` is held until the connection ends.
fn serve_connection<S, P>(stream: S, router: Router, limits: Limits, place: P)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    P: Send + 'static,
{
    tokio::spawn(async move {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        if let Ok(Err(error)) = tokio::time::timeout(limits.life, connection).await {
            tracing::debug!(%error, "a connection ended badly");
        }
        drop(place);
    });
}

#[cfg(test)]
mod tests {
    use super::Peers;
    use std::net::{IpAddr, Ipv4Addr};

    #[test]
    fn a_peer_gets_its_places_back_and_takes_none_of_others() {
        let (peers, one) = (Peers::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
        let first = peers.enter(one, 2).unwrap();
        let second = peers.enter(one, 2).unwrap();
        assert!(peers.enter(one, 2).is_none());
        assert!(peers.enter(other, 2).is_some());
        drop(first);
        let third = peers.enter(one, 2).unwrap();
        assert!(peers.enter(one, 2).is_none());
        drop((second, third));
        assert!(peers.lock().is_empty());
    }
}

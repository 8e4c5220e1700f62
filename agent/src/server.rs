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
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinHandle};

/// Connections at one time on one listener; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 32;

/// Time for the head of a request. Who needs longer holds a connection for nothing.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest life of a connection, idle or not.
const CONNECTION_MAX: Duration = Duration::from_secs(30);

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
) -> anyhow::Result<Listeners> {
    let router = router(snapshots);
    let unix = bind_socket(socket).with_context(|| format!("listening on {}", socket.display()))?;
    let mut tasks = vec![serve_unix(unix, router.clone())];
    tasks.extend(listen.iter().map(|address| serve_tcp(*address, router.clone())));
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

fn serve_unix(listener: UnixListener, router: Router) -> JoinHandle<()> {
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => serve_connection(stream, router.clone(), place),
                Err(error) => pause_after(&error).await,
            }
        }
    })
}

fn serve_tcp(address: SocketAddr, router: Router) -> JoinHandle<()> {
    tokio::spawn(async move {
        let listener = bind_when_possible(address).await;
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => serve_connection(stream, router.clone(), place),
                Err(error) => pause_after(&error).await,
            }
        }
    })
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

fn serve_connection<S>(stream: S, router: Router, place: tokio::sync::OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_MAX, connection).await {
            tracing::debug!(%error, "a connection ended badly");
        }
        drop(place);
    });
}

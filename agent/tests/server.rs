//! The HTTP side: what it answers, whom it waits for, what it replaces.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod kit;

use agent::run::{Snapshot, assemble};
use agent::server::{self, Limits};
use report::{CheckResult, Report, State};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

fn check(id: &str, state: State) -> CheckResult {
    CheckResult {
        id: id.to_owned(),
        instance: String::new(),
        state,
        reason: "R".to_owned(),
        message: format!("{id} message"),
        since: "2026-01-01T00:00:00Z".parse().unwrap(),
        observed_at: None,
        took_ms: 0,
        action: String::new(),
    }
}

fn snapshot(checks: Vec<CheckResult>, age: Duration) -> Snapshot {
    let root = tempfile::tempdir().unwrap();
    kit::fake_root(root.path());
    let node = agent::facts::read_node(root.path()).unwrap();
    let node = agent::facts::collect_node(root.path(), &node);
    let report: Report = assemble(node, checks, true, "2026-01-01T00:00:00Z".parse().unwrap());
    let now = sysio::clock::boottime().unwrap();
    let made_at = now.saturating_sub(age);
    Snapshot { report: Arc::new(report), first_pass_done: true, timeouts: Vec::new(), made_at }
}

async fn ask(socket: &Path, request: &'static str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    tokio::task::spawn_blocking(move || {
        stream.write_all(format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_from_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("deep/agent.sock");
    let checks = vec![check("a", State::Ok), check("b", State::Critical), check("c", State::Disabled)];
    let (sender, receiver) = watch::channel(snapshot(checks, Duration::ZERO));
    let listeners = server::start(&socket, &[], receiver.clone(), Limits::default()).unwrap();
    assert_eq!(
        ask(&socket, "GET /healthz HTTP/1.1").await,
        (503, "master-1 not healthy: b: b message\n".to_owned())
    );
    let verbose = "[+]a ok: a message\n[-]b critical: b message\n[ ]c disabled: c message\n\
                   master-1 not healthy: b: b message\n";
    assert_eq!(ask(&socket, "GET /healthz?verbose HTTP/1.1").await, (503, verbose.to_owned()));
    assert_eq!(ask(&socket, "GET /nothing HTTP/1.1").await.0, 404);
    assert_eq!(ask(&socket, "POST /v1/report HTTP/1.1").await.0, 405);
    sender.send_replace(snapshot(vec![check("a", State::Ok)], Duration::from_secs(20)));
    assert_eq!(
        ask(&socket, "GET /healthz HTTP/1.1").await,
        (200, "master-1 healthy, 1 checks ok\n".to_owned())
    );
    let (status, text) = ask(&socket, "GET /livez HTTP/1.1").await;
    assert_eq!(status, 503);
    assert!(text.starts_with("the scheduler has stood still for 2"), "{text}");
    listeners.abort_all();
    let again = server::start(&socket, &[], receiver, Limits::default()).unwrap();
    assert_eq!(ask(&socket, "GET /healthz HTTP/1.1").await.0, 200, "a left-over socket is replaced");
    again.abort_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves_an_address_as_soon_as_it_can_be_had() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = taken.local_addr().unwrap();
    let (_sender, receiver) = watch::channel(snapshot(vec![check("a", State::Ok)], Duration::ZERO));
    let _listeners =
        server::start(&folder.path().join("agent.sock"), &[address], receiver, Limits::default()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(taken);
    kit::eventually("served", async || TcpStream::connect(address).map_err(|error| error.to_string())).await;
}

#[tokio::test]
async fn does_not_replace_what_is_no_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    std::fs::write(&path, "precious").unwrap();
    let (_sender, receiver) = watch::channel(snapshot(Vec::new(), Duration::ZERO));
    assert!(server::start(&path, &[], receiver, Limits::default()).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

/// Starts the server on a free port of loopback, with a healthy node.
async fn serve(folder: &Path, limits: Limits) -> (server::Listeners, watch::Sender<Snapshot>, SocketAddr) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (sender, receiver) = watch::channel(snapshot(vec![check("a", State::Ok)], Duration::ZERO));
    let listeners = server::start(&folder.join("agent.sock"), &[address], receiver, limits).unwrap();
    kit::eventually("served", async || TcpStream::connect(address).map_err(|error| error.to_string())).await;
    (listeners, sender, address)
}

/// Connects from that address of loopback and sends text.
async fn send_from(from: &str, address: SocketAddr, text: &str) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    let mut stream = socket.connect(address).await.unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The server may have closed it already.
    let _sent = stream.write_all(text.as_bytes());
    stream
}

/// What comes until the end, also until one by force.
fn read_all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ended = stream.read_to_string(&mut text);
    text
}

/// True once the other side has closed the connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0; 512]);
    stream.set_nonblocking(false).unwrap();
    read.map_or_else(|error| error.kind() != std::io::ErrorKind::WouldBlock, |length| length == 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_requests_of_one_peer_do_not_keep_others_out() {
    let folder = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(86400);
    let limits = Limits { head: day, life: day, ..Limits::default() };
    let (_listeners, _sender, address) = serve(folder.path(), limits).await;
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(send_from("127.0.0.2", address, "GET /healthz HTTP/1.1\r\n").await);
    }
    let whole = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = read_all(send_from("127.0.0.3", address, whole).await);
    assert!(answer.ends_with("master-1 healthy, 1 checks ok\n"), "{answer}");
    let closed = kit::eventually("closed", async || {
        let closed = held.iter_mut().filter_map(|stream| is_closed(stream).then_some(())).count();
        if closed < 200 - limits.per_peer { Err(format!("{closed} closed")) } else { Ok(closed) }
    });
    assert_eq!(closed.await, 200 - limits.per_peer);
    held.truncate(0);
    kit::eventually("served again", async || {
        let answer = read_all(send_from("127.0.0.2", address, whole).await);
        if answer.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_send_a_whole_head_in_time_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let limits =
        Limits { head: Duration::from_millis(100), life: Duration::from_secs(86400), ..Limits::default() };
    let (_listeners, _sender, address) = serve(folder.path(), limits).await;
    for text in ["", "GET /healthz HTTP/1.1\r\nHost: x\r\n", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let answer = read_all(send_from("127.0.0.2", address, text).await);
        assert_eq!(answer.starts_with("HTTP/1.1 200 "), text.ends_with("\r\n\r\n"), "{text:?}: {answer}");
    }
}

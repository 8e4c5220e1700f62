//! The download engine against a server on the loopback address.

use super::{Download, client, download};
use crate::failure::{DOWNLOAD, code_of};
use crate::host;
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

const BODY: &[u8] = b"twenty bytes of body";

/// A server that answers each connection by `answer`, which gets the Range header (or an empty string).
struct Server {
    url: String,
    ranges: Arc<Mutex<Vec<String>>>,
}

fn serve(answer: impl Fn(usize, &str, &mut TcpStream) + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    let ranges = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ranges);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let range =
                head.iter().find_map(|line| line.strip_prefix("range: ")).unwrap_or_default().to_owned();
            seen.lock().unwrap().push(range.clone());
            answer(number, &range, &mut stream);
        }
    });
    Server { url, ranges }
}

/// Writes an answer; a peer that has hung up is no error of the test's.
fn say(stream: &mut TcpStream, head: &str, body: &[u8]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)
}

fn fetch(server: &Server, to: &Path, sha256: &str) -> anyhow::Result<()> {
    let _provider = rustls::crypto::ring::default_provider().install_default();
    let wanted = Download { url: &server.url, name: "file", length: BODY.len() as u64, sha256, to };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(download(&client()?, &wanted, &|_| ()))
}

fn right() -> String {
    hex::encode(Sha256::digest(BODY))
}

#[test]
fn whole_file_arrives_verified_and_leaves_no_partial_one() {
    let server = serve(|_, _, stream| say(stream, "200 OK\r\nContent-Length: 20", BODY).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("file");
    fetch(&server, &to, &right()).unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), BODY);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn broken_transfer_is_resumed_where_it_stopped() {
    let server = serve(|number, _, stream| {
        if number == 0 {
            say(stream, "200 OK\r\nContent-Length: 20", &BODY[..7]).unwrap();
        } else {
            say(
                stream,
                "206 Partial Content\r\nContent-Range: bytes 7-19/20\r\nContent-Length: 13",
                &BODY[7..],
            )
            .unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("file");
    fetch(&server, &to, &right()).unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), BODY);
    assert_eq!(*server.ranges.lock().unwrap(), ["", "bytes=7-"]);
}

#[test]
fn partial_file_of_an_earlier_run_is_resumed_and_a_server_without_ranges_starts_over() {
    let server = serve(|_, _, stream| say(stream, "200 OK\r\nContent-Length: 20", BODY).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("file");
    host::write(&folder.path().join("file.partial"), &BODY[..5]).unwrap();
    fetch(&server, &to, &right()).unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), BODY);
    assert_eq!(*server.ranges.lock().unwrap(), ["bytes=5-"]);
}

#[test]
fn wrong_content_is_refused_and_removed() {
    let server = serve(|_, _, stream| say(stream, "200 OK\r\nContent-Length: 20", BODY).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let error = fetch(&server, &folder.path().join("file"), &"0".repeat(64)).unwrap_err();
    let expected = format!(
        "file has sha256 {}, its pin says {}; if the pin is wrong, `cargo xtask pins update` reads it again",
        right(),
        "0".repeat(64)
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(code_of(&error), DOWNLOAD);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn file_that_ends_early_every_time_is_refused_with_both_lengths() {
    let server = serve(|_, _, stream| say(stream, "200 OK\r\nContent-Length: 6", &BODY[..6]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let error = fetch(&server, &folder.path().join("file"), &right()).unwrap_err();
    let expected = format!("fetching {}: it ended after 6 of 20 bytes (tried 4 times)", server.url);
    assert_eq!(error.to_string(), expected);
}

#[test]
fn body_without_end_stops_at_the_pinned_length() {
    let server = serve(|_, _, stream| {
        let mut alive = say(stream, "200 OK", BODY);
        while alive.is_ok() {
            alive = stream.write_all(&[0; 4096]);
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let error = fetch(&server, &folder.path().join("file"), &right()).unwrap_err();
    let expected = format!(
        "{} is longer than the 20 bytes of its pin; if the pin is wrong, `cargo xtask pins update` reads it again",
        server.url
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn missing_file_is_asked_for_once() {
    let server = serve(|_, _, stream| say(stream, "404 Not Found\r\nContent-Length: 0", b"").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let error = fetch(&server, &folder.path().join("file"), &right()).unwrap_err();
    assert_eq!(error.to_string(), format!("fetching {}: the server says 404 Not Found", server.url));
    assert_eq!(code_of(&error), DOWNLOAD);
    assert_eq!(server.ranges.lock().unwrap().len(), 1);
}

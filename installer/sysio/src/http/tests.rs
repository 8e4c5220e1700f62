use super::client::{redirects, without_user};
use super::{Retry, fetch, get, send};
use reqwest::blocking::Client;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

const QUICK: Retry = Retry { attempts: 3, first_pause: Duration::from_millis(1) };

/// Answers one connection after the other with these texts and then goes away; gives the number it served.
fn serve(answers: Vec<String>) -> (String, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut served = 0;
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while !lines.next().unwrap().unwrap().is_empty() {}
            stream.write_all(answer.as_bytes()).unwrap();
            served += 1;
        }
        served
    });
    (url, server)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[test]
fn a_server_in_trouble_is_tried_again() {
    let (url, server) = serve(vec![answer("503 Busy", ""), answer("200 OK", "abc")]);
    assert_eq!(get(&url, 10, QUICK).unwrap(), b"abc");
    assert_eq!(server.join().unwrap(), 2);
}

/// Method and body.
type Request = (String, Vec<u8>);

/// Takes one request after the other and answers; gives method and body of each.
fn take(answers: Vec<String>) -> (String, JoinHandle<Vec<Request>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut taken = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                reader.read_until(b'\n', &mut head).unwrap();
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length =
                head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            taken.push((head.split(' ').next().unwrap().to_owned(), body));
        }
        taken
    });
    (url, server)
}

#[test]
fn a_password_in_a_url_is_not_shown() {
    assert_eq!(without_user("http://u:p@h:1/a@b"), "http://h:1/a@b");
    assert_eq!(without_user("http://u:p@x@h"), "http://h");
    assert_eq!(without_user("http://h/a@b"), "http://h/a@b");
    assert_eq!(without_user("label:x@y"), "label:x@y");
}

#[test]
fn sends_by_put_and_where_that_is_not_taken_by_post() {
    let (url, server) = take(vec![answer("201 Created", "")]);
    send(&url, b"abc", "application/gzip", QUICK).unwrap();
    assert_eq!(server.join().unwrap(), [("put".to_owned(), b"abc".to_vec())]);
    let (url, server) = take(vec![answer("405 No", ""), answer("200 OK", "")]);
    send(&url, b"abc", "application/gzip", QUICK).unwrap();
    let methods: Vec<String> = server.join().unwrap().into_iter().map(|(method, _)| method).collect();
    assert_eq!(methods, ["put", "post"]);
    let (url, server) = take(vec![answer("403 Forbidden", "")]);
    let error = send(&url, b"abc", "application/gzip", QUICK).unwrap_err();
    assert_eq!(error.to_string(), format!("sending to {url}: the server answered 403"));
    server.join().unwrap();
}

/// Answers one connection over TLS, with a certificate that nobody signed, with a redirect.
fn redirect_over_tls(to: String) -> (String, JoinHandle<()>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/x", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let text = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(text.as_bytes()).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    (url, server)
}

#[test]
fn a_redirect_from_https_to_http_is_refused_and_one_to_https_followed() {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let client = || Client::builder().redirect(redirects()).tls_danger_accept_invalid_certs(true);
    let ask = |url: &str| fetch(&client().build().unwrap(), url, 10);
    let (target, plain) = serve(vec![answer("200 OK", "abc")]);
    let (url, server) = redirect_over_tls(target.clone());
    let error = ask(&url).unwrap_err();
    let mut cause: &dyn Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    assert_eq!(
        (error.to_string(), cause.to_string().as_str()),
        (format!("fetching {url}"), "the server redirects from https to http (127.0.0.1), which is refused")
    );
    assert!(!error.is_transient());
    server.join().unwrap();
    // Over TLS all the way to the refusal, and over plain HTTP to the end.
    let (second, last) = redirect_over_tls(target.clone());
    let (first, server) = redirect_over_tls(second);
    let error = ask(&first).unwrap_err();
    assert!(!error.is_transient());
    server.join().unwrap();
    last.join().unwrap();
    let text = format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n");
    let (url, server) = serve(vec![text]);
    assert_eq!(get(&url, 10, QUICK).unwrap(), b"abc");
    server.join().unwrap();
    assert_eq!(plain.join().unwrap(), 1, "only the last one came to it");
}

#[test]
fn a_refusal_is_final() {
    let (url, server) = serve(vec![answer("404 Not Found", "")]);
    assert_eq!(
        get(&url, 10, QUICK).unwrap_err().to_string(),
        format!("fetching {url}: the server answered 404")
    );
    assert_eq!(server.join().unwrap(), 1);
}

#[test]
fn an_answer_that_is_too_long_is_refused_announced_or_not() {
    let unannounced = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n12345".to_owned();
    for text in [answer("200 OK", "12345"), unannounced] {
        let (url, server) = serve(vec![text]);
        assert_eq!(
            get(&url, 4, QUICK).unwrap_err().to_string(),
            format!("fetching {url}: longer than 4 bytes")
        );
        server.join().unwrap();
    }
}

#[test]
fn a_stream_that_breaks_off_is_an_error_after_the_last_attempt() {
    let broken = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nabc".to_owned();
    let (url, server) = serve(vec![broken; 3]);
    assert_eq!(
        get(&url, 1000, QUICK).unwrap_err().to_string(),
        format!("fetching {url}: reading the answer")
    );
    assert_eq!(server.join().unwrap(), 3);
}

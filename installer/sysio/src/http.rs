//! Fetching over HTTP and HTTPS: bounded in length and time, tried again a few times.

use crate::files::Digested;
use reqwest::blocking::{Client, Response};
use reqwest::redirect::Policy;
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

/// How long one attempt may take to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Whole time of one attempt to fetch something into memory.
const MEMORY_LIMIT: Duration = Duration::from_secs(60);

/// Whole time of one attempt to fetch something large.
const LARGE_LIMIT: Duration = Duration::from_secs(3600);

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// Bytes moved at once.
const CHUNK_BYTES: usize = 128 << 10;

/// How often something is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Pause after the first failure; doubled after each further one.
    pub first_pause: Duration,
}

impl Default for Retry {
    /// Five attempts over 15 seconds.
    fn default() -> Self {
        Self { attempts: 5, first_pause: Duration::from_secs(1) }
    }
}

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The client could not be made, for instance because there are no root certificates for HTTPS.
    #[error("preparing to fetch {url}")]
    Client {
        /// What was asked for.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// No connection, no answer in time, a broken TLS session.
    #[error("fetching {url}")]
    Transport {
        /// What was asked for.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The server said no.
    #[error("fetching {url}: the server answered {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// No connection, or no answer, when something was sent.
    #[error("sending to {url}")]
    Unsent {
        /// Where to.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The server did not take what was sent.
    #[error("sending to {url}: the server answered {status}")]
    NotTaken {
        /// Where to.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// More bytes than allowed.
    #[error("fetching {url}: longer than {max_bytes} bytes")]
    TooLong {
        /// What was asked for.
        url: String,
        /// The bound.
        max_bytes: u64,
    },
    /// The stream broke off, or the file could not be written.
    #[error("fetching {url}: {action}")]
    Stream {
        /// What was asked for.
        url: String,
        /// What was being done.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl HttpError {
    /// True when trying again may help: no answer, a broken stream, a server in trouble; not a wrong address or a refusal.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } | Self::Unsent { source, .. } => !source.is_redirect(),
            Self::Stream { action, .. } => *action == READING,
            Self::Status { status, .. } | Self::NotTaken { status, .. } => {
                *status >= 500 || *status == 408 || *status == 429
            }
            Self::Client { .. } | Self::TooLong { .. } => false,
        }
    }
}

const READING: &str = "reading the answer";
const WRITING: &str = "writing what came";

/// Fetches a small thing into memory.
///
/// # Errors
/// The error of the last attempt.
pub fn get(url: &str, max_bytes: u64, retry: Retry) -> Result<Vec<u8>, HttpError> {
    let client = build_client(url, MEMORY_LIMIT)?;
    with_retries(url, retry, || {
        let mut bytes = Vec::new();
        fetch(&client, url, max_bytes, &mut |_, _| {}, &mut bytes)?;
        Ok(bytes)
    })
}

/// Fetches something large into a writer that `open` makes anew for each attempt. `progress` gets the bytes done and,
/// when the server tells, the whole length.
///
/// # Errors
/// The error of the last attempt; what was written until then is the caller's to remove.
pub fn get_into<W: Write>(
    url: &str,
    max_bytes: u64,
    retry: Retry,
    progress: &mut dyn FnMut(u64, Option<u64>),
    mut open: impl FnMut() -> io::Result<W>,
) -> Result<Digested, HttpError> {
    let client = build_client(url, LARGE_LIMIT)?;
    with_retries(url, retry, || {
        let stream_error = |source| HttpError::Stream { url: without_user(url), action: WRITING, source };
        let mut writer = open().map_err(stream_error)?;
        let digested = fetch(&client, url, max_bytes, progress, &mut writer)?;
        writer.flush().map_err(stream_error)?;
        Ok(digested)
    })
}

/// Sends bytes to a URL: PUT, or POST where the server takes no PUT. Answers of the 200s are a yes.
///
/// # Errors
/// The error of the last attempt.
pub fn send(url: &str, bytes: &[u8], content_type: &str, retry: Retry) -> Result<(), HttpError> {
    let client = build_client(url, LARGE_LIMIT)?;
    with_retries(url, retry, || {
        let send = |method: reqwest::Method| {
            let request =
                client.request(method, url).header("content-type", content_type).body(bytes.to_vec());
            let answer = request.send();
            answer
                .map_err(|source| HttpError::Unsent { url: without_user(url), source: source.without_url() })
        };
        let mut status = send(reqwest::Method::PUT)?.status();
        if matches!(status.as_u16(), 404 | 405 | 501) {
            status = send(reqwest::Method::POST)?.status();
        }
        if status.is_success() {
            Ok(())
        } else {
            Err(HttpError::NotTaken { url: without_user(url), status: status.as_u16() })
        }
    })
}

/// The URL as it may be shown: without the user name and password that may stand in it.
pub fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest.get(..end).and_then(|authority| authority.rfind('@')) {
        Some(at) => format!("{scheme}://{}", rest.get(at + 1..).unwrap_or_default()),
        None => url.to_owned(),
    }
}

/// A server sends us from HTTPS to plain HTTP, where anybody on the way could read and change what comes.
#[derive(Debug, thiserror::Error)]
#[error("the server redirects from https to http ({host}), which is refused")]
struct Downgraded {
    host: String,
}

/// A few redirects are followed, none of them from HTTPS to plain HTTP: who named an https URL relies on it.
fn redirects() -> Policy {
    let limited = Policy::limited(REDIRECTS_MAX);
    Policy::custom(move |attempt| {
        let downgraded = attempt.url().scheme() != "https"
            && attempt.previous().last().is_some_and(|from| from.scheme() == "https");
        if downgraded {
            let host = attempt.url().host_str().unwrap_or_default().to_owned();
            attempt.error(Downgraded { host })
        } else {
            limited.redirect(attempt)
        }
    })
}

/// A client for this URL. Plain HTTP gets one without any root certificate, so that it works on a machine that has none.
fn build_client(url: &str, limit: Duration) -> Result<Client, HttpError> {
    // Fails when a provider is installed already, which is just as well.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        .timeout(limit)
        .redirect(redirects())
        .user_agent(concat!("metalstrap/", env!("CARGO_PKG_VERSION")));
    if !url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|source| HttpError::Client { url: without_user(url), source })
}

/// Fetches a small thing once, from a server whose certificate is not looked at (`trusted` is `None`) or has to be signed by one of
/// these, in PEM form. No proxy is used: the question is whether this machine reaches the server. Only for questions that hold no
/// secret.
///
/// # Errors
/// No answer within the limit, another status than 200, or a certificate that does not fit.
pub fn look(
    url: &str,
    max_bytes: u64,
    limit: Duration,
    trusted: Option<&[u8]>,
) -> Result<Vec<u8>, HttpError> {
    // Fails when a provider is installed already, which is just as well.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let failed = |source| HttpError::Client { url: url.to_owned(), source };
    let mut builder =
        Client::builder().connect_timeout(limit).timeout(limit).redirect(Policy::none()).no_proxy();
    builder = match trusted {
        None => builder.tls_danger_accept_invalid_certs(true),
        Some(pem) => builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem).map_err(failed)?),
    };
    let client = builder.build().map_err(failed)?;
    let mut bytes = Vec::new();
    fetch(&client, url, max_bytes, &mut |_, _| {}, &mut bytes)?;
    Ok(bytes)
}

fn with_retries<T>(
    url: &str,
    retry: Retry,
    mut attempt: impl FnMut() -> Result<T, HttpError>,
) -> Result<T, HttpError> {
    let mut pause = retry.first_pause;
    let mut left = retry.attempts.max(1);
    loop {
        left -= 1;
        match attempt() {
            Err(error) if left > 0 && error.is_transient() => {
                tracing::warn!(url = without_user(url), error = %error, pause_secs = pause.as_secs_f32(), left, "fetching failed, trying again");
                thread::sleep(pause);
                pause *= 2;
            }
            result => return result,
        }
    }
}

fn fetch(
    client: &Client,
    url: &str,
    max_bytes: u64,
    progress: &mut dyn FnMut(u64, Option<u64>),
    sink: &mut dyn Write,
) -> Result<Digested, HttpError> {
    let without_url = |source: reqwest::Error| source.without_url();
    let response = client
        .get(url)
        .send()
        .map_err(|source| HttpError::Transport { url: without_user(url), source: without_url(source) })?;
    if !response.status().is_success() {
        return Err(HttpError::Status { url: without_user(url), status: response.status().as_u16() });
    }
    let announced = response.content_length();
    if announced.is_some_and(|length| length > max_bytes) {
        return Err(HttpError::TooLong { url: without_user(url), max_bytes });
    }
    receive(response, url, max_bytes, announced, progress, sink)
}

fn receive(
    mut response: Response,
    url: &str,
    max_bytes: u64,
    announced: Option<u64>,
    progress: &mut dyn FnMut(u64, Option<u64>),
    sink: &mut dyn Write,
) -> Result<Digested, HttpError> {
    let stream_error = |action| move |source| HttpError::Stream { url: without_user(url), action, source };
    let mut hash = Sha256::new();
    let mut chunk = vec![0u8; CHUNK_BYTES];
    let mut length = 0u64;
    loop {
        let read = match response.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.map_err(stream_error(READING))?,
        };
        if read == 0 {
            return Ok(Digested { length, sha256: hex::encode(hash.finalize()) });
        }
        length += read as u64;
        if length > max_bytes {
            return Err(HttpError::TooLong { url: without_user(url), max_bytes });
        }
        hash.update(&chunk[..read]);
        sink.write_all(&chunk[..read]).map_err(stream_error(WRITING))?;
        progress(length, announced);
    }
}

#[cfg(test)]
mod tests {
    use super::{Retry, fetch, get, get_into, redirects, send, without_user};
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
    fn fetches_plain_http_and_hashes_it() {
        let (url, server) = serve(vec![answer("200 OK", "abc")]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let digested = get_into(&url, 3, QUICK, &mut |_, _| {}, || std::fs::File::create(&path)).unwrap();
        assert_eq!(digested.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert_eq!(server.join().unwrap(), 1);
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
        let ask = |url: &str| fetch(&client().build().unwrap(), url, 10, &mut |_, _| {}, &mut Vec::new());
        let (target, plain) = serve(vec![answer("200 OK", "abc")]);
        let (url, server) = redirect_over_tls(target.clone());
        let error = ask(&url).unwrap_err();
        let mut cause: &dyn Error = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        assert_eq!(
            (error.to_string(), cause.to_string().as_str()),
            (
                format!("fetching {url}"),
                "the server redirects from https to http (127.0.0.1), which is refused"
            )
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
}

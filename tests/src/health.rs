//! Asks a node's health agent over HTTP, on a loopback port of the host.

use anyhow::{Context, Result, bail};
use report::Report;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

/// How long an agent may take to answer; emulated machines are slow to shake hands.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// An answer longer than this is refused.
const LONGEST_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
    /// Head and body as they came, for the canary search.
    pub raw: Vec<u8>,
}

/// Gets `path` from `127.0.0.1:port`.
///
/// # Errors
/// Nobody answers in time, or not in HTTP.
pub fn get(port: u16, path: &str) -> Result<HttpAnswer> {
    let context = || format!("asking http://127.0.0.1:{port}{path}");
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into();
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN).with_context(context)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    // HTTP/1.0: the body ends with the connection, in one piece.
    // And the question in one piece, too: who answers its beginning and hangs up would reset the rest.
    let question = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    stream.write_all(question.as_bytes()).with_context(context)?;
    let mut raw = Vec::new();
    stream.take(LONGEST_ANSWER_BYTES).read_to_end(&mut raw).with_context(context)?;
    parse_answer(raw).with_context(context)
}

fn parse_answer(raw: Vec<u8>) -> Result<HttpAnswer> {
    let Some(end) = raw.windows(4).position(|window| window == b"\r\n\r\n") else {
        bail!("the answer has no end of its head");
    };
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let Some(status) = status.filter(|_| head.starts_with("HTTP/1.")) else {
        bail!("the answer does not start as HTTP does: {}", head.lines().next().unwrap_or_default());
    };
    Ok(HttpAnswer { status, body: raw[end + 4..].to_vec(), raw })
}

/// The health report of a node.
///
/// # Errors
/// As [`get`]; a status other than 200; a body that is no report.
pub fn report(port: u16) -> Result<(Report, Vec<u8>)> {
    let answer = get(port, "/v1/report")?;
    if answer.status != 200 {
        bail!("the health agent answers with status {}", answer.status);
    }
    let report = serde_json::from_slice(&answer.body).context("reading the health report")?;
    Ok((report, answer.raw))
}

/// Resident memory of the health agent in KiB, from its metrics; `None` when it does not tell.
pub fn agent_rss_kib(metrics: &str) -> Option<u64> {
    let line = metrics
        .lines()
        .find(|line| line.contains("process_resident_memory_bytes") && !line.starts_with('#'))?;
    let bytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some((bytes / 1024.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::{agent_rss_kib, get, parse_answer};
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn gets_a_page() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0u8; 512];
            let count = stream.read(&mut head).unwrap();
            write!(stream, "HTTP/1.1 503 Service Unavailable\r\nX: y\r\n\r\nno").unwrap();
            String::from_utf8_lossy(&head[..count]).into_owned()
        });
        let answer = get(port, "/healthz").unwrap();
        assert_eq!((answer.status, answer.body), (503, b"no".to_vec()));
        assert!(server.join().unwrap().starts_with("GET /healthz HTTP/1.0\r\n"));
    }

    #[test]
    fn refuses_what_is_not_http() {
        let error = |raw: &[u8]| parse_answer(raw.to_vec()).unwrap_err().to_string();
        assert_eq!(error(b"SSH-2.0-x\r\n\r\n"), "the answer does not start as HTTP does: SSH-2.0-x");
        assert_eq!(error(b"HTTP/1.1 200 OK\r\n"), "the answer has no end of its head");
    }

    #[test]
    fn reads_resident_memory() {
        let text = "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 1.048576e+07\n";
        assert_eq!(agent_rss_kib(text), Some(10240));
        assert_eq!(agent_rss_kib("up 1\n"), None);
    }
}

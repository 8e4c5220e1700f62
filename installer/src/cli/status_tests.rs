use super::{Args, complete_url, parse_report, render, run};
use crate::cli::{Global, OutputFormat};
use crate::exit::ExitCode;
use report::Report;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use sysio::agent_http::AgentAddress;

fn report(ready: bool) -> Report {
    let text = r#"{
      "schema": "metalstrap.report/v1", "generated_at": "2026-11-21T07:10:00Z",
      "node": {"hostname": "master-1", "role": "master", "cluster": "lab", "addresses": ["10.0.0.11"],
        "kernel": "6.1.0", "k3s": "v1.28.9+k3s1", "k3s_double": true, "image": "0.1.0", "slot": "a",
        "agent": "0.1.0", "boot_id": "x", "uptime_secs": 700},
      "ready": false, "worst": "critical", "because": ["unit.k3s: k3s.service has failed (failed)"],
      "summary": {"ok": 1, "warning": 0, "critical": 1, "unknown": 0, "disabled": 1},
      "checks": [
        {"id": "vip.local", "instance": "10.0.0.10", "state": "ok", "reason": "Holder", "message": "fine",
         "since": "2026-11-21T07:00:00Z", "observed_at": null, "took_ms": 1, "action": ""},
        {"id": "unit.k3s", "instance": "", "state": "critical", "reason": "Failed",
         "message": "k3s.service has failed (failed)", "since": "2026-11-21T07:09:48Z", "observed_at": null,
         "took_ms": 1, "action": "journalctl -u k3s -e"},
        {"id": "unit.haproxy", "instance": "", "state": "disabled", "reason": "NotWanted", "message": "no",
         "since": "2026-11-21T07:00:00Z", "observed_at": null, "took_ms": 0, "action": ""}
      ]}"#;
    let mut report: Report = serde_json::from_str(text).unwrap();
    report.ready = ready;
    report
}

#[test]
fn shows_the_worst_first_and_what_to_do() {
    let now = "2026-11-21T07:10:02Z".parse().unwrap();
    let expected = "\
master-1: not healthy, 1 checks ok
THIS NODE RUNS THE K3S TEST DOUBLE, NOT KUBERNETES
  because unit.k3s: k3s.service has failed (failed)
role master, cluster lab, addresses 10.0.0.11, image 0.1.0, slot a, k3s v1.28.9+k3s1, kernel 6.1.0, up 11 min

STATE     CHECK                SINCE   MESSAGE
critical  unit.k3s             12 s    k3s.service has failed (failed)
ok        vip.local 10.0.0.10  10 min  fine

unit.k3s: journalctl -u k3s -e
not for this node: unit.haproxy
";
    assert_eq!(render(&report(false), now), expected);
}

#[test]
fn an_old_report_is_called_old() {
    let now = "2026-11-21T08:10:00Z".parse().unwrap();
    let text = render(&report(true), now);
    assert!(text.contains("\nThis report is 60 min old, or the clocks differ.\n"), "{text}");
    let fresh = render(&report(true), "2026-11-21T07:10:30Z".parse().unwrap());
    assert!(!fresh.contains("old"), "{fresh}");
}

#[test]
fn hostile_text_does_not_reach_the_terminal() {
    let mut hostile = report(false);
    hostile.node.hostname = "m\x1b[2J1".to_owned();
    hostile.because = vec!["a\nok \u{202e}b".to_owned()];
    hostile.checks[0].message = "\r\x07x".to_owned();
    let text = render(&hostile, hostile.generated_at);
    assert!(text.starts_with("m?[2J1: "), "{text}");
    assert!(text.contains("  because a?ok ?b\n") && text.contains("??x"), "{text}");
    assert!(!text.contains(['\x1b', '\r', '\x07', '\u{202e}']));
}

#[test]
fn completes_what_an_operator_types() {
    for (typed, url) in [
        ("10.0.0.11", "http://10.0.0.11:9940"),
        ("10.0.0.11:80", "http://10.0.0.11:80"),
        ("http://m1:9940/", "http://m1:9940/"),
        ("[fd00::1]", "http://[fd00::1]:9940"),
        ("[fd00::1]:80", "http://[fd00::1]:80"),
    ] {
        assert_eq!(complete_url(typed), url);
    }
}

#[test]
fn refuses_what_is_no_report() {
    let at = AgentAddress::Url("http://x".to_owned());
    let error = parse_report(b"<html>", &at).unwrap_err();
    assert_eq!(error.to_string(), "reading the report of http://x");
    let other = serde_json::to_string(&report(true)).unwrap().replace("report/v1", "report/v9");
    let error = parse_report(other.as_bytes(), &at).unwrap_err();
    let expected =
        "the report of http://x has the schema \"metalstrap.report/v9\", expected \"metalstrap.report/v1\"";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn refuses_what_is_no_address_of_an_agent() {
    for (typed, why) in [
        ("http://", "empty host"),
        ("10.0.0.11:99999", "invalid port number"),
        ("ftp://10.0.0.11", "ftp is neither http nor https"),
        ("http://10.0.0.11:9940/metrics", "it names a document; host and port are enough"),
        ("a b", "invalid international domain name"),
    ] {
        let args = Args { url: Some(typed.to_owned()), socket: "/nowhere".into() };
        let failure = run(&args, &Global { output: OutputFormat::Json, yes: false }).unwrap_err();
        let text = failure.error.to_string();
        assert_eq!(failure.exit, ExitCode::InvalidInput, "{typed}");
        assert!(text.ends_with(&format!("is not the address of a health agent: {why}")), "{text}");
    }
}

fn status(socket: &Path) -> Result<ExitCode, (ExitCode, String)> {
    let args = Args { url: None, socket: socket.to_owned() };
    let global = Global { output: OutputFormat::Json, yes: false };
    run(&args, &global).map_err(|failure| (failure.exit, failure.error.to_string()))
}

/// Answers one request with a report.
fn serve_once(socket: &Path, mut report: Report) -> std::thread::JoinHandle<()> {
    report.generated_at = sysio::clock::realtime().unwrap();
    let body = serde_json::to_string(&report).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"GET /v1/report HTTP/1.1\r\n"));
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .unwrap();
    })
}

#[test]
fn the_exit_code_tells_healthy_from_not_healthy_from_silent() {
    let folder = tempfile::tempdir().unwrap();
    for (name, ready, expected) in [("up", true, ExitCode::Ok), ("down", false, ExitCode::Unknown)] {
        let socket = folder.path().join(name);
        let server = serve_once(&socket, report(ready));
        assert_eq!(status(&socket), Ok(expected));
        server.join().unwrap();
    }
    let nobody = folder.path().join("nobody");
    let text = format!("asking the health agent at {}", nobody.display());
    assert_eq!(status(&nobody), Err((ExitCode::Environment, text)));
}

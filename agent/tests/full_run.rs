//! The whole agent on a fake node: report, metrics, console, fault and recovery.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod kit;

use agent::run::{Options, run};
use kit::Pki;
use report::Report;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use sysio::agent_http::{AgentAddress, fetch};
use sysio::units::Bus;

async fn get(socket: &Path, path: &'static str) -> Result<String, String> {
    let address = AgentAddress::Socket(socket.to_owned());
    let fetched =
        tokio::task::spawn_blocking(move || fetch(&address, path, Duration::from_secs(10))).await.unwrap();
    fetched.map(|bytes| String::from_utf8(bytes).unwrap()).map_err(|error| error.to_string())
}

struct Node {
    root: tempfile::TempDir,
    socket: PathBuf,
    units: kit::systemd::Units,
    pki: Pki,
}

async fn start() -> Node {
    // In memory: how full the disk of this machine is must not count.
    let (root, pki) = (tempfile::tempdir_in("/dev/shm").unwrap(), Pki::new());
    kit::fake_root(root.path());
    let port = kit::serve_api(&pki, Arc::new(Mutex::new((200, "ok".to_owned())))).await;
    kit::put(root.path(), "etc/rancher/k3s/k3s.yaml", &pki.kubeconfig(port));
    kit::put(root.path(), "var/lib/rancher/k3s/server/tls/server-ca.crt", &pki.ca_pem);
    let (socket, bus) = (root.path().join("run/agent.sock"), root.path().join("bus"));
    let units = kit::healthy_units();
    kit::systemd::serve(&bus, units.clone());
    let options = Options {
        root: root.path().to_owned(),
        socket: socket.clone(),
        listen: Vec::new(),
        bus: Bus::Peer(bus),
        endpoints: kit::endpoints(port, &kit::serve_plain().await),
    };
    tokio::spawn(async move { run(options).await.unwrap() });
    Node { root, socket, units, pki }
}

/// What differs from run to run.
fn without_times(mut report: Report) -> Report {
    let then = "2026-01-01T00:00:00Z".parse().unwrap();
    report.generated_at = then;
    report.node.uptime_secs = 0;
    for check in &mut report.checks {
        check.since = then;
        check.observed_at = check.observed_at.map(|_| then);
        check.took_ms = 0;
        if check.id == "disk.state" {
            check.message =
                check.message.split_inclusive(' ').filter(|w| w.parse::<u32>().is_err()).collect();
            check.message.retain(|c| !c.is_ascii_digit());
        }
    }
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_node_is_reported_healthy_until_it_is_not() {
    let node = start().await;
    // The report says why it is not so yet.
    let healthy = async || match get(&node.socket, "/healthz").await {
        Err(_) => Err(get(&node.socket, "/v1/report").await.unwrap_or_else(|error| error)),
        text => text,
    };
    let text = kit::eventually("healthy", healthy).await;
    assert_eq!(text, "master-1 healthy, 23 checks ok\n");
    let report: Report = serde_json::from_str(&get(&node.socket, "/v1/report").await.unwrap()).unwrap();
    insta::assert_json_snapshot!("report", without_times(report));
    assert_eq!(get(&node.socket, "/livez").await.unwrap(), "ok\n");
    assert_eq!(get(&node.socket, "/readyz").await.unwrap(), "ok\n");
    check_metrics(&get(&node.socket, "/metrics").await.unwrap());

    let down = kit::systemd::unit("k3s.service", "loaded", "failed", "failed", 2_000_000);
    let up = std::mem::replace(&mut node.units.lock().unwrap()[0], down);
    let refused = async || match get(&node.socket, "/healthz").await {
        Ok(text) => Err(text),
        Err(error) => Ok(error),
    };
    let status = kit::eventually("not healthy", refused).await;
    assert!(status.ends_with("answers /healthz with HTTP status 503"), "{status}");
    let report: Report = serde_json::from_str(&get(&node.socket, "/v1/report").await.unwrap()).unwrap();
    assert!(report.because.contains(&"unit.k3s: k3s.service has failed (failed)".to_owned()), "{report:?}");

    node.units.lock().unwrap()[0] = up;
    kit::eventually("healthy again", healthy).await;

    let count = |restarts| {
        let k3s = &mut node.units.lock().unwrap()[0];
        (k3s.left_active, k3s.restarts) = (900_000, restarts);
    };
    count(3);
    let looping = "unit.k3s: k3s.service is active (running); started again 3 times, last 0 min ago";
    let crashing = async || {
        let text = get(&node.socket, "/v1/report").await?;
        if text.contains(looping) { Ok(()) } else { Err(text) }
    };
    kit::eventually("a crash loop", crashing).await;
    count(0);
    kit::eventually("started by hand", healthy).await;

    let console = std::fs::read_to_string(node.root.path().join("dev/ttyS0")).unwrap();
    let lines: Vec<&str> = console.lines().collect();
    assert_eq!(lines.first(), Some(&"metalstrap-agent: master-1 healthy, 23 checks ok"));
    assert_eq!(lines.last(), lines.first());
    let fault = "metalstrap-agent: master-1 not healthy: unit.k3s: k3s.service has failed (failed)";
    assert!(lines.contains(&fault), "{console}");

    let secret = node.pki.client_key_pem.lines().nth(1).unwrap();
    for path in ["/healthz?verbose", "/v1/report", "/metrics"] {
        let answer = get(&node.socket, path).await.unwrap();
        assert!(!answer.contains(secret) && !answer.contains("PRIVATE"), "{path}");
    }
}

/// Every line is a comment or `name{labels} number`; the end is marked.
fn check_metrics(text: &str) {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for line in &samples {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(name.starts_with("metalstrap_") && (name.ends_with('}') || !name.contains('{')), "{line}");
    }
    for expected in [
        "metalstrap_ready 1",
        "metalstrap_check_state{check=\"unit.k3s\",subject=\"\",state=\"ok\"} 1",
        "metalstrap_check_state{check=\"unit.k3s\",subject=\"\",state=\"critical\"} 0",
        "metalstrap_check_state{check=\"vip.local\",subject=\"127.0.0.1\",state=\"ok\"} 1",
        "metalstrap_check_timeouts_total{check=\"disk.state\"} 0",
    ] {
        assert!(samples.contains(&expected), "{expected} is not in\n{text}");
    }
    assert!(samples.len() < 600, "{} series", samples.len());
}

//! The program itself under a fake systemd that wants notifications, with looks that hang.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod kit;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Reads notifications until one is the wanted one; gives all that came before.
fn until(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !seen.iter().any(|text: &String| text.trim() == wanted) {
        let length =
            socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted} after {seen:?}: {error}"));
        seen.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
    }
    seen
}

#[test]
fn notifies_systemd_and_feeds_the_watchdog_while_looks_hang() {
    let root = tempfile::tempdir().unwrap();
    kit::fake_root(root.path());
    // A file that hangs when it is opened, and a bus that accepts and says nothing.
    std::fs::create_dir_all(root.path().join("etc/rancher/k3s")).unwrap();
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&root.path().join("etc/rancher/k3s/k3s.yaml"), mode).unwrap();
    let bus = root.path().join("bus");
    let _mute = UnixListener::bind(&bus).unwrap();
    let notify = root.path().join("notify");
    let systemd = UnixDatagram::bind(&notify).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(60))).unwrap();

    let mut agent = Command::new(env!("CARGO_BIN_EXE_metalstrap-agent"))
        .arg("--root")
        .arg(root.path())
        .arg("--socket")
        .arg(root.path().join("agent.sock"))
        .args(["--listen", "127.0.0.1:0", "--systemd-socket"])
        .arg(&bus)
        .env("NOTIFY_SOCKET", &notify)
        .env("WATCHDOG_USEC", "900000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(&systemd, "READY=1");
    let not_ready = "STATUS=master-1 not healthy: ";
    // The hung kubeconfig ends in a verdict, not in silence …
    let mut seen = until(&systemd, "WATCHDOG=1");
    for _ in 0..8 {
        seen.extend(until(&systemd, "WATCHDOG=1"));
    }
    assert!(agent.try_wait().unwrap().is_none(), "it runs: {seen:?}");
    kill(Pid::from_raw(i32::try_from(agent.id()).unwrap()), Signal::SIGTERM).unwrap();
    let last = until(&systemd, "STOPPING=1");
    let status = agent.wait().unwrap();
    assert!(status.success(), "{status} after {last:?}");
    let console = std::fs::read_to_string(root.path().join("dev/ttyS0")).unwrap();
    assert!(console.starts_with("metalstrap-agent: master-1 not healthy: "), "{console:?} {not_ready}");
}

#[test]
fn ends_with_a_reason_without_a_node_config() {
    let root = tempfile::tempdir().unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_metalstrap-agent")).arg("--root").arg(root.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let path = root.path().join("etc/metalstrap/node.json");
    let expected = format!(
        "ERROR the health agent ends error=\"reading {}: No such file or directory (os error 2)\"\n",
        path.display()
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
}

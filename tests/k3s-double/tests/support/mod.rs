//! Machines for the tests: a network namespace with one interface `cluster0`, and a folder that stands for `/`.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_k3s-double");
/// How long anything may take before a test gives up; never a measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// One machine.
pub struct Machine {
    holder: Child,
    folder: tempfile::TempDir,
}

impl Machine {
    /// A machine without a network.
    pub fn new() -> Self {
        let mut command = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        let holder = command.args(["--net", "sleep", "600"]).spawn().expect("unshare runs");
        let machine = Self { holder, folder: tempfile::tempdir().unwrap() };
        wait("the name space", || {
            let own = std::fs::read_link("/proc/self/ns/net").ok();
            let theirs = std::fs::read_link(format!("/proc/{}/ns/net", machine.holder.id())).ok();
            theirs.is_some() && theirs != own
        });
        machine.run("ip", &["link", "set", "lo", "up"]);
        machine
    }

    /// A machine with `cluster0`, whose other end nobody uses.
    pub fn alone(address: &str) -> Self {
        let machine = Self::new();
        machine.run("ip", &["link", "add", "cluster0", "type", "veth", "peer", "name", "peer0"]);
        machine.run("ip", &["link", "set", "peer0", "up"]);
        machine.address(address);
        machine
    }

    /// Two machines on one cable.
    pub fn pair(first: &str, second: &str) -> (Self, Self) {
        let (a, b) = (Self::new(), Self::new());
        let other = b.holder.id().to_string();
        a.run(
            "ip",
            &["link", "add", "cluster0", "type", "veth", "peer", "name", "cluster0", "netns", &other],
        );
        a.address(first);
        b.address(second);
        (a, b)
    }

    fn address(&self, address: &str) {
        self.run("ip", &["addr", "add", address, "dev", "cluster0"]);
        self.run("ip", &["link", "set", "cluster0", "up"]);
    }

    /// A command inside the name space.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.holder.id().to_string()]);
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command
            .arg("--")
            .arg(program)
            .args(args)
            .env("K3S_DOUBLE_ROOT", self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn output(&self, program: &str, args: &[&str]) -> Output {
        self.command(program, args).output().expect("command runs")
    }

    /// Runs a command that must succeed and gives its output.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.output(program, args);
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Status and body of an HTTPS request with more curl arguments.
    pub fn curl(&self, url: &str, args: &[&str]) -> (u16, String) {
        let ca = self.path("/var/lib/rancher/k3s/agent/server-ca.crt");
        let tls = self.path("/var/lib/rancher/k3s/server/tls/server-ca.crt");
        let ca = if tls.exists() { tls } else { ca };
        let mut all =
            vec!["--silent", "--show-error", "--max-time", "15", "--write-out", "\n%{http_code}", "--cacert"];
        let ca = ca.to_str().unwrap().to_owned();
        all.push(&ca);
        all.extend(args);
        all.push(url);
        let output = self.output("curl", &all);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, code) = text.rsplit_once('\n').expect("curl prints the status");
        (code.parse().unwrap(), body.to_owned())
    }

    /// A path of the machine as seen from here.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.folder.path().join(absolute.trim_start_matches('/'))
    }

    /// Writes a file with a mode.
    pub fn write(&self, absolute: &str, mode: u32, text: &str) {
        let path = self.path(absolute);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Reads a file.
    pub fn read(&self, absolute: &str) -> String {
        std::fs::read_to_string(self.path(absolute)).unwrap()
    }

    /// JSON of an API path, read as administrator.
    pub fn api(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.run(PROGRAM, &["kubectl", "get", "--raw", path])).unwrap()
    }

    /// Starts k3s; [`K3s::ready`] waits for READY=1.
    pub fn start(&self, role: &str, env: &[(&str, &str)]) -> K3s {
        let socket = self.path("/notify");
        drop(std::fs::remove_file(&socket));
        let notify = UnixDatagram::bind(&socket).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("/log")).unwrap();
        let child = self
            .command(PROGRAM, &[role])
            .env("NOTIFY_SOCKET", &socket)
            .envs(env.iter().copied())
            .stderr(log)
            .spawn()
            .unwrap();
        K3s { child, notify }
    }

    /// The log of all k3s of this machine.
    pub fn log(&self) -> String {
        self.read("/log")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The kube-vip stand-in outlives k3s on purpose: end it by its own pid.
        if let Ok(text) = std::fs::read_to_string(self.path("/run/k3s/double-kube-vip.pid"))
            && let Some(Ok(pid)) = text.split(' ').next().map(str::parse::<i32>)
            && std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|c| String::from_utf8_lossy(&c).contains("double-kube-vip"))
        {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
                .unwrap_or_default();
        }
        drop(self.holder.kill());
        drop(self.holder.wait());
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.path("/log")).unwrap_or_default());
        }
    }
}

/// A running k3s.
pub struct K3s {
    child: Child,
    notify: UnixDatagram,
}

impl K3s {
    /// Waits for READY=1.
    pub fn ready(&self) {
        let mut buffer = [0; 64];
        let n = self.notify.recv(&mut buffer).expect("READY=1 arrives");
        assert_eq!(&buffer[..n], b"READY=1\n");
    }

    /// SIGTERM; the exit must be clean.
    pub fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for K3s {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until something holds.
pub fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

//! The console of a machine without a configuration, over a pseudo-terminal in the place of its serial line. Needs root, for a mount
//! namespace in which the kernel's list of consoles, its command line and `/run` are others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a test")]

use nix::pty::openpty;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Hit only on failure.
const LIMIT: Duration = Duration::from_secs(240);

/// Runs in a mount namespace of its own: $1 is a folder, $2 the program.
const STAGE: &str = r#"
set -e
mount --bind "$1/active" /sys/class/tty/console/active
mount --bind "$1/cmdline" /proc/cmdline
[ ! -e /dev/tty1 ] || mount --bind /dev/null /dev/tty1
mount -t tmpfs tmpfs /run
exec "$2" install --unattended --console --no-reboot
"#;

/// Serves one file on every path that ends in `.toml` but `secrets.toml`.
fn serve(file: Arc<Mutex<String>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/site/cluster.toml", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            while !lines.next().unwrap().unwrap().is_empty() {}
            let answer = if request.contains("secrets.toml") {
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
            } else {
                let body = file.lock().unwrap().clone();
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                )
            };
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

struct Console {
    program: Child,
    keyboard: File,
    shown: Arc<Mutex<String>>,
    seen: usize,
    _folder: tempfile::TempDir,
}

impl Console {
    fn start() -> Self {
        let pty = openpty(None, None).unwrap();
        let name = std::fs::read_link(format!("/proc/self/fd/{}", pty.slave.as_raw_fd())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let console = name.strip_prefix("/dev").unwrap().display().to_string();
        std::fs::write(folder.path().join("active"), format!("{console}\n")).unwrap();
        std::fs::write(folder.path().join("cmdline"), "quiet metalstrap.mode=install\n").unwrap();
        let program = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", STAGE, "sh"])
            .arg(folder.path())
            .arg(env!("CARGO_BIN_EXE_metalstrap"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut screen, text) = (File::from(pty.master.try_clone().unwrap()), Arc::clone(&shown));
        std::thread::spawn(move || {
            // The other end stays open here, so that the terminal outlives a program that is about to open it.
            let _slave = pty.slave;
            let mut bytes = [0; 1024];
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { program, keyboard: File::from(pty.master), shown, seen: 0, _folder: folder }
    }

    /// Waits until this is shown behind what was waited for before.
    fn expect(&mut self, text: &str) {
        self.expect_one(&[text]);
    }

    /// Waits until one of these is shown; gives its number.
    fn expect_one(&mut self, texts: &[&str]) -> usize {
        let began = Instant::now();
        loop {
            let shown = self.shown.lock().unwrap().clone();
            let new = &shown[self.seen..];
            let ends = texts.iter().map(|text| new.find(text).map(|at| at + text.len()));
            let found = ends.zip(0..).filter_map(|(end, number)| Some((end?, number))).min();
            if let Some((end, number)) = found {
                self.seen += end;
                return number;
            }
            assert!(began.elapsed() < LIMIT, "none of {texts:?} in:\n{new}");
            let ended = self.program.try_wait().unwrap();
            assert!(ended.is_none(), "the program ended ({ended:?}) before {texts:?} in:\n{new}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn type_line(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\r").as_bytes()).unwrap();
    }

    /// A file as the program sees it.
    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/root{path}", self.program.id())).unwrap()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _gone = self.program.kill();
        let _gone = self.program.wait();
    }
}

#[test]
fn a_machine_without_a_configuration_is_given_one_at_its_serial_console() {
    let example = include_str!("../../profiles/examples/single.toml");
    let mac = example.split("mac = \"").nth(1).unwrap().split('"').next().unwrap();
    // No machine is this one: nothing can be installed, whatever else is found here.
    let file = Arc::new(Mutex::new(example.replace(mac, "52:54:00:fe:ed:01")));
    let url = serve(Arc::clone(&file));
    let mut console = Console::start();

    console.expect("metalstrap: refused: E_CONFIG_NONE: no cluster file was found");
    console.expect("metalstrap: failed step: finding the cluster file and this node in it");
    console.expect("metalstrap: probable cause: the stick with the cluster file is not plugged in");
    console.expect("metalstrap: next: plug in a volume labelled METALSTRAP");
    console.expect("metalstrap: stopped with exit code 2, nothing was written");
    console.expect("metalstrap: this machine has no host name yet; it is");
    console.expect("metalstrap: type a letter and Enter:");
    let outcome: serde_json::Value =
        serde_json::from_str(&console.read("/run/metalstrap/install.json")).unwrap();
    assert_eq!((&outcome["code"], &outcome["outcome"]), (&"E_CONFIG_NONE".into(), &"refused".into()));
    console.expect("shell");

    // Somebody hits the wrong keys, and then asks for the dialogue.
    console.type_line("x\x1b[2J");
    console.expect("is no order");
    console.expect("shell");
    console.type_line("c");
    console.expect("metalstrap: one answer per line");
    if console.expect_one(&["URL of the cluster file", "number of the port"]) == 1 {
        console.type_line("");
        console.expect("URL of the cluster file");
    }
    console.type_line("ftp://example.org/x");
    console.expect("expected http://");
    console.type_line(&url);
    console.expect(&format!("metalstrap: as kernel arguments: metalstrap.config={url}"));
    console.expect("metalstrap: refused: E_NODE_NONE: ");
    console.expect("metalstrap: stopped with exit code 2, nothing was written");

    // The file on the server changes: found without anybody typing.
    let changed = file.lock().unwrap().replace("52:54:00:fe:ed:01", "52:54:00:fe:ed:02");
    *file.lock().unwrap() = changed;
    console.expect(&format!("metalstrap: found a configuration: {url}"));
    console.expect("52:54:00:fe:ed:02");
    console.expect("metalstrap: type a letter and Enter:");

    console.type_line("p");
    console.expect("metalstrap: type yes to switch off this machine:");
    console.type_line("no");
    console.expect("metalstrap: not done");
    let shown = console.shown.lock().unwrap().clone();
    // What was typed is echoed by the terminal itself, control characters as ^[; what the program shows is escaped.
    assert!(!shown.contains('\x1b'), "{shown:?}");
}

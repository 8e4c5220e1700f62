//! Lines to every active kernel console, video and serial alike. A console that hangs or is gone holds up nobody.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How long one line may wait for room in a console. 80 characters take 90 ms at 9600 baud.
const LINE_PATIENCE_MS: u16 = 200;

/// Lines a console may miss in a row before it is left alone for good.
const MISSES_MAX: u32 = 5;

/// The first virtual terminal: what a person in front of the machine sees, whichever console the kernel prefers.
const VIDEO: &str = "tty1";

/// Devices of the active consoles below `root` (`/` on a real system), as the kernel lists them.
///
/// # Errors
/// When the kernel's list cannot be read.
pub fn active(root: &Path) -> io::Result<Vec<PathBuf>> {
    let names = fs::read_to_string(root.join("sys/class/tty/console/active"))?;
    Ok(names.split_whitespace().map(|name| root.join("dev").join(name)).collect())
}

/// Writes one line to each active console and returns how many took it. Never blocks: a console that
/// cannot take the line now (a serial line held by flow control) misses it. Control characters in the
/// line become `?`.
///
/// # Errors
/// When the list of consoles cannot be read.
pub fn write_line(root: &Path, line: &str) -> io::Result<usize> {
    let bytes = render_line(line);
    let mut taken = 0;
    for device in active(root)? {
        match open(&device).and_then(|mut file| file.write_all(&bytes)) {
            Ok(()) => taken += 1,
            Err(error) => {
                tracing::debug!(device = %device.display(), %error, "a console did not take a line");
            }
        }
    }
    Ok(taken)
}

/// All consoles of a machine, held open; for a program that prints many lines and wants each of them seen.
#[derive(Debug, Default)]
pub struct Consoles {
    consoles: Vec<Console>,
}

#[derive(Debug)]
struct Console {
    device: PathBuf,
    file: File,
    misses: u32,
}

impl Consoles {
    /// Opens the active consoles below `root`, and the first virtual terminal whether the kernel names the video console or not.
    /// `tty0` means "whichever terminal is shown"; it is replaced by `tty1`, so that no line comes twice.
    /// Consoles that cannot be opened are left out.
    pub fn open(root: &Path) -> Self {
        let consoles = devices(root).into_iter().filter_map(|device| match open(&device) {
            Ok(file) => Some(Console { device, file, misses: 0 }),
            Err(error) => {
                tracing::debug!(device = %device.display(), %error, "a console cannot be opened");
                None
            }
        });
        Self { consoles: consoles.collect() }
    }

    /// Writes one line to each console, waiting a little for a slow one. Control characters become `?`.
    pub fn write_line(&mut self, line: &str) {
        let bytes = render_line(line);
        for console in &mut self.consoles {
            match write_patiently(&mut console.file, &bytes) {
                Ok(()) => console.misses = 0,
                Err(error) => {
                    console.misses += 1;
                    tracing::debug!(device = %console.device.display(), %error, "a console did not take a line");
                }
            }
        }
        self.consoles.retain(|console| console.misses < MISSES_MAX);
    }
}

/// The active consoles with the first virtual terminal, each once.
pub(crate) fn devices(root: &Path) -> Vec<PathBuf> {
    let mut devices: Vec<PathBuf> = match active(root) {
        Ok(devices) => devices,
        Err(error) => {
            tracing::debug!(%error, "the list of consoles cannot be read");
            Vec::new()
        }
    };
    let video = root.join("dev").join(VIDEO);
    for device in devices.iter_mut().filter(|device| device.ends_with("dev/tty0")) {
        device.clone_from(&video);
    }
    devices.push(video);
    let mut seen = BTreeSet::new();
    devices.retain(|device| seen.insert(device.clone()));
    devices
}

fn open(device: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(device)
}

/// The line as bytes; a terminal in raw mode needs the carriage return, the others do not mind it.
fn render_line(line: &str) -> Vec<u8> {
    let clean: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("{clean}\r\n").into_bytes()
}

fn write_patiently(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut fds, PollTimeout::from(LINE_PATIENCE_MS))? == 0 {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Consoles, write_line};
    use std::fs;
    use tempfile::TempDir;

    fn machine(active: &str, devices: &[&str]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/class/tty/console")).unwrap();
        fs::create_dir_all(root.path().join("dev")).unwrap();
        fs::write(root.path().join("sys/class/tty/console/active"), active).unwrap();
        for name in devices {
            fs::write(root.path().join("dev").join(name), "").unwrap();
        }
        root
    }

    fn seen(root: &TempDir, device: &str) -> String {
        fs::read_to_string(root.path().join("dev").join(device)).unwrap()
    }

    #[test]
    fn reaches_every_active_console_and_no_other() {
        let root = machine("tty0 ttyS0 hvc9\n", &["tty0", "ttyS0", "ttyS1"]);
        assert_eq!(write_line(root.path(), "one\x1b[2J").unwrap(), 2);
        assert_eq!(write_line(root.path(), "two").unwrap(), 2);
        assert_eq!(seen(&root, "tty0"), "one?[2J\r\ntwo\r\n");
        assert_eq!(seen(&root, "ttyS0"), "one?[2J\r\ntwo\r\n");
        assert_eq!(seen(&root, "ttyS1"), "");
    }

    #[test]
    fn fails_without_a_list_of_consoles() {
        let root = tempfile::tempdir().unwrap();
        assert!(write_line(root.path(), "x").is_err());
    }

    #[test]
    fn an_open_set_writes_to_serial_and_to_the_first_terminal_once() {
        let root = machine("tty0 ttyS0\n", &["tty0", "tty1", "ttyS0"]);
        Consoles::open(root.path()).write_line("hello");
        assert_eq!((seen(&root, "tty0"), seen(&root, "tty1")), (String::new(), "hello\r\n".to_owned()));
        assert_eq!(seen(&root, "ttyS0"), "hello\r\n");
    }

    #[test]
    fn a_console_named_twice_is_written_to_once() {
        let root = machine("ttyS0 tty0 ttyS0 tty1\n", &["tty1", "ttyS0"]);
        Consoles::open(root.path()).write_line("hello");
        assert_eq!(
            (seen(&root, "tty1"), seen(&root, "ttyS0")),
            ("hello\r\n".to_owned(), "hello\r\n".to_owned())
        );
    }

    #[test]
    fn the_video_is_reached_when_the_kernel_only_names_serial() {
        let root = machine("ttyS0\n", &["tty1", "ttyS0"]);
        Consoles::open(root.path()).write_line("hello");
        assert_eq!(seen(&root, "tty1"), "hello\r\n");
    }

    #[test]
    fn a_blocked_console_is_given_up_and_the_others_go_on() {
        let root = machine("ttyS0 ttyS1\n", &["ttyS0"]);
        let fifo = root.path().join("dev/ttyS1");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // A reader that never reads: after 64 KiB the pipe is full, as a serial line under flow control.
        let _reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        let mut consoles = Consoles::open(root.path());
        let line = "x".repeat(4000);
        for _ in 0..24 {
            consoles.write_line(&line);
        }
        assert_eq!(consoles.consoles.len(), 1);
        assert_eq!(seen(&root, "ttyS0").len(), 24 * 4002);
    }
}

//! Lines that somebody types at any console of the machine, video and serial alike.

use crate::consoles::devices;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A longer line is nobody's answer: a serial line that is noise, or the other end of a cable that talks to itself.
const LINE_MAX_BYTES: usize = 512;

/// What came of waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A line, without its end. May hold anything.
    Line(String),
    /// Time is up.
    Nothing,
    /// There is no console that could be typed at.
    Closed,
}

/// All consoles of a machine, open for reading.
#[derive(Debug, Default)]
pub struct TypedLines {
    inputs: Vec<Input>,
    ready: Vec<String>,
}

#[derive(Debug)]
struct Input {
    device: PathBuf,
    file: File,
    line: Vec<u8>,
    is_too_long: bool,
}

impl TypedLines {
    /// Opens the active consoles below `root` and the first virtual terminal. The terminals are set to give whole lines with echo, so
    /// that the backspace key works.
    pub fn open(root: &Path) -> Self {
        let inputs = devices(root).into_iter().filter_map(|device| match open(&device) {
            Ok(file) => Some(Input { device, file, line: Vec::new(), is_too_long: false }),
            Err(error) => {
                tracing::debug!(device = %device.display(), %error, "a console cannot be read");
                None
            }
        });
        Self { inputs: inputs.collect(), ready: Vec::new() }
    }

    /// The next line from any of them; waits at most so long.
    pub fn wait(&mut self, limit: Duration) -> Typed {
        let deadline = Instant::now() + limit;
        loop {
            if !self.ready.is_empty() {
                return Typed::Line(self.ready.remove(0));
            }
            if self.inputs.is_empty() {
                return Typed::Closed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Typed::Nothing;
            }
            self.read_what_is_there(left);
        }
    }

    fn read_what_is_there(&mut self, limit: Duration) {
        let mut fds: Vec<PollFd<'_>> =
            self.inputs.iter().map(|input| PollFd::new(input.file.as_fd(), PollFlags::POLLIN)).collect();
        // At most a minute at once: the type knows no more.
        let limit = limit.min(Duration::from_secs(60)).max(Duration::from_millis(1));
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
        if let Err(error) = poll(&mut fds, timeout) {
            tracing::debug!(%error, "waiting for the consoles failed");
            std::thread::sleep(Duration::from_millis(100));
            return;
        }
        let there: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        drop(fds);
        let mut there = there.into_iter();
        let ready = &mut self.ready;
        self.inputs.retain_mut(|input| !there.next().unwrap_or(false) || input.read_lines(ready));
    }
}

impl Input {
    /// Reads what is there; `false` when nothing will ever come again.
    fn read_lines(&mut self, ready: &mut Vec<String>) -> bool {
        let mut bytes = [0; 256];
        match self.file.read(&mut bytes) {
            Ok(0) => false,
            Ok(read) => {
                bytes.iter().take(read).for_each(|byte| self.take(*byte, ready));
                true
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                true
            }
            Err(error) => {
                tracing::debug!(device = %self.device.display(), %error, "a console is gone");
                false
            }
        }
    }

    fn take(&mut self, byte: u8, ready: &mut Vec<String>) {
        if !matches!(byte, b'\n' | b'\r') {
            self.is_too_long |= self.line.len() >= LINE_MAX_BYTES;
            if !self.is_too_long {
                self.line.push(byte);
            }
            return;
        }
        let line = std::mem::take(&mut self.line);
        if !std::mem::take(&mut self.is_too_long) {
            ready.push(String::from_utf8_lossy(&line).into_owned());
        }
    }
}

fn open(device: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(device)?;
    // What is no terminal stays as it is.
    if let Ok(mut settings) = tcgetattr(&file) {
        settings.local_flags |= LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHOE;
        settings.input_flags |= InputFlags::ICRNL;
        if let Err(error) = tcsetattr(&file, SetArg::TCSANOW, &settings) {
            tracing::debug!(device = %device.display(), %error, "a console keeps its settings");
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::{Typed, TypedLines};
    use nix::pty::openpty;
    use std::fs::{self, File};
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::path::PathBuf;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(60);

    /// A machine with one console: the other end of a pseudo-terminal.
    fn machine() -> (tempfile::TempDir, File, nix::pty::OpenptyResult) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/class/tty/console")).unwrap();
        fs::create_dir_all(root.path().join("dev")).unwrap();
        fs::write(root.path().join("sys/class/tty/console/active"), "ttyS0\n").unwrap();
        let pty = openpty(None, None).unwrap();
        let name: PathBuf = fs::read_link(format!("/proc/self/fd/{}", pty.slave.as_raw_fd())).unwrap();
        std::os::unix::fs::symlink(name, root.path().join("dev/ttyS0")).unwrap();
        let keyboard = File::from(pty.master.try_clone().unwrap());
        (root, keyboard, pty)
    }

    #[test]
    fn a_typed_line_comes_with_the_backspace_done_and_one_at_a_time() {
        let (root, mut keyboard, _pty) = machine();
        let mut lines = TypedLines::open(root.path());
        assert_eq!(lines.wait(Duration::from_millis(20)), Typed::Nothing);
        keyboard.write_all(b"rr\x7f\rhalf").unwrap();
        assert_eq!(lines.wait(LONG), Typed::Line("r".to_owned()));
        assert_eq!(lines.wait(Duration::from_millis(20)), Typed::Nothing);
        keyboard.write_all(b" line\n\n").unwrap();
        assert_eq!(lines.wait(LONG), Typed::Line("half line".to_owned()));
        assert_eq!(lines.wait(LONG), Typed::Line(String::new()));
    }

    #[test]
    fn an_endless_line_is_dropped_and_the_next_one_taken() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("dev")).unwrap();
        let fifo = root.path().join("dev/tty1");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut keyboard = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        let mut lines = TypedLines::open(root.path());
        keyboard.write_all(&[b'x'; 2000]).unwrap();
        keyboard.write_all(b"\nok\n").unwrap();
        assert_eq!(lines.wait(LONG), Typed::Line("ok".to_owned()));
    }

    #[test]
    fn without_any_console_nothing_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(TypedLines::open(root.path()).wait(LONG), Typed::Closed);
        // A console that hangs up is gone.
        let (root, keyboard, pty) = machine();
        let mut lines = TypedLines::open(root.path());
        drop((keyboard, pty));
        assert_eq!(lines.wait(LONG), Typed::Closed);
    }
}

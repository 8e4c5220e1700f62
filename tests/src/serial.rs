//! The serial console: bytes in, lines with seconds since power-on out.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line longer than this is cut into several: a guest cannot make the harness keep more.
const LONGEST_LINE_BYTES: usize = 8192;

/// One line of the console.
#[derive(Clone, Debug, PartialEq)]
pub struct SerialLine {
    /// Seconds since power-on.
    pub secs: f64,
    /// The text, without control sequences.
    pub text: String,
}

/// Splits a console stream into lines and drops terminal control sequences.
///
/// A line also ends where the cursor is moved to a row of its own, which is how firmware and boot loaders end theirs.
#[derive(Debug, Default)]
pub struct LineSplitter {
    state: State,
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Escape,
    Charset,
    Control,
    String,
    StringEscape,
}

impl LineSplitter {
    /// Takes the next bytes and gives the lines that are finished by them. Empty lines are dropped.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if self.take(byte) {
                self.end_line(&mut lines);
            }
        }
        lines
    }

    /// Gives what was begun and not ended.
    pub fn finish(&mut self) -> Option<String> {
        let mut lines = Vec::new();
        self.end_line(&mut lines);
        lines.pop()
    }

    /// Takes one byte; true when it ends a line.
    fn take(&mut self, byte: u8) -> bool {
        let (next, ends) = match (self.state, byte) {
            (State::Text, 0x1b) => (State::Escape, false),
            (State::Text, b'\n' | b'\r') => (State::Text, true),
            (State::Text, _) => {
                if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
                    self.line.push(byte);
                }
                (State::Text, self.line.len() >= LONGEST_LINE_BYTES)
            }
            (State::Escape, b'[') => (State::Control, false),
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => (State::String, false),
            (State::Escape, b'(' | b')' | b'*' | b'+' | b'#' | b'%') => (State::Charset, false),
            (State::Escape | State::Charset, _) => (State::Text, false),
            (State::Control, 0x40..=0x7e) => (State::Text, matches!(byte, b'H' | b'f' | b'J')),
            (State::Control, _) => (State::Control, false),
            (State::String, 0x07) => (State::Text, false),
            (State::String, 0x1b) => (State::StringEscape, false),
            (State::String, _) => (State::String, false),
            (State::StringEscape, b'\\') => (State::Text, false),
            (State::StringEscape, _) => (State::String, false),
        };
        self.state = next;
        ends
    }

    fn end_line(&mut self, lines: &mut Vec<String>) {
        let text = String::from_utf8_lossy(&self.line).trim_end().to_owned();
        self.line.clear();
        if !text.is_empty() {
            lines.push(text);
        }
    }
}

/// Everything the console has said so far; filled by a reader thread, read by the scenario.
#[derive(Clone, Debug, Default)]
pub struct SerialLog(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    lines: Vec<SerialLine>,
    ended: bool,
}

/// How a wait for more lines ended.
#[derive(Debug, PartialEq)]
pub enum Waited {
    /// There are lines from the asked index on.
    More(Vec<SerialLine>),
    /// The machine is gone and everything it said was read.
    Ended,
    /// Nothing came in time.
    Timeout,
}

impl SerialLog {
    /// A copy of all lines.
    pub fn lines(&self) -> Vec<SerialLine> {
        self.0.content.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    /// Waits until there are lines from index `from` on, at most until `deadline`.
    pub fn wait_from(&self, from: usize, deadline: Instant) -> Waited {
        let mut content = self.0.content.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if content.lines.len() > from {
                return Waited::More(content.lines[from..].to_vec());
            }
            if content.ended {
                return Waited::Ended;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::Timeout;
            }
            let waited = self.0.changed.wait_timeout(content, left.min(Duration::from_secs(1)));
            content = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Reads `source` to its end, stamping every line, and copies the lines to `file`. Runs in a thread of its own.
    pub fn follow(&self, mut source: impl Read, mut file: File, power_on: Instant) {
        let mut splitter = LineSplitter::default();
        let mut buffer = [0u8; 4096];
        loop {
            let count = match source.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            self.add(splitter.push(&buffer[..count]), power_on, &mut file);
        }
        self.add(splitter.finish().into_iter().collect(), power_on, &mut file);
        self.0.content.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.0.changed.notify_all();
    }

    fn add(&self, texts: Vec<String>, power_on: Instant, file: &mut File) {
        let secs = power_on.elapsed().as_secs_f64();
        let mut content = self.0.content.lock().unwrap_or_else(PoisonError::into_inner);
        for text in texts {
            // A full disk on the host must not stop the console from being read: the lines stay in memory.
            let _ = writeln!(file, "{secs:8.1} {text}");
            content.lines.push(SerialLine { secs, text });
        }
        drop(content);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_LINE_BYTES, LineSplitter, SerialLog, Waited};
    use std::time::{Duration, Instant};

    #[test]
    fn splits_lines_across_reads_and_drops_empty_ones() {
        let mut splitter = LineSplitter::default();
        assert_eq!(splitter.push(b"one\r\n\r\ntw"), ["one"]);
        assert_eq!(splitter.push(b"o  \nthree"), ["two"]);
        assert_eq!(splitter.finish(), Some("three".to_owned()));
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn drops_colours_titles_and_charsets_even_when_cut_in_half() {
        let mut splitter = LineSplitter::default();
        assert!(splitter.push(b"[\x1b[0;1;3").is_empty());
        assert!(splitter.push(b"2m  OK  \x1b[0m] \x1b]0;title\x07done\x1b(B\x1b]2;x\x1b").is_empty());
        assert_eq!(splitter.push(b"\\.\n"), ["[  OK  ] done."]);
    }

    #[test]
    fn ends_a_line_where_the_cursor_is_moved() {
        let mut splitter = LineSplitter::default();
        assert_eq!(splitter.push(b"GRUB\x1b[2;1Hentry\x1b[3;1H"), ["GRUB", "entry"]);
    }

    #[test]
    fn cuts_a_line_without_end() {
        let mut splitter = LineSplitter::default();
        let lines = splitter.push(&[b'x'; LONGEST_LINE_BYTES + 1]);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].len(), LONGEST_LINE_BYTES);
        assert_eq!(splitter.finish(), Some("x".to_owned()));
    }

    #[test]
    fn keeps_bytes_that_are_no_text_as_replacement_characters() {
        let mut splitter = LineSplitter::default();
        assert_eq!(splitter.push(b"a\xffb\n"), ["a\u{fffd}b"]);
    }

    #[test]
    fn follows_a_source_to_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = SerialLog::default();
        log.follow(&b"one\ntwo\n"[..], file.reopen().unwrap(), Instant::now());
        let texts: Vec<String> = log.lines().into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["one", "two"]);
        assert_eq!(log.wait_from(2, Instant::now() + Duration::from_secs(5)), Waited::Ended);
        let written = std::fs::read_to_string(file.path()).unwrap();
        assert!(written.ends_with(" two\n"), "{written}");
    }

    #[test]
    fn times_out_when_nothing_comes() {
        assert_eq!(SerialLog::default().wait_from(0, Instant::now()), Waited::Timeout);
    }
}

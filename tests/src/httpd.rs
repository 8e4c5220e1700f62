//! A web server for one request on standard input and output, as inetd starts them: QEMU's `guestfwd=…-cmd:` runs
//! one for each connection of the guest, so no socket of the host is involved.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

/// A request head longer than this is refused.
const LONGEST_HEAD_BYTES: usize = 16 * 1024;

/// What is answered to a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The file; `body` is false for HEAD.
    File {
        /// Where it is.
        path: PathBuf,
        /// Whether its content follows.
        body: bool,
    },
    /// An error status with its text.
    Refusal(&'static str),
}

/// Decides on the answer to a request head; the first of `roots` that has the file wins.
pub fn answer(head: &str, roots: &[PathBuf]) -> Answer {
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    if !version.is_some_and(|version| version.starts_with("HTTP/1.")) {
        return Answer::Refusal("400 Bad Request");
    }
    let body = match method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Answer::Refusal("405 Method Not Allowed"),
    };
    let target = target.unwrap_or_default().split(['?', '#']).next().unwrap_or_default();
    let relative = Path::new(target.trim_start_matches('/'));
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Answer::Refusal("403 Forbidden");
    }
    match roots.iter().map(|root| root.join(relative)).find(|path| path.is_file()) {
        Some(path) => Answer::File { path, body },
        None => Answer::Refusal("404 Not Found"),
    }
}

/// Answers one request read from `input` on `output`.
///
/// # Errors
/// The guest hangs up, or the file cannot be read.
pub fn serve(roots: &[PathBuf], mut input: impl Read, mut output: impl Write) -> Result<()> {
    let head = read_head(&mut input)?;
    match answer(&head, roots) {
        Answer::Refusal(status) => {
            write!(output, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        }
        Answer::File { path, body } => {
            let mut file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            let length = file.metadata()?.len();
            write!(output, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
            if body {
                copy(&mut file, &mut output)?;
            }
        }
    }
    output.flush()?;
    Ok(())
}

/// Copies in pieces that suit a socket pair.
fn copy(file: &mut File, output: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0u8; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            count => output.write_all(&buffer[..count])?,
        }
    }
}

fn read_head(input: &mut impl Read) -> Result<String> {
    let mut head = Vec::new();
    let mut byte = [0u8; 1];
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST_HEAD_BYTES {
        if input.read(&mut byte)? == 0 {
            break;
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{Answer, LONGEST_HEAD_BYTES, answer, serve};
    use std::path::PathBuf;

    fn folder() -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("one/live")).unwrap();
        std::fs::create_dir(dir.path().join("two")).unwrap();
        std::fs::write(dir.path().join("one/live/image.json"), "{}").unwrap();
        std::fs::write(dir.path().join("two/cluster.toml"), "version = 1\n").unwrap();
        std::fs::write(dir.path().join("secret"), "no").unwrap();
        let roots = vec![dir.path().join("one"), dir.path().join("two")];
        (dir, roots)
    }

    fn said(head: &str, roots: &[PathBuf]) -> String {
        let mut output = Vec::new();
        serve(roots, head.as_bytes(), &mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn serves_a_file_with_its_length_from_whichever_root_has_it() {
        let (_dir, roots) = folder();
        assert_eq!(
            said("GET /cluster.toml?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", &roots),
            "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\nversion = 1\n"
        );
        let path = roots[0].join("live/image.json");
        assert_eq!(answer("GET /live/image.json HTTP/1.0", &roots), Answer::File { path, body: true });
    }

    #[test]
    fn answers_head_without_the_body() {
        let (_dir, roots) = folder();
        assert_eq!(
            said("HEAD /live/image.json HTTP/1.1\r\n\r\n", &roots),
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn refuses_what_it_does_not_serve() {
        let (_dir, roots) = folder();
        for (head, status) in [
            ("GET /live HTTP/1.1", "404 Not Found"),
            ("GET /nothing HTTP/1.1", "404 Not Found"),
            ("GET /../secret HTTP/1.1", "403 Forbidden"),
            ("POST /live/image.json HTTP/1.1", "405 Method Not Allowed"),
            ("GET /live/image.json", "400 Bad Request"),
            ("", "400 Bad Request"),
        ] {
            assert_eq!(answer(head, &roots), Answer::Refusal(status), "{head}");
        }
    }

    #[test]
    fn stops_reading_a_head_without_end() {
        let (_dir, roots) = folder();
        let text = said(&"x".repeat(2 * LONGEST_HEAD_BYTES), &roots);
        assert_eq!(text, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
}

//! A small client for QEMU's machine protocol (QMP): one JSON object per line over a Unix socket.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long QEMU may take to open its socket.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// How long QEMU may take to answer; a screenshot under emulation is the slowest.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// One message from QEMU.
#[derive(Debug, PartialEq)]
pub enum Message {
    /// Sent once, on connect.
    Greeting,
    /// A command succeeded.
    Return(Value),
    /// A command failed.
    Error(String),
    /// Something happened; its name.
    Event(String),
}

/// Reads one line of the protocol.
///
/// # Errors
/// The line is not JSON, or none of the four kinds.
pub fn parse_message(line: &str) -> Result<Message> {
    let mut value: Value = serde_json::from_str(line).context("reading a QMP message")?;
    if value.get("QMP").is_some() {
        return Ok(Message::Greeting);
    }
    if let Some(result) = value.get_mut("return") {
        return Ok(Message::Return(result.take()));
    }
    if let Some(error) = value.get("error") {
        let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
        return Ok(Message::Error(format!("{}: {}", text("class"), text("desc"))));
    }
    match value.get("event").and_then(Value::as_str) {
        Some(event) => Ok(Message::Event(event.to_owned())),
        None => bail!("a QMP message of no known kind: {line}"),
    }
}

/// What a drive of the machine has seen since power-on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockStats {
    /// Read operations.
    pub reads: u64,
    /// Write operations.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
}

/// Reads the answer to `query-blockstats`: counters by drive id.
///
/// # Errors
/// A drive lacks a counter: a missing count is never taken for zero.
pub fn parse_blockstats(answer: &Value) -> Result<BTreeMap<String, BlockStats>> {
    let drives = answer.as_array().ok_or_else(|| anyhow!("block statistics are not a list"))?;
    let mut stats = BTreeMap::new();
    for drive in drives {
        let Some(id) = drive.get("device").and_then(Value::as_str).filter(|id| !id.is_empty()) else {
            continue;
        };
        let count = |key: &str| {
            drive
                .pointer(&format!("/stats/{key}"))
                .and_then(Value::as_u64)
                .ok_or_else(|| anyhow!("drive {id} has no counter {key}"))
        };
        let entry = BlockStats {
            reads: count("rd_operations")?,
            writes: count("wr_operations")?,
            written_bytes: count("wr_bytes")?,
        };
        stats.insert(id.to_owned(), entry);
    }
    Ok(stats)
}

/// A connection to one machine.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    transcript: String,
}

impl Qmp {
    /// Connects, waiting for the socket to appear.
    ///
    /// # Errors
    /// No socket in time, or QEMU does not speak QMP on it.
    pub fn connect(socket: &Path) -> Result<Self> {
        let deadline = Instant::now() + CONNECT_WITHIN;
        let writer = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => {
                    return Err(error).with_context(|| format!("connecting to {}", socket.display()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        writer.set_read_timeout(Some(ANSWER_WITHIN))?;
        writer.set_write_timeout(Some(ANSWER_WITHIN))?;
        let reader = BufReader::new(writer.try_clone()?);
        let mut qmp = Self { reader, writer, transcript: String::new() };
        match qmp.next_message()? {
            Message::Greeting => {}
            other => bail!("QEMU greets with {other:?}"),
        }
        qmp.execute("qmp_capabilities", None)?;
        Ok(qmp)
    }

    /// Runs one command and gives its result.
    ///
    /// # Errors
    /// QEMU refuses it, is gone, or does not answer in time.
    pub fn execute(&mut self, command: &str, arguments: Option<Value>) -> Result<Value> {
        let mut request = json!({ "execute": command });
        if let Some(arguments) = arguments {
            request["arguments"] = arguments;
        }
        writeln!(self.writer, "{request}").with_context(|| format!("sending QMP command {command}"))?;
        loop {
            match self.next_message().with_context(|| format!("running QMP command {command}"))? {
                Message::Return(value) => return Ok(value),
                Message::Error(error) => bail!("QMP command {command}: {error}"),
                Message::Event(_) | Message::Greeting => {}
            }
        }
    }

    /// Halts the machine's CPUs; its state stays.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn stop(&mut self) -> Result<()> {
        self.execute("stop", None).map(drop)
    }

    /// Goes on after [`Self::stop`].
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn cont(&mut self) -> Result<()> {
        self.execute("cont", None).map(drop)
    }

    /// Presses the reset button.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn reset(&mut self) -> Result<()> {
        self.execute("system_reset", None).map(drop)
    }

    /// Takes the medium out of the drive with this id, also when the machine holds on to it.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn eject(&mut self, drive: &str) -> Result<()> {
        self.execute("eject", Some(json!({ "device": drive, "force": true }))).map(drop)
    }

    /// Counters of every drive.
    ///
    /// # Errors
    /// As [`Self::execute`], and when a counter is missing.
    pub fn block_stats(&mut self) -> Result<BTreeMap<String, BlockStats>> {
        parse_blockstats(&self.execute("query-blockstats", None)?)
    }

    /// Writes what is on the video to a PNG file.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn screenshot(&mut self, file: &Path) -> Result<()> {
        self.execute("screendump", Some(json!({ "filename": file, "format": "png" }))).map(drop)
    }

    /// Everything QEMU has said on this connection, for the canary search.
    pub fn transcript(&self) -> &str {
        &self.transcript
    }

    fn next_message(&mut self) -> Result<Message> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).context("waiting for QEMU")? == 0 {
            bail!("QEMU closed its control socket");
        }
        self.transcript.push_str(&line);
        parse_message(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockStats, Message, Qmp, parse_blockstats, parse_message};
    use serde_json::json;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;

    #[test]
    fn tells_the_four_kinds_of_messages_apart() {
        assert_eq!(
            parse_message(r#"{"QMP": {"version": {}, "capabilities": []}}"#).unwrap(),
            Message::Greeting
        );
        assert_eq!(parse_message(r#"{"return": {"a": 1}}"#).unwrap(), Message::Return(json!({"a": 1})));
        assert_eq!(
            parse_message(r#"{"error": {"class": "CommandNotFound", "desc": "no such command"}}"#).unwrap(),
            Message::Error("CommandNotFound: no such command".to_owned())
        );
        assert_eq!(
            parse_message(r#"{"timestamp": {"seconds": 1}, "event": "RESET", "data": {}}"#).unwrap(),
            Message::Event("RESET".to_owned())
        );
    }

    #[test]
    fn refuses_other_messages() {
        assert_eq!(parse_message("{}").unwrap_err().to_string(), "a QMP message of no known kind: {}");
        assert_eq!(parse_message("nonsense").unwrap_err().to_string(), "reading a QMP message");
    }

    #[test]
    fn reads_counters_by_drive_and_skips_nameless_nodes() {
        let answer = json!([
            {"device": "disk0", "stats": {"rd_operations": 7, "wr_operations": 3, "wr_bytes": 1536, "flush_operations": 1}},
            {"device": "", "node-name": "pflash0", "stats": {}},
        ]);
        let stats = parse_blockstats(&answer).unwrap();
        assert_eq!(stats.len(), 1);
        assert_eq!(stats["disk0"], BlockStats { reads: 7, writes: 3, written_bytes: 1536 });
    }

    #[test]
    fn never_takes_a_missing_counter_for_zero() {
        let answer = json!([{"device": "disk0", "stats": {"rd_operations": 7, "wr_bytes": 0}}]);
        assert_eq!(
            parse_blockstats(&answer).unwrap_err().to_string(),
            "drive disk0 has no counter wr_operations"
        );
        assert_eq!(parse_blockstats(&json!({})).unwrap_err().to_string(), "block statistics are not a list");
    }

    #[test]
    fn talks_to_a_socket_past_events_and_reports_refusals() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("qmp");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            writeln!(stream, r#"{{"QMP": {{}}}}"#).unwrap();
            let mut asked = Vec::new();
            for answer in [
                r#"{"return": {}}"#,
                "{\"event\": \"STOP\"}\n{\"return\": {}}",
                r#"{"error": {"class": "GenericError", "desc": "no"}}"#,
            ] {
                asked.push(lines.next().unwrap().unwrap());
                writeln!(stream, "{answer}").unwrap();
            }
            asked
        });
        let mut qmp = Qmp::connect(&socket).unwrap();
        qmp.stop().unwrap();
        assert_eq!(qmp.reset().unwrap_err().to_string(), "QMP command system_reset: GenericError: no");
        assert!(qmp.transcript().contains("STOP"));
        assert_eq!(
            server.join().unwrap(),
            [r#"{"execute":"qmp_capabilities"}"#, r#"{"execute":"stop"}"#, r#"{"execute":"system_reset"}"#]
        );
    }
}

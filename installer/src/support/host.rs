//! The machine itself.

use super::Machine;
use crate::inventory::{collect, escape_json};
use report::AGENT_SOCKET;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sysio::agent_http::{AgentAddress, fetch};
use sysio::command::Cmd;
use sysio::files::{list_files, read_end};
use sysio::sysfs::SysRoot;

/// Limit of one program: a machine in trouble has programs that hang, and there are fifty of them to ask.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);
/// The health agent answers from memory.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// This machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host;

impl Machine for Host {
    fn read(&mut self, path: &str, max_bytes: u64) -> Result<(Vec<u8>, bool), String> {
        read_end(Path::new(path), max_bytes).map_err(|error| render_chain(&error))
    }

    fn list(&mut self, folder: &str) -> Result<Vec<String>, String> {
        let files = list_files(Path::new(folder)).map_err(|error| render_chain(&error))?;
        Ok(files.into_iter().map(|path| path.display().to_string()).collect())
    }

    fn run(&mut self, command: &[&str]) -> Result<Vec<u8>, String> {
        let (program, arguments) = command.split_first().ok_or("no program is named")?;
        let cmd = Cmd::new(program).args(arguments).time_limit(COMMAND_LIMIT);
        let output = cmd.run_any_status().map_err(|error| render_chain(&error))?;
        let mut bytes = output.stdout;
        if !output.status.success() {
            bytes.extend_from_slice(&output.stderr);
            bytes.extend_from_slice(format!("\n[{}]\n", output.status).as_bytes());
        }
        Ok(bytes)
    }

    fn inventory(&mut self) -> Result<Vec<u8>, String> {
        let inventory = collect(&SysRoot::default()).map_err(|error| render_chain(&error))?;
        let text = serde_json::to_string_pretty(&inventory).map_err(|error| error.to_string())?;
        Ok(format!("{}\n", escape_json(&text)).into_bytes())
    }

    fn health(&mut self) -> Result<Vec<u8>, String> {
        let socket = AgentAddress::Socket(PathBuf::from(AGENT_SOCKET));
        fetch(&socket, "/v1/report", HEALTH_LIMIT).map_err(|error| render_chain(&error))
    }
}

/// An error with its causes, on one line.
pub(super) fn render_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

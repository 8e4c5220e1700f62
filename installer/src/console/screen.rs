//! Where the lines go.

use std::io::{self, Write};
use std::path::Path;
use sysio::consoles::Consoles;

/// Takes the lines of the installer.
pub trait Lines {
    /// Prints one line. A console that fails holds up nobody.
    fn line(&mut self, text: &str);
}

impl<L: Lines + ?Sized> Lines for &mut L {
    fn line(&mut self, text: &str) {
        (**self).line(text);
    }
}

/// Standard output, and in the live system every console of the machine.
#[derive(Debug)]
pub struct MachineScreen {
    consoles: Option<Consoles>,
}

impl MachineScreen {
    /// Standard output only: for a person in front of a terminal.
    pub fn stdout() -> Self {
        Self { consoles: None }
    }

    /// Standard output (the journal) and all consoles: for the unattended install.
    pub fn with_consoles() -> Self {
        Self { consoles: Some(Consoles::open(Path::new("/"))) }
    }
}

impl Lines for MachineScreen {
    fn line(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
            tracing::debug!(%error, "standard output did not take a line");
        }
        if let Some(consoles) = &mut self.consoles {
            consoles.write_line(text);
        }
    }
}

/// Keeps the lines, for tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorder {
    /// What was printed.
    pub lines: Vec<String>,
}

impl Lines for Recorder {
    fn line(&mut self, text: &str) {
        self.lines.push(text.to_owned());
    }
}

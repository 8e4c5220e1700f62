//! What differs between the node and what was rendered for it.

use super::FILE_MAX_BYTES;
use crate::render::{Contents, RenderedFile, RenderedNode};
use serde::Serialize;
use similar::TextDiff;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use sysio::files::{Entry, FileError, read_entry};
use sysio::sysfs::SysRoot;

/// Lines around a difference that are shown.
const CONTEXT_LINES: usize = 2;

/// What happens to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It is new.
    Add,
    /// It gets other contents, another mode or another target.
    Change,
    /// It goes away.
    Remove,
}

/// What is or shall be at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// A file.
    File {
        /// Permission bits.
        mode: u32,
        /// Contents.
        bytes: Vec<u8>,
    },
    /// A symbolic link.
    Link {
        /// What it points to.
        target: PathBuf,
    },
}

impl State {
    /// The contents of a file as text.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::File { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }
}

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Absolute path on the node.
    pub path: String,
    /// What is there.
    pub before: State,
    /// What shall be there.
    pub after: State,
    /// The contents are never shown.
    pub secret: bool,
    /// Somebody has changed it since it was written.
    pub edited_by_hand: bool,
}

impl Change {
    /// What happens.
    pub fn kind(&self) -> Kind {
        match (&self.before, &self.after) {
            (State::Absent, _) => Kind::Add,
            (_, State::Absent) => Kind::Remove,
            _ => Kind::Change,
        }
    }

    /// The difference for people: lines of a unified diff, or what else differs. A secret is not shown.
    pub fn lines(&self) -> Vec<String> {
        if self.secret {
            return vec!["  (a secret, not shown)".to_owned()];
        }
        let (before, after) = (shown(&self.before), shown(&self.after));
        let mut lines = Vec::new();
        if let (State::File { mode: old, .. }, State::File { mode: new, .. }) = (&self.before, &self.after)
            && old != new
        {
            lines.push(format!("  mode {old:04o} → {new:04o}"));
        }
        let diff = TextDiff::from_lines(&before, &after);
        let text = diff.unified_diff().context_radius(CONTEXT_LINES).missing_newline_hint(false).to_string();
        lines.extend(text.lines().map(|line| format!("  {}", harmless(line))));
        lines
    }
}

fn shown(state: &State) -> String {
    match state {
        State::Absent => String::new(),
        State::File { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
        State::Link { target } => format!("→ {}\n", target.display()),
    }
}

/// What somebody wrote into a file does not command the terminal.
fn harmless(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Everything that differs, by path. `before` is what this program would write for the current config: what it once wrote and now would
/// not is removed, what it never wrote is left alone.
///
/// # Errors
/// A file of the node cannot be read.
pub(super) fn compare(
    root: &SysRoot,
    before: &RenderedNode,
    after: &RenderedNode,
) -> Result<Vec<Change>, FileError> {
    let (written, wanted) = (states(before), states(after));
    let secrets: BTreeSet<&str> = before
        .files
        .iter()
        .chain(&after.files)
        .filter(|file| file.secret)
        .map(|file| file.path.as_str())
        .collect();
    let paths: BTreeSet<&String> = written.keys().chain(wanted.keys()).collect();
    let mut changes = Vec::new();
    for path in paths {
        let Some(now) = read_state(root, path)? else { continue };
        let after = wanted.get(path).cloned().unwrap_or(State::Absent);
        let once = written.get(path).cloned().unwrap_or(State::Absent);
        if now == after {
            continue;
        }
        changes.push(Change {
            path: path.clone(),
            secret: secrets.contains(path.as_str()),
            edited_by_hand: now != once,
            before: now,
            after,
        });
    }
    Ok(changes)
}

/// What is at a path of the node; `None` for what is no file of ours (a folder, a device).
pub(super) fn read_state(root: &SysRoot, path: &str) -> Result<Option<State>, FileError> {
    Ok(match read_entry(&root.path(path), FILE_MAX_BYTES)? {
        Entry::Absent => Some(State::Absent),
        Entry::File { mode, bytes } => Some(State::File { mode, bytes }),
        Entry::Link(target) => Some(State::Link { target }),
        Entry::Other => None,
    })
}

fn states(node: &RenderedNode) -> BTreeMap<String, State> {
    let file = |file: &RenderedFile| {
        let bytes = match &file.contents {
            Contents::Plain(text) => text.clone().into_bytes(),
            Contents::Secret(secret) => secret.expose().as_bytes().to_vec(),
        };
        (file.path.clone(), State::File { mode: file.mode, bytes })
    };
    let links = node.links.iter().map(|l| (l.path.clone(), State::Link { target: PathBuf::from(&l.target) }));
    node.files.iter().map(file).chain(links).collect()
}

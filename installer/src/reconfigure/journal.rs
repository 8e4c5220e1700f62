//! The journal of a change: what was there, what shall be there, on the disk before the first file is touched.
//!
//! The journal is a folder. Renaming it into [`PENDING`] is the moment from which a power cut is finished at the next boot: forward for
//! a plain apply, back for one on trial. Renaming it away ends it. Going back begins by renaming [`PENDING`] to [`REVERTING`], which only
//! one of the timer, the operator and the boot can do; confirming renames it away, which is then no longer possible for them.

use super::change::{Change, State, read_state};
use super::{Action, FILE_MAX_BYTES, folder_of};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use sysio::files::{
    FileError, create_folders, read_capped, read_text, remove_folder_if_there, remove_if_there,
    rename_durable, symlink_atomic, write_atomic,
};
use sysio::sysfs::SysRoot;

/// A change that is not at its end.
pub const PENDING: &str = "/var/lib/metalstrap/apply";
/// One that is being taken back.
pub const REVERTING: &str = "/var/lib/metalstrap/apply.reverting";
/// One that is being written down; worth nothing.
const STAGING: &str = "/var/lib/metalstrap/apply.staging";
/// One that has ended; worth nothing.
const ENDED: &str = "/var/lib/metalstrap/apply.ended";

const JOURNAL: &str = "journal.json";
/// Schema id of a serialised [`Journal`].
const SCHEMA: &str = "metalstrap.apply-journal/v1";

/// Which way a change is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To what was asked for.
    Forward,
    /// To what was there before.
    Back,
}

/// A change as it is on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    schema: String,
    /// Which change it is.
    pub id: String,
    /// Seconds after which it goes back by itself; `None` for a plain apply.
    pub trial_secs: Option<u64>,
    entries: Vec<Entry>,
    /// Who is told.
    pub actions: BTreeSet<Action>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: String,
    before: Saved,
    after: Saved,
}

/// A [`State`] whose bytes are in a file of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Saved {
    Absent,
    File { mode: u32, blob: String },
    Link { target: PathBuf },
}

/// Called before each change of the disk; an error ends the doing there, as a power cut would. Tests count and cut with it.
pub(super) type Checkpoint<'a> = &'a mut dyn FnMut(&str) -> Result<(), FileError>;

/// Waits until nobody else begins a change: an `flock` on the folder of all these, held as long as the file lives.
///
/// # Errors
/// The folder cannot be made or locked.
pub(super) fn lock(root: &SysRoot) -> Result<File, FileError> {
    let path = root.path(PENDING);
    let folder = folder_of(&path);
    create_folders(folder, 0o755)?;
    File::open(folder).and_then(|file| file.lock().map(|()| file)).map_err(|source| FileError {
        action: "locking",
        path: folder.to_owned(),
        source,
    })
}

/// Writes a change down and makes it pending. Until that last step nothing is pending.
///
/// # Errors
/// A file cannot be written; nothing is pending then.
pub(super) fn write(
    root: &SysRoot,
    id: &str,
    trial_secs: Option<u64>,
    changes: &[Change],
    actions: &BTreeSet<Action>,
    checkpoint: Checkpoint<'_>,
) -> Result<Journal, FileError> {
    let staging = root.path(STAGING);
    remove_folder_if_there(&staging)?;
    create_folders(folder_of(&staging), 0o755)?;
    create_folders(&staging, 0o700)?;
    let mut entries = Vec::new();
    for (number, change) in changes.iter().enumerate() {
        checkpoint("journal")?;
        let save = |state: &State, kind: &str| -> Result<Saved, FileError> {
            Ok(match state {
                State::Absent => Saved::Absent,
                State::Link { target } => Saved::Link { target: target.clone() },
                State::File { mode, bytes } => {
                    let blob = format!("{kind}-{number}");
                    write_atomic(&staging.join(&blob), bytes, 0o600)?;
                    Saved::File { mode: *mode, blob }
                }
            })
        };
        let (before, after) = (save(&change.before, "before")?, save(&change.after, "after")?);
        entries.push(Entry { path: change.path.clone(), before, after });
    }
    let journal = Journal {
        schema: SCHEMA.to_owned(),
        id: id.to_owned(),
        trial_secs,
        entries,
        actions: actions.clone(),
    };
    let json =
        serde_json::to_vec_pretty(&journal).map_err(|error| unreadable(&staging.join(JOURNAL), &error))?;
    write_atomic(&staging.join(JOURNAL), &json, 0o600)?;
    checkpoint("pending")?;
    rename_durable(&staging, &root.path(PENDING))?;
    Ok(journal)
}

/// The journal in a folder, [`PENDING`] or [`REVERTING`]; `None` when there is none.
///
/// # Errors
/// It is there and cannot be read.
pub fn read(root: &SysRoot, folder: &str) -> Result<Option<Journal>, FileError> {
    let path = root.path(folder).join(JOURNAL);
    if !path.exists() {
        return Ok(None);
    }
    let journal: Journal = serde_json::from_str(&read_text(&path, FILE_MAX_BYTES)?)
        .map_err(|error| unreadable(&path, &error))?;
    if journal.schema != SCHEMA {
        return Err(unreadable(&path, &format!("its schema is {:?}", journal.schema)));
    }
    Ok(Some(journal))
}

fn unreadable(path: &std::path::Path, why: &dyn std::fmt::Display) -> FileError {
    let source = io::Error::new(io::ErrorKind::InvalidData, why.to_string());
    FileError { action: "reading", path: path.to_owned(), source }
}

/// Makes every path what it shall be in this direction. May be done again from the start at any time: what is right already is not
/// touched.
///
/// # Errors
/// A file cannot be written; the journal stays, and so does the duty.
pub(super) fn carry(
    root: &SysRoot,
    folder: &str,
    journal: &Journal,
    direction: Direction,
    checkpoint: Checkpoint<'_>,
) -> Result<(), FileError> {
    for entry in &journal.entries {
        let saved = match direction {
            Direction::Forward => &entry.after,
            Direction::Back => &entry.before,
        };
        let wanted = match saved {
            Saved::Absent => State::Absent,
            Saved::Link { target } => State::Link { target: target.clone() },
            Saved::File { mode, blob } => {
                let bytes = read_capped(&root.path(folder).join(blob), FILE_MAX_BYTES)?;
                State::File { mode: *mode, bytes }
            }
        };
        if read_state(root, &entry.path)?.as_ref() == Some(&wanted) {
            continue;
        }
        checkpoint(&entry.path)?;
        let path = root.path(&entry.path);
        match wanted {
            State::Absent => remove_if_there(&path)?,
            State::Link { target } => {
                create_folders(folder_of(&path), 0o755)?;
                symlink_atomic(&target, &path)?;
            }
            State::File { mode, bytes } => {
                create_folders(folder_of(&path), 0o755)?;
                write_atomic(&path, &bytes, mode)?;
            }
        }
    }
    Ok(())
}

/// Begins to go back: only one caller gets the journal. One that is being taken back already is given too.
///
/// # Errors
/// The folder cannot be renamed or read.
pub(super) fn take_back(root: &SysRoot) -> Result<Option<Journal>, FileError> {
    if let Some(journal) = read(root, REVERTING)? {
        return Ok(Some(journal));
    }
    if !root.path(PENDING).exists() {
        return Ok(None);
    }
    remove_folder_if_there(&root.path(REVERTING))?;
    rename_durable(&root.path(PENDING), &root.path(REVERTING))?;
    read(root, REVERTING)
}

/// Ends a change: from here on it is what the node has.
///
/// # Errors
/// The folder cannot be renamed; then it has not ended.
pub(super) fn end(root: &SysRoot, folder: &str, checkpoint: Checkpoint<'_>) -> Result<(), FileError> {
    checkpoint("ended")?;
    remove_folder_if_there(&root.path(ENDED))?;
    rename_durable(&root.path(folder), &root.path(ENDED))?;
    // It holds tokens, perhaps.
    remove_folder_if_there(&root.path(ENDED))
}

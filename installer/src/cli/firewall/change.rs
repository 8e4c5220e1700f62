//! `apply`, `confirm`, `revert`: our own table only, in one transaction, and back again by itself when nobody confirms.
//!
//! A trial is a folder in `/run`: the rules before it and the new ones. The watcher is armed *before* the new rules are
//! loaded, in a session of its own, so that it outlives a lost connection. Confirming and going back both begin by renaming
//! the folder, which only one of them can. The rules file is written by the confirmation: a reboot before it goes back too.

use super::super::print_bytes;
use super::{ApplyArgs, Node, RevertArgs, read_node_config};
use crate::exit::{ExitCode, ExitWith, Failure};
use crate::render::firewall::RULES;
use anyhow::{Context as _, anyhow};
use std::path::{Path, PathBuf};
use std::time::Duration;
use sysio::command::Cmd;
use sysio::files::{create_folders, read_text, remove_if_there, rename_durable, write_atomic};
use sysio::nft::{self, NftError, SEAL_PATH, Seal, TRIAL_PATH};

/// A rules file of a cluster of 300 nodes has about a tenth of it.
const RULES_MAX_BYTES: u64 = 1024 * 1024;

/// Rules before the trial.
const BEFORE: &str = "before.nft";
/// Rules on trial.
const AFTER: &str = "after.nft";
/// Which trial it is: the fingerprint of its rules and the process that began it.
const ID: &str = "id";

/// What makes our table go away, whether it is there or not; also the start of every text that replaces it.
const REPLACE: &str = "table inet metalstrap\ndelete table inet metalstrap\n";

/// Loads the rules of this node.
pub(super) fn apply(args: &ApplyArgs) -> Result<ExitCode, Failure> {
    let node = Node::of(read_node_config(&args.node_config)?)?;
    let rules = crate::render::firewall::file(&node.model).exit_with(ExitCode::InvalidInput)?;
    nft::check(&rules).exit_with(ExitCode::Environment)?;
    if Path::new(TRIAL_PATH).exists() {
        let message = "rules are on trial already; `metalstrap firewall confirm` or `revert` comes first";
        return Err(Failure::new(ExitCode::Environment, anyhow!(message)));
    }
    match args.trial {
        Some(seconds) => begin_trial(&rules, seconds),
        None => {
            nft::load(&rules).exit_with(ExitCode::Environment)?;
            keep(&rules)?;
            print_bytes(b"loaded\n")?;
            Ok(ExitCode::Ok)
        }
    }
}

fn begin_trial(rules: &str, seconds: u64) -> Result<ExitCode, Failure> {
    let before = rules_in_force().exit_with(ExitCode::Environment)?;
    let id = format!("{}-{}", nft::sha256(rules.as_bytes()), std::process::id());
    let folder = Path::new(TRIAL_PATH);
    create_folders(folder, 0o700).exit_with(ExitCode::Io)?;
    for (name, text) in [(BEFORE, before.as_str()), (AFTER, rules), (ID, &id)] {
        write_atomic(&folder.join(name), text.as_bytes(), 0o600).exit_with(ExitCode::Io)?;
    }
    let program = std::env::current_exe().exit_with(ExitCode::Environment)?;
    let watcher =
        Cmd::new(program).args(["firewall", "revert", "--after", &seconds.to_string(), "--trial", &id]);
    let begun = watcher
        .run_detached()
        .exit_with(ExitCode::Environment)
        .and_then(|()| nft::load(rules).exit_with(ExitCode::Environment));
    if let Err(failure) = begun {
        // Nothing was loaded; the watcher, if there is one, will find no trial.
        drop(take_trial());
        return Err(failure);
    }
    let text = format!(
        "loaded on trial: back again in {seconds} s, unless `metalstrap firewall confirm` comes first\n"
    );
    print_bytes(text.as_bytes())?;
    Ok(ExitCode::Ok)
}

/// What would bring the kernel back to where it is now: the rules file, when it is what was loaded, and otherwise nft's own
/// listing, which means the same but is not always written the same.
fn rules_in_force() -> Result<String, NftError> {
    let Some(table) = nft::read_table()? else { return Ok(REPLACE.to_owned()) };
    if let Ok(file) = read_text(Path::new(RULES), RULES_MAX_BYTES)
        && nft::rehearse(&file).is_ok_and(|rehearsed| rehearsed.as_ref() == Some(&table))
    {
        return Ok(file);
    }
    Ok(format!("{REPLACE}{}", nft::read_rules()?.unwrap_or_default()))
}

/// Keeps the rules that are on trial.
pub(super) fn confirm() -> Result<ExitCode, Failure> {
    let trial = take_trial()?;
    keep(&trial.after)?;
    print_bytes(b"kept\n")?;
    Ok(ExitCode::Ok)
}

/// Goes back to the rules before the trial; as its watcher, only if it still is that trial.
pub(super) fn revert(args: &RevertArgs) -> Result<ExitCode, Failure> {
    if let Some(id) = &args.trial
        && !outlasts(id, args.after.unwrap_or_default())
    {
        return Ok(ExitCode::Ok);
    }
    let trial = take_trial()?;
    nft::load(&trial.before).exit_with(ExitCode::Environment)?;
    print_bytes(b"back at the rules before the trial\n")?;
    Ok(ExitCode::Ok)
}

/// Waits, and says whether it still is that trial: neither confirmed nor gone back from.
fn outlasts(id: &str, seconds: u64) -> bool {
    let path = Path::new(TRIAL_PATH).join(ID);
    let is_current = || read_text(&path, RULES_MAX_BYTES).is_ok_and(|current| current == id);
    for _ in 0..seconds {
        if !is_current() {
            return false;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    is_current()
}

struct Trial {
    before: String,
    after: String,
}

/// Ends the trial and gives its rules: only one caller gets them.
fn take_trial() -> Result<Trial, Failure> {
    if !Path::new(TRIAL_PATH).exists() {
        return Err(Failure::new(ExitCode::Environment, anyhow!("no rules are on trial")));
    }
    let taken = PathBuf::from(format!("{TRIAL_PATH}.{}", std::process::id()));
    rename_durable(Path::new(TRIAL_PATH), &taken)
        .context("ending the trial")
        .exit_with(ExitCode::Environment)?;
    let read = |name: &str| read_text(&taken.join(name), RULES_MAX_BYTES).exit_with(ExitCode::Io);
    let trial = Trial { before: read(BEFORE)?, after: read(AFTER)? };
    Cmd::new("rm").args(["-r", "--"]).arg(&taken).run().exit_with(ExitCode::Io)?;
    Ok(trial)
}

/// Writes the rules where the next boot loads them from, and notes what is loaded.
fn keep(rules: &str) -> Result<(), Failure> {
    let path = Path::new(RULES);
    // A trial is about rules that are not written yet; a file that says the same is left alone.
    let written = read_text(path, RULES_MAX_BYTES).ok();
    if written.as_deref() != Some(rules) {
        write_atomic(path, rules.as_bytes(), 0o644).exit_with(ExitCode::Io)?;
    }
    note(rules)
}

/// Notes what is loaded, for the health agent.
pub(super) fn seal() -> Result<ExitCode, Failure> {
    note(&read_text(Path::new(RULES), RULES_MAX_BYTES).exit_with(ExitCode::Io)?)?;
    Ok(ExitCode::Ok)
}

fn note(rules: &str) -> Result<(), Failure> {
    let path = Path::new(SEAL_PATH);
    // A note about rules that are no longer there is worse than none.
    remove_if_there(path).exit_with(ExitCode::Io)?;
    let table = nft::read_table().exit_with(ExitCode::Environment)?;
    let table = table.context("table inet metalstrap is not loaded").exit_with(ExitCode::Environment)?;
    let seal = Seal { rules_sha256: nft::sha256(rules.as_bytes()), table_sha256: nft::fingerprint(&table) };
    let json = serde_json::to_vec(&seal).exit_with(ExitCode::Unknown)?;
    if let Some(folder) = path.parent() {
        create_folders(folder, 0o755).exit_with(ExitCode::Io)?;
    }
    write_atomic(path, &json, 0o644).exit_with(ExitCode::Io)
}

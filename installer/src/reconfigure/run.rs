//! Doing it: apply, try, confirm, go back, and what a boot does with a change that was cut off.

use super::action::{directed, left_for_boot};
use super::journal::{self, Direction, PENDING, REVERTING};
use super::{Action, Prepared, io_refusal};
use crate::exit::ExitCode;
use crate::refusal::Refusal;
use std::collections::BTreeSet;
use sysio::files::FileError;
use sysio::sysfs::SysRoot;

/// What touches more than files. Errors are texts for people.
pub trait Effects {
    /// Checks packet filter rules without loading them.
    ///
    /// # Errors
    /// nft does not take them.
    fn check_rules(&mut self, rules: &str) -> Result<(), String>;

    /// Tells somebody.
    ///
    /// # Errors
    /// It did not work.
    fn act(&mut self, action: &Action) -> Result<(), String>;

    /// Does early in a boot what the action leaves to be done there: links of units, and the queueing of what is started.
    ///
    /// # Errors
    /// It did not work.
    fn act_at_boot(&mut self, action: &Action) -> Result<(), String>;

    /// Makes the change with this id go back by itself after so many seconds, whatever becomes of this process.
    ///
    /// # Errors
    /// Nobody would do it.
    fn arm(&mut self, id: &str, seconds: u64) -> Result<(), String>;

    /// The change with this id need not go back by itself any more.
    fn disarm(&mut self, id: &str);
}

/// Carries a prepared change out; with `trial_secs` it goes back by itself.
///
/// # Errors
/// `E_APPLY_PENDING` when another one is not at its end, `E_APPLY_RULES`, `E_APPLY_IO`, `E_APPLY_FAILED` when somebody could not be told: on
/// trial all is as before then.
pub fn begin(
    root: &SysRoot,
    prepared: &Prepared,
    id: &str,
    trial_secs: Option<u64>,
    effects: &mut dyn Effects,
) -> Result<(), Refusal> {
    begin_with(root, prepared, id, trial_secs, effects, &mut |_| Ok(()))
}

pub(super) fn begin_with(
    root: &SysRoot,
    prepared: &Prepared,
    id: &str,
    trial_secs: Option<u64>,
    effects: &mut dyn Effects,
    checkpoint: journal::Checkpoint<'_>,
) -> Result<(), Refusal> {
    // Until the change is pending: two operators at the same moment get one change and one refusal.
    let alone = journal::lock(root).map_err(io_refusal)?;
    ensure_none_pending(root)?;
    if let Some(rules) = &prepared.rules {
        effects
            .check_rules(rules)
            .map_err(|why| Refusal::new("E_APPLY_RULES", ExitCode::InvalidInput, why))?;
    }
    if let Some(seconds) = trial_secs {
        // Before the first write, so that nobody is cut off for longer. Without a journal the alarm does nothing.
        effects.arm(id, seconds).map_err(failed)?;
    }
    let written = journal::write(root, id, trial_secs, &prepared.changes, &prepared.actions, checkpoint);
    let journal = written.map_err(io_refusal)?;
    drop(alone);
    let done = journal::carry(root, PENDING, &journal, Direction::Forward, checkpoint)
        .map_err(io_refusal)
        .and_then(|()| {
            let actions = directed(&journal.actions, Direction::Forward);
            let overtaken = || Ok(trial_secs.is_some() && !is_pending(root, id)?);
            tell_until(&overtaken, &actions, checkpoint, &mut |action| effects.act(action))
        });
    match (done, trial_secs) {
        (Ok(()), None) => journal::end(root, PENDING, checkpoint).map_err(io_refusal),
        (Ok(()), Some(seconds)) => ensure_on_trial(root, id, seconds),
        (Err(refusal), Some(_)) if refusal.code == "E_APPLY_FAILED" => {
            go_back(root, effects, checkpoint)?;
            Err(refusal.with_details(["everything is as it was before".to_owned()]))
        }
        (Err(refusal), None) if refusal.code == "E_APPLY_FAILED" => {
            // A link that still is not made is left to the next boot: the journal stays for it.
            let actions = directed(&journal.actions, Direction::Forward);
            if link(&actions, effects, checkpoint).is_ok() {
                journal::end(root, PENDING, checkpoint).map_err(io_refusal)?;
            }
            Err(refusal.with_details(["the files are written; the next boot takes them all".to_owned()]))
        }
        (Err(refusal), _) => Err(refusal),
    }
}

fn ensure_none_pending(root: &SysRoot) -> Result<(), Refusal> {
    let pending = journal::read(root, PENDING).map_err(io_refusal)?;
    let message = if pending.is_some_and(|journal| journal.trial_secs.is_none()) {
        "another change is not at its end: the next boot finishes it, `metalstrap apply --revert` takes it back"
    } else if root.path(PENDING).exists() {
        "another change is on trial; `metalstrap apply --confirm` or `--revert` comes first"
    } else if root.path(REVERTING).exists() {
        "the change that was on trial is being taken back, and not everybody was told yet; when it stays so, \
         `metalstrap apply --revert` finishes it"
    } else {
        return Ok(());
    };
    Err(Refusal::new("E_APPLY_PENDING", ExitCode::Environment, message))
}

/// False as soon as it goes back.
fn is_pending(root: &SysRoot, id: &str) -> Result<bool, FileError> {
    Ok(journal::read(root, PENDING)?.is_some_and(|journal| journal.id == id))
}

/// A unit that is slow to stop may take longer than the trial.
fn ensure_on_trial(root: &SysRoot, id: &str, seconds: u64) -> Result<(), Refusal> {
    if is_pending(root, id).map_err(io_refusal)? {
        return Ok(());
    }
    let why = format!("the {seconds} s were over before everybody was told; everything is as it was before");
    Err(failed(why).with_details(["give the trial more time: --try SECONDS".to_owned()]))
}

/// Keeps the change that is on trial.
///
/// # Errors
/// `E_APPLY_NONE` when there is none, or it went back already. `E_APPLY_PENDING` when what is pending is no trial: its files may be
/// written in part, and only the next boot or going back makes them whole.
pub fn confirm(root: &SysRoot, effects: &mut dyn Effects) -> Result<(), Refusal> {
    let Some(journal) = journal::read(root, PENDING).map_err(io_refusal)? else { return Err(none()) };
    if journal.trial_secs.is_none() {
        ensure_none_pending(root)?;
    }
    journal::end(root, PENDING, &mut |_| Ok(())).map_err(io_refusal)?;
    effects.disarm(&journal.id);
    Ok(())
}

/// Goes back to what was before the trial; with `id`, which the alarm gives, only if it still is that one. Gives false when there was
/// nothing to do for the alarm.
///
/// # Errors
/// `E_APPLY_NONE`, `E_APPLY_IO`, `E_APPLY_FAILED`.
pub fn revert(root: &SysRoot, id: Option<&str>, effects: &mut dyn Effects) -> Result<bool, Refusal> {
    if let Some(id) = id {
        let mut current = journal::read(root, PENDING).map_err(io_refusal)?;
        if current.is_none() {
            current = journal::read(root, REVERTING).map_err(io_refusal)?;
        }
        if current.is_none_or(|journal| journal.id != id) {
            return Ok(false);
        }
    }
    let went_back = go_back(root, effects, &mut |_| Ok(()))?.ok_or_else(none)?;
    if id.is_none() {
        effects.disarm(&went_back);
    }
    Ok(true)
}

/// What a boot does, before anything reads the files: a plain apply that was cut off is finished, one on trial is taken back, units are
/// masked and enabled accordingly. Gives the direction, or `None` when nothing was pending. Nobody is told: all start after it, those too
/// that were masked when the boot was planned.
///
/// # Errors
/// `E_APPLY_IO` when a file cannot be written, `E_APPLY_FAILED` when a unit cannot be masked or enabled: the next boot does it again then.
pub fn recover(root: &SysRoot, effects: &mut dyn Effects) -> Result<Option<Direction>, Refusal> {
    recover_with(root, effects, &mut |_| Ok(()))
}

pub(super) fn recover_with(
    root: &SysRoot,
    effects: &mut dyn Effects,
    checkpoint: journal::Checkpoint<'_>,
) -> Result<Option<Direction>, Refusal> {
    let pending = journal::read(root, PENDING).map_err(io_refusal)?;
    let (folder, journal, direction) = match pending {
        Some(journal) if journal.trial_secs.is_none() => (PENDING, journal, Direction::Forward),
        _ => match journal::take_back(root).map_err(io_refusal)? {
            Some(journal) => (REVERTING, journal, Direction::Back),
            None => return Ok(None),
        },
    };
    journal::carry(root, folder, &journal, direction, checkpoint).map_err(io_refusal)?;
    let actions = directed(&journal.actions, direction);
    link(&actions, effects, checkpoint)?;
    journal::end(root, folder, checkpoint).map_err(io_refusal)?;
    // Units that were read before us may have changed.
    tell(&left_for_boot(&actions), checkpoint, &mut |action| effects.act_at_boot(action))?;
    Ok(Some(direction))
}

/// Takes the pending change back and gives its id; `None` when there is none.
fn go_back(
    root: &SysRoot,
    effects: &mut dyn Effects,
    checkpoint: journal::Checkpoint<'_>,
) -> Result<Option<String>, Refusal> {
    let Some(journal) = journal::take_back(root).map_err(io_refusal)? else { return Ok(None) };
    journal::carry(root, REVERTING, &journal, Direction::Back, checkpoint).map_err(io_refusal)?;
    let actions = directed(&journal.actions, Direction::Back);
    let told = tell(&actions, checkpoint, &mut |action| effects.act(action));
    if matches!(&told, Err(refusal) if refusal.code != "E_APPLY_FAILED") {
        return told.map(|()| None);
    }
    journal::end(root, REVERTING, checkpoint).map_err(io_refusal)?;
    told.map(|()| Some(journal.id))
}

/// Makes and removes links of units, as far as these actions do.
fn link(
    actions: &BTreeSet<Action>,
    effects: &mut dyn Effects,
    checkpoint: journal::Checkpoint<'_>,
) -> Result<(), Refusal> {
    let links = actions.iter().filter(|action| action.is_link()).cloned().collect();
    tell(&links, checkpoint, &mut |action| effects.act_at_boot(action))
}

/// Tells everybody, also when one does not listen; the first failure is the refusal, the others its details.
fn tell(
    actions: &BTreeSet<Action>,
    checkpoint: journal::Checkpoint<'_>,
    act: &mut dyn FnMut(&Action) -> Result<(), String>,
) -> Result<(), Refusal> {
    tell_until(&|| Ok(false), actions, checkpoint, act)
}

/// As [`tell`], to its end or until the change is overtaken: what was told by then counts for nothing, whoever overtook it tells all anew.
fn tell_until(
    overtaken: &dyn Fn() -> Result<bool, FileError>,
    actions: &BTreeSet<Action>,
    checkpoint: journal::Checkpoint<'_>,
    act: &mut dyn FnMut(&Action) -> Result<(), String>,
) -> Result<(), Refusal> {
    let mut failures = Vec::new();
    for action in actions {
        checkpoint("told").map_err(io_refusal)?;
        if overtaken().map_err(io_refusal)? {
            return Ok(());
        }
        failures.extend(act(action).err().map(|why| format!("{action}: {why}")));
    }
    match failures.split_first() {
        None => Ok(()),
        Some((first, others)) => Err(failed(first.clone()).with_details(others.iter().cloned())),
    }
}

fn failed(why: String) -> Refusal {
    Refusal::new("E_APPLY_FAILED", ExitCode::Environment, why)
}

fn none() -> Refusal {
    let message = "no change is on trial: it was confirmed, or it went back already";
    Refusal::new("E_APPLY_NONE", ExitCode::Environment, message)
}

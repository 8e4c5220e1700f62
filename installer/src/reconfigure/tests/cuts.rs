//! A power cut at every step, and what the next boot does.

use super::super::action::directed;
use super::super::journal::Direction;
use super::super::run::{begin_with, recover_with};
use super::super::{Action, begin, confirm, recover};
use super::{FILE, Node, Recorder, changed, link_unit, paths};
use crate::exit::ExitCode;
use crate::render::RenderContext;
use std::io;
use std::path::PathBuf;
use sysio::files::FileError;

/// Cuts the power before the nth change of the disk.
fn cut_at(n: usize) -> impl FnMut(&str) -> Result<(), FileError> {
    let mut count = 0;
    move |what| {
        count += 1;
        if count > n {
            let source = io::Error::other("power cut");
            return Err(FileError { action: "cutting before", path: PathBuf::from(what), source });
        }
        Ok(())
    }
}

/// A node, the file it is installed by, and the file that is applied.
type Sequence = (&'static str, String, String);

/// Files of several kinds; a unit that is masked; one that is unmasked and enabled.
fn sequences() -> [Sequence; 3] {
    let without_vip = FILE.replace("proxy_vip = \"10.0.0.9\"\n", "");
    [
        ("worker-1", FILE.to_owned(), changed()),
        ("proxy-1", FILE.to_owned(), without_vip.clone()),
        ("proxy-1", without_vip, FILE.to_owned()),
    ]
}

fn installed(sequence: &Sequence) -> Node {
    Node::install_of(&sequence.1, sequence.0, RenderContext::default())
}

#[test]
fn a_power_cut_at_any_step_leaves_all_old_or_all_new() {
    for sequence in sequences() {
        let [without, trial] = [None, Some(60)].map(|trial| cut_at_every_step(&sequence, trial));
        // Without a trial what was begun is finished; on trial nothing survives a boot.
        assert_eq!((without, trial), ((true, true), (true, false)), "{sequence:?}");
    }
}

/// Whether it ended with all old, and with all new.
fn cut_at_every_step(sequence: &Sequence, trial: Option<u64>) -> (bool, bool) {
    let relative = |node: &Node| -> Vec<_> {
        let all = node.everything().into_iter();
        all.map(|(path, is)| (path.strip_prefix(node.folder.path()).unwrap().to_owned(), is)).collect()
    };
    let (old, new) = {
        let node = installed(sequence);
        let old = relative(&node);
        let prepared = node.prepare(&sequence.2).unwrap();
        begin(&node.root, &prepared, "1", None, &mut Recorder::on(&node)).unwrap();
        (old, relative(&node))
    };
    assert_ne!(old, new);
    let (mut saw_old, mut saw_new) = (false, false);
    for n in 0..200 {
        let node = installed(sequence);
        let prepared = node.prepare(&sequence.2).unwrap();
        let mut recorder = Recorder::on(&node);
        let ended = begin_with(&node.root, &prepared, "1", trial, &mut recorder, &mut cut_at(n));
        // The machine boots, and the power is cut again and again while it recovers.
        for again in 0..40 {
            if recover_with(&node.root, &mut recorder, &mut cut_at(again)).is_ok() {
                break;
            }
        }
        let now = relative(&node);
        assert!(now == old || now == new, "cut before step {n} of {trial:?}");
        assert!(!node.is_pending());
        assert_eq!(
            node.prepare(if now == old { &sequence.1 } else { &sequence.2 }).unwrap().actions.len(),
            0
        );
        if now == old {
            saw_old = true
        } else {
            saw_new = true
        }
        if ended.is_ok() {
            return (saw_old, saw_new);
        }
    }
    panic!("200 steps were not enough");
}

#[test]
fn a_boot_masks_and_unmasks_files_only_and_queues_what_its_plan_lacks() {
    let [_, removes, adds] = sequences();
    let boot = |sequence: &Sequence, trial: Option<u64>| {
        let node = installed(sequence);
        let prepared = node.prepare(&sequence.2).unwrap();
        // A plain apply is cut off when the files are written and nobody was told, a trial when everybody was.
        let steps = if trial.is_none() { 2 * prepared.changes.len() + 1 } else { 200 };
        let begun =
            begin_with(&node.root, &prepared, "1", trial, &mut Recorder::on(&node), &mut cut_at(steps));
        assert_eq!(begun.is_ok(), trial.is_some());
        let mut recorder = Recorder::on(&node);
        recover(&node.root, &mut recorder).unwrap();
        recorder.said
    };
    assert_eq!(
        boot(&removes, Some(60)),
        [
            "systemctl --no-reload unmask keepalived.service",
            "systemctl daemon-reload",
            "systemctl --no-block start keepalived.service"
        ]
    );
    assert_eq!(
        boot(&adds, None),
        [
            "systemctl --no-reload unmask keepalived.service",
            "systemctl --no-reload enable keepalived.service",
            "systemctl daemon-reload",
            "systemctl --no-block start keepalived.service"
        ]
    );
    assert_eq!(
        boot(&adds, Some(60)),
        [
            "systemctl --no-reload disable keepalived.service",
            "systemctl --no-reload mask keepalived.service",
            "systemctl daemon-reload"
        ]
    );
    assert_eq!(
        boot(&removes, None),
        ["systemctl --no-reload mask keepalived.service", "systemctl daemon-reload"]
    );
}

#[test]
fn a_unit_that_cannot_be_unmasked_is_left_to_the_next_boot() {
    let [_, _, adds] = sequences();
    let node = installed(&adds);
    let prepared = node.prepare(&adds.2).unwrap();
    let fails = Some(Action::Unmask("keepalived.service".to_owned()));
    let mut recorder = Recorder { fails, ..Recorder::on(&node) };
    let refusal = begin(&node.root, &prepared, "1", None, &mut recorder).unwrap_err();
    assert_eq!(refusal.message, "keepalived.service is no longer masked: it does not start");
    assert_eq!(refusal.details.last().unwrap(), "the files are written; the next boot takes them all");
    let again = begin(&node.root, &prepared, "2", None, &mut recorder).unwrap_err();
    assert_eq!(
        again.to_string(),
        "E_APPLY_PENDING: another change is not at its end: the next boot finishes it, `metalstrap apply --revert` takes it back"
    );
    let kept = confirm(&node.root, &mut recorder).unwrap_err();
    assert_eq!(kept.to_string(), again.to_string(), "what was cut off is not made whole by keeping it");
    let refusal = recover(&node.root, &mut recorder).unwrap_err();
    assert_eq!((refusal.code, refusal.exit), ("E_APPLY_FAILED", ExitCode::Environment));
    assert!(node.is_pending());
    assert_eq!(recover(&node.root, &mut Recorder::on(&node)).unwrap(), Some(Direction::Forward));
    assert!(!node.root.path("/etc/systemd/system/keepalived.service").is_symlink());
}

#[test]
fn a_unit_masked_otherwise_than_the_config_says_is_put_right_by_the_same_file() {
    let node = Node::install("proxy-1");
    link_unit(&node.root, &Action::Mask("keepalived.service".to_owned()));
    link_unit(&node.root, &Action::Unmask("nftables.service".to_owned()));
    let prepared = node.prepare(FILE).unwrap();
    assert_eq!(paths(&prepared), Vec::<&str>::new());
    let said: Vec<String> = prepared.told().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "nftables.service is masked and stopped",
            "keepalived.service is no longer masked",
            "keepalived.service is enabled and started"
        ]
    );
    begin(&node.root, &prepared, "1", None, &mut Recorder::on(&node)).unwrap();
    assert_eq!(node.prepare(FILE).unwrap().actions.len(), 0);
}

#[test]
fn a_masked_unit_is_told_nothing_else() {
    let unit = || "keepalived.service".to_owned();
    let removal = [Action::Mask(unit()), Action::Reload(unit())].into();
    assert_eq!(directed(&removal, Direction::Forward), [Action::Mask(unit())].into());
    assert_eq!(directed(&removal, Direction::Back), [Action::Unmask(unit()), Action::Reload(unit())].into());
}

#[test]
fn a_reboot_during_a_trial_takes_it_back() {
    let node = Node::install("worker-1");
    let before = node.everything();
    begin(&node.root, &node.prepare(&changed()).unwrap(), "1", Some(60), &mut Recorder::default()).unwrap();
    assert_eq!(recover(&node.root, &mut Recorder::on(&node)).unwrap(), Some(Direction::Back));
    assert_eq!(node.everything(), before);
    assert_eq!(recover(&node.root, &mut Recorder::on(&node)).unwrap(), None);
}

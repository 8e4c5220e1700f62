//! A change on trial: its alarm, its end, and who comes in between.

use super::super::{Action, Effects, begin, confirm, recover, revert};
use super::{Node, Recorder, changed};
use crate::refusal::Refusal;

#[test]
fn a_trial_goes_back_by_its_alarm_and_only_that_trial() {
    let node = Node::install("worker-1");
    let before = node.everything();
    let prepared = node.prepare(&changed()).unwrap();
    let mut recorder = Recorder::default();
    begin(&node.root, &prepared, "one", Some(60), &mut recorder).unwrap();
    assert_eq!(recorder.said[1], "arm one 60", "armed before anything is written or told");
    assert_ne!(node.everything(), before);
    let again = begin(&node.root, &prepared, "two", Some(60), &mut Recorder::default()).unwrap_err();
    assert_eq!(
        again.to_string(),
        "E_APPLY_PENDING: another change is on trial; `metalstrap apply --confirm` or `--revert` comes first"
    );
    assert!(!revert(&node.root, Some("another"), &mut recorder).unwrap());
    assert_ne!(node.everything(), before);
    let mut recorder = Recorder::default();
    assert!(revert(&node.root, Some("one"), &mut recorder).unwrap());
    assert_eq!(node.everything(), before);
    assert!(recorder.said.contains(&"chrony.service is restarted".to_owned()), "{:?}", recorder.said);
    assert!(!node.is_pending());
    assert_eq!(confirm(&node.root, &mut recorder).unwrap_err().code, "E_APPLY_NONE");
    assert_eq!(revert(&node.root, None, &mut recorder).unwrap_err().code, "E_APPLY_NONE");
}

#[test]
fn a_confirmed_trial_stays_also_when_the_alarm_rings_later() {
    let node = Node::install("worker-1");
    let prepared = node.prepare(&changed()).unwrap();
    let mut recorder = Recorder::default();
    begin(&node.root, &prepared, "one", Some(60), &mut recorder).unwrap();
    confirm(&node.root, &mut recorder).unwrap();
    assert_eq!(recorder.said.last().map(String::as_str), Some("disarm one"));
    let after = node.everything();
    assert!(!revert(&node.root, Some("one"), &mut recorder).unwrap());
    assert_eq!(recover(&node.root, &mut Recorder::default()).unwrap(), None);
    assert_eq!(node.everything(), after);
}

/// Something happens while each unit is told.
struct Meanwhile<F>(F);

impl<F: FnMut() -> Result<(), String>> Effects for Meanwhile<F> {
    fn check_rules(&mut self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn act(&mut self, _: &Action) -> Result<(), String> {
        (self.0)()
    }

    fn act_at_boot(&mut self, _: &Action) -> Result<(), String> {
        Ok(())
    }

    fn arm(&mut self, _: &str, _: u64) -> Result<(), String> {
        Ok(())
    }

    fn disarm(&mut self, _: &str) {}
}

#[test]
fn a_trial_that_ends_while_units_are_told_is_not_called_applied() {
    let node = Node::install("worker-1");
    let before = node.everything();
    let prepared = node.prepare(&changed()).unwrap();
    assert!(prepared.told().len() > 3);
    let mut told = 0;
    let mut alarm = Meanwhile(|| {
        told += 1;
        if told == 1 {
            return Ok(());
        }
        revert(&node.root, Some("t1"), &mut Recorder::default()).map(drop).map_err(|e| e.to_string())
    });
    let refusal = begin(&node.root, &prepared, "t1", Some(20), &mut alarm).unwrap_err();
    assert_eq!(told, 2, "nobody is told of the new files once the old ones are back");
    assert_eq!(refusal.code, "E_APPLY_FAILED");
    assert_eq!(
        refusal.to_string(),
        "E_APPLY_FAILED: the 20 s were over before everybody was told; everything is as it was before\n  \
         give the trial more time: --try SECONDS"
    );
    assert_eq!(node.everything(), before);
    assert!(!node.is_pending());
}

#[test]
fn a_trial_while_another_is_taken_back_is_told_to_wait() {
    let node = Node::install("worker-1");
    let before = node.everything();
    let prepared = node.prepare(&changed()).unwrap();
    begin(&node.root, &prepared, "t1", Some(20), &mut Recorder::default()).unwrap();
    let mut answer = None;
    let mut eager = Meanwhile(|| {
        let again = begin(&node.root, &prepared, "t2", Some(20), &mut Recorder::default());
        answer = again.err().map(|refusal| refusal.to_string());
        Ok(())
    });
    assert!(revert(&node.root, Some("t1"), &mut eager).unwrap());
    assert_eq!(
        answer.as_deref(),
        Some(
            "E_APPLY_PENDING: the change that was on trial is being taken back, and not everybody was told yet; when it stays so, \
             `metalstrap apply --revert` finishes it"
        )
    );
    assert_eq!(node.everything(), before);
    begin(&node.root, &prepared, "t3", Some(20), &mut Recorder::default()).unwrap();
}

#[test]
fn of_two_changes_begun_at_once_one_is_carried_out_and_one_refused() {
    let node = Node::install("worker-1");
    let prepared = node.prepare(&changed()).unwrap();
    let begun: Vec<Result<(), Refusal>> = std::thread::scope(|scope| {
        let threads = ["a", "b", "c", "d"].map(|id| {
            let (root, prepared) = (&node.root, &prepared);
            scope.spawn(move || begin(root, prepared, id, Some(60), &mut Recorder::default()))
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let refused: Vec<_> = begun.iter().filter_map(|one| one.as_ref().err().map(|r| r.code)).collect();
    assert_eq!(refused, ["E_APPLY_PENDING"; 3]);
    assert!(node.is_pending());
}

#[test]
fn a_trial_with_a_unit_that_does_not_start_is_taken_back_at_once() {
    let node = Node::install("worker-1");
    let before = node.everything();
    let prepared = node.prepare(&changed()).unwrap();
    let fails = Some(Action::Restart("chrony.service".to_owned()));
    let mut recorder = Recorder { fails: fails.clone(), ..Recorder::default() };
    let refusal = begin(&node.root, &prepared, "one", Some(60), &mut recorder).unwrap_err();
    // Going back tells the same unit, which fails here again.
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        ("E_APPLY_FAILED", "chrony.service is restarted: it does not start")
    );
    assert_eq!(node.everything(), before);
    assert!(!node.is_pending());
    let mut recorder = Recorder { fails, ..Recorder::default() };
    let refusal = begin(&node.root, &prepared, "two", None, &mut recorder).unwrap_err();
    assert_eq!(refusal.details, ["the files are written; the next boot takes them all"]);
    assert_ne!(node.everything(), before);
}

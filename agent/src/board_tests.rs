use super::{Board, Outcome};
use crate::catalogue::{ALL_ROLES, AT_ONCE, Check, Looking, Moment, Patience, Wanted, always, secs};
use crate::context::Context;
use crate::verdict::Verdict;
use jiff::Timestamp;
use profiles::node::{NodeConfig, Role};
use report::State;
use std::sync::Arc;
use std::time::Duration;

const BASE: Check = Check {
    id: "base",
    title: "t",
    source: "s",
    limits: "l",
    roles: ALL_ROLES,
    applies: always,
    interval: secs(10),
    timeout: secs(2),
    patience: AT_ONCE,
    depends_on: &[],
    action: "do this",
    subject: "",
    look: never,
};

fn never(_: &'static str, _: Arc<Context>, _: Moment) -> Looking {
    Box::pin(std::future::pending())
}

const PATIENT: Check =
    Check { id: "patient", patience: Patience { warn_after: secs(25), critical_after: secs(120) }, ..BASE };
const DEPENDENT: Check = Check { id: "dependent", depends_on: &["base"], timeout: secs(5), ..BASE };
const WORKERS: Check = Check { id: "workers", roles: &[Role::Worker], ..BASE };
const REFUSED: Check = Check { id: "refused", applies: |_| Wanted::No("no VIP".to_owned()), ..BASE };

fn node() -> NodeConfig {
    serde_json::from_str(include_str!("../tests/fixtures/node.json")).unwrap()
}

fn at(seconds: u64) -> (Duration, Timestamp) {
    (secs(1000 + seconds), Timestamp::from_second(1_000_000 + i64::try_from(seconds).unwrap()).unwrap())
}

fn board(catalogue: &'static [&'static Check]) -> Board {
    Board::new(catalogue, &node(), at(0).1)
}

fn finish(board: &mut Board, index: usize, verdict: Verdict, seconds: u64) {
    let (now, realtime) = at(seconds);
    board.take_due(now);
    board.finish(index, Outcome { verdict: Some(verdict), took: secs(0) }, now, realtime);
    board.refresh(now, realtime);
}

fn shown(board: &Board, index: usize) -> (State, String, String) {
    let result = &board.results()[index];
    (result.state, result.reason.clone(), result.message.clone())
}

fn triple(state: State, reason: &str, message: &str) -> (State, String, String) {
    (state, reason.to_owned(), message.to_owned())
}

#[test]
fn nothing_is_known_before_the_first_look() {
    let board = board(&[&BASE, &WORKERS, &REFUSED]);
    assert_eq!(shown(&board, 0), triple(State::Unknown, "NotYet", "not looked at yet"));
    assert_eq!(shown(&board, 1), triple(State::Disabled, "NotWanted", "a master has no such thing"));
    assert_eq!(shown(&board, 2), triple(State::Disabled, "NotWanted", "no VIP"));
    assert!(!board.first_pass_done(false));
    assert_eq!(board.results()[0].observed_at, None);
}

#[test]
fn the_first_pass_ends_when_every_wanted_check_was_looked_at() {
    let mut board = board(&[&BASE, &DEPENDENT, &WORKERS]);
    finish(&mut board, 0, Verdict::ok("Fine", "f"), 1);
    assert!(board.first_pass_done(true), "the other one is not cheap");
    assert!(!board.first_pass_done(false));
    finish(&mut board, 1, Verdict::unknown("Blind", "b"), 1);
    assert!(board.first_pass_done(false));
}

#[test]
fn a_look_under_way_is_not_started_again() {
    let mut board = board(&[&BASE, &PATIENT]);
    let ids = |board: &mut Board, seconds| {
        board.take_due(at(seconds).0).into_iter().map(|(_, check, _)| check.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&mut board, 0), ["base", "patient"]);
    board.finish(1, Outcome { verdict: Some(Verdict::ok("F", "f")), took: secs(1) }, at(1).0, at(1).1);
    assert_eq!(ids(&mut board, 9), [] as [&str; 0]);
    assert_eq!(ids(&mut board, 10), ["patient"]);
}

#[test]
fn what_was_not_fine_yet_is_looked_at_again_soon_for_a_while() {
    let bad = || Verdict::critical("Down", "down");
    let due = |board: &mut Board, seconds: u64| board.take_due(at(seconds).0).len();
    let mut board = board(&[&BASE]);
    assert_eq!(due(&mut board, 0), 1);
    finish(&mut board, 0, bad(), 1);
    assert_eq!((due(&mut board, 3), due(&mut board, 4)), (0, 1));
    finish(&mut board, 0, Verdict::ok("Up", "up"), 5);
    assert_eq!((due(&mut board, 13), due(&mut board, 14)), (0, 1));
    // It was fine: from now on as often as its interval says.
    finish(&mut board, 0, bad(), 15);
    assert_eq!((due(&mut board, 23), due(&mut board, 24)), (0, 1));
}

#[test]
fn what_is_never_fine_is_not_looked_at_too_often_for_ever() {
    let due = |board: &mut Board, seconds: u64| board.take_due(at(seconds).0).len();
    let mut board = board(&[&BASE]);
    assert_eq!(due(&mut board, 0), 1);
    finish(&mut board, 0, Verdict::critical("Down", "down"), 300);
    assert_eq!(due(&mut board, 301), 1);
    finish(&mut board, 0, Verdict::critical("Down", "down"), 301);
    assert_eq!((due(&mut board, 310), due(&mut board, 311)), (0, 1));
}

#[test]
fn a_look_without_an_end_in_time_is_unknown_and_counted() {
    let mut board = board(&[&BASE]);
    let (now, realtime) = at(2);
    board.take_due(now);
    board.finish(0, Outcome { verdict: None, took: secs(2) }, now, realtime);
    board.refresh(now, realtime);
    assert_eq!(shown(&board, 0), triple(State::Unknown, "TimedOut", "gave no answer within 2 s"));
    assert_eq!(board.timeouts(), [("base", 1)]);
}

#[test]
fn a_result_three_intervals_old_is_not_believed() {
    let mut board = board(&[&BASE]);
    finish(&mut board, 0, Verdict::ok("Fine", "f"), 0);
    board.refresh(at(32).0, at(32).1);
    assert_eq!(shown(&board, 0).0, State::Ok);
    board.refresh(at(33).0, at(33).1);
    assert_eq!(shown(&board, 0), triple(State::Unknown, "Overdue", "no result for 33 s"));
    finish(&mut board, 0, Verdict::ok("Fine", "f"), 40);
    assert_eq!(shown(&board, 0), triple(State::Ok, "Fine", "f"));
}

#[test]
fn bad_news_count_only_when_they_last_and_good_news_at_once() {
    let mut board = board(&[&PATIENT]);
    let bad = || Verdict::critical("NoAnswer", "refused");
    finish(&mut board, 0, Verdict::ok("Fine", "f"), 0);
    finish(&mut board, 0, bad(), 10);
    assert_eq!(shown(&board, 0), triple(State::Ok, "Wavering", "refused (counts if it lasts 25 s)"));
    finish(&mut board, 0, bad(), 20);
    assert_eq!(shown(&board, 0).0, State::Ok);
    finish(&mut board, 0, bad(), 35);
    assert_eq!(shown(&board, 0), triple(State::Warning, "NoAnswer", "refused"));
    finish(&mut board, 0, bad(), 129);
    assert_eq!(shown(&board, 0).0, State::Warning);
    finish(&mut board, 0, bad(), 130);
    assert_eq!(shown(&board, 0).0, State::Critical);
    assert_eq!(board.results()[0].since, at(130).1);
    assert_eq!(board.results()[0].action, "do this");
    finish(&mut board, 0, Verdict::ok("Fine", "f"), 140);
    assert_eq!(shown(&board, 0), triple(State::Ok, "Fine", "f"));
    assert_eq!(board.results()[0].action, "");
    finish(&mut board, 0, bad(), 150);
    assert_eq!(shown(&board, 0).0, State::Ok, "the count begins anew");
}

#[test]
fn what_was_never_fine_is_shown_at_once_and_gets_critical_in_time() {
    let mut board = board(&[&PATIENT]);
    finish(&mut board, 0, Verdict::critical("NoAnswer", "refused"), 0);
    assert_eq!(shown(&board, 0).0, State::Warning);
    finish(&mut board, 0, Verdict::unknown("Blind", "b"), 60);
    let held = "refused; since then: b (counts if it lasts 30 s)";
    assert_eq!(shown(&board, 0), triple(State::Warning, "NoAnswer", held));
    finish(&mut board, 0, Verdict::critical("NoAnswer", "refused"), 120);
    assert_eq!(shown(&board, 0).0, State::Critical, "blindness between does not restart the count");
}

#[test]
fn a_lost_look_counts_only_when_no_look_tells_anything_for_three_intervals() {
    let mut board = board(&[&BASE]);
    let blind = || Verdict::unknown("Blind", "no answer");
    let held = triple(State::Ok, "Wavering", "no answer (counts if it lasts 30 s)");
    finish(&mut board, 0, Verdict::ok("Fine", "f"), 0);
    for seconds in [10, 20, 39] {
        finish(&mut board, 0, blind(), seconds);
        assert_eq!(shown(&board, 0), held, "{seconds}");
    }
    finish(&mut board, 0, blind(), 40);
    assert_eq!(shown(&board, 0), triple(State::Unknown, "Blind", "no answer"));
    finish(&mut board, 0, blind(), 50);
    assert_eq!(shown(&board, 0), triple(State::Unknown, "Blind", "no answer"), "nothing is known any more");
    finish(&mut board, 0, Verdict::ok("Fine", "f"), 60);
    finish(&mut board, 0, blind(), 70);
    assert_eq!(shown(&board, 0), held, "the count begins anew");
}

#[test]
fn the_patience_of_a_check_holds_for_lost_looks_if_it_is_longer() {
    const LONG: Check =
        Check { id: "long", patience: Patience { warn_after: secs(40), critical_after: secs(300) }, ..BASE };
    let mut board = board(&[&LONG]);
    finish(&mut board, 0, Verdict::ok("Fine", "f"), 0);
    finish(&mut board, 0, Verdict::unknown("Blind", "b"), 10);
    finish(&mut board, 0, Verdict::unknown("Blind", "b"), 49);
    assert_eq!(shown(&board, 0), triple(State::Ok, "Wavering", "b (counts if it lasts 40 s)"));
    finish(&mut board, 0, Verdict::unknown("Blind", "b"), 50);
    assert_eq!(shown(&board, 0), triple(State::Unknown, "Blind", "b"));
}

#[test]
fn lost_looks_do_not_heal_a_bad_finding_and_say_so_once() {
    let mut board = board(&[&BASE]);
    let blind = || Verdict::unknown("Blind", "b");
    finish(&mut board, 0, Verdict::critical("Failed", "down"), 0);
    for seconds in [10, 20] {
        finish(&mut board, 0, blind(), seconds);
        let held = "down; since then: b (counts if it lasts 30 s)";
        assert_eq!(shown(&board, 0), triple(State::Critical, "Failed", held), "{seconds}");
    }
    assert_eq!(board.results()[0].since, at(0).1);
    finish(&mut board, 0, blind(), 40);
    assert_eq!(shown(&board, 0), triple(State::Unknown, "Blind", "b"));
}

#[test]
fn a_first_look_that_tells_nothing_is_shown_at_once_and_made_again_soon() {
    let mut board = board(&[&BASE]);
    board.take_due(at(0).0);
    finish(&mut board, 0, Verdict::unknown("Blind", "b"), 1);
    assert_eq!(shown(&board, 0), triple(State::Unknown, "Blind", "b"));
    assert_eq!((board.take_due(at(3).0).len(), board.take_due(at(4).0).len()), (0, 1));
}

#[test]
fn a_consequence_is_unknown_and_names_its_cause() {
    let mut board = board(&[&BASE, &DEPENDENT]);
    finish(&mut board, 0, Verdict::critical("Failed", "down"), 0);
    finish(&mut board, 1, Verdict::critical("NoAnswer", "refused"), 0);
    assert_eq!(shown(&board, 1), triple(State::Unknown, "DependsOn", "depends on base; refused"));
    finish(&mut board, 1, Verdict::ok("Fine", "f"), 10);
    assert_eq!(shown(&board, 1).0, State::Ok, "what works is no consequence");
    finish(&mut board, 1, Verdict::critical("NoAnswer", "refused"), 20);
    finish(&mut board, 0, Verdict::ok("Fine", "f"), 20);
    assert_eq!(shown(&board, 1), triple(State::Critical, "NoAnswer", "refused"));
}

#[test]
fn what_could_not_be_looked_at_hides_no_other_finding() {
    let mut board = board(&[&BASE, &DEPENDENT]);
    finish(&mut board, 1, Verdict::critical("NoAnswer", "refused"), 0);
    assert_eq!(shown(&board, 1).0, State::Critical, "not looked at yet");
    finish(&mut board, 0, Verdict::unknown("Blind", "b"), 0);
    board.refresh(at(0).0, at(0).1);
    assert_eq!(shown(&board, 1), triple(State::Critical, "NoAnswer", "refused"));
    finish(&mut board, 0, Verdict::warning("Slow", "s"), 3);
    assert_eq!(shown(&board, 1), triple(State::Unknown, "DependsOn", "depends on base; refused"));
}

#[test]
fn since_moves_with_the_state_only() {
    let mut board = board(&[&BASE]);
    finish(&mut board, 0, Verdict::warning("A", "1"), 5);
    finish(&mut board, 0, Verdict::warning("B", "2"), 15);
    assert_eq!(board.results()[0].since, at(5).1);
    assert_eq!(board.results()[0].observed_at, Some(at(15).1));
}

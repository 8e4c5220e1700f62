//! Sessions with a machine made of a list of ends and an operator made of a list of lines.

use super::{MENU, Power, Work, run};
use crate::codes::Retry;
use crate::console::{Answers, Operator, Script};
use crate::exit::ExitCode;
use crate::inventory::{Inventory, parse_inventory};
use crate::refusal::Refusal;
use crate::support::Destination;
use std::collections::VecDeque;
use std::time::Duration;

/// Ends of the attempts, in order, and what was asked of it.
#[derive(Default)]
struct Machine {
    ends: VecDeque<(&'static str, ExitCode)>,
    news: VecDeque<Option<&'static str>>,
    automatic: Option<Destination>,
    done: Vec<String>,
}

impl Machine {
    fn ending(ends: &[(&'static str, ExitCode)]) -> Self {
        Self { ends: ends.iter().copied().collect(), ..Self::default() }
    }
}

impl Work for Machine {
    fn attempt(&mut self, number: u32, _operator: &mut dyn Operator) -> Result<ExitCode, Refusal> {
        self.done.push(format!("attempt {number}"));
        match self.ends.pop_front() {
            Some((code, exit)) => Err(Refusal::new(code, exit, "as planned")),
            None => Ok(ExitCode::Ok),
        }
    }
    fn news(&mut self) -> Option<String> {
        self.done.push("look".to_owned());
        self.news.pop_front().flatten().map(str::to_owned)
    }
    fn bundle(&mut self, to: &Destination) -> Result<String, Refusal> {
        self.done.push(format!("bundle to {to}"));
        match to {
            Destination::Url(_) => Err(Refusal::new("E_SUPPORT_UPLOAD", ExitCode::Download, "no answer")),
            _ => Ok("/dev/sdb1, metalstrap/support/x.tar.gz".to_owned()),
        }
    }
    fn automatic_bundle(&mut self) -> Option<Destination> {
        self.automatic.clone()
    }
    fn inventory(&mut self) -> Result<Inventory, Refusal> {
        Ok(parse_inventory(include_str!("../../tests/fixtures/inventory/eight-nics.json")).unwrap())
    }
    fn take_answers(&mut self, answers: &Answers) -> Result<(), Refusal> {
        self.done.push(format!("take {}", answers.kernel_arguments()));
        Ok(())
    }
    fn open_shell(&mut self) {}
    fn power(&mut self, power: Power) -> Result<(), String> {
        self.done.push(format!("{power:?}"));
        Ok(())
    }
}

const NO_CONFIG: (&str, ExitCode) = ("E_CONFIG_NONE", ExitCode::InvalidInput);
const HAS_DATA: (&str, ExitCode) = ("E_DISK_HAS_DATA", ExitCode::UnsupportedHardware);
const DISK_IO: (&str, ExitCode) = ("E_DISK_IO", ExitCode::DiskTouched);

fn session(machine: &mut Machine, script: &mut Script) -> ExitCode {
    run(machine, script, Retry::default())
}

/// Waits in which nobody types, then these lines.
fn after_waits(waits: usize, lines: &[&str]) -> Script {
    let mut script = Script::typing(lines);
    for _ in 0..waits {
        script.typed.push_front(None);
    }
    script
}

#[test]
fn what_may_pass_is_tried_again_with_a_countdown_and_then_stops() {
    let mut machine = Machine::ending(&[DISK_IO; 4]);
    // 10, 20 and 40 seconds in steps of five, then a stop at which somebody restarts.
    let mut script = after_waits(2 + 4 + 8, &["b", "yes"]);
    assert_eq!(session(&mut machine, &mut script), ExitCode::DiskTouched);
    assert_eq!(machine.done, ["attempt 1", "attempt 2", "attempt 3", "attempt 4", "Restart"]);
    let counted: Vec<&String> = script.lines.iter().filter(|line| line.contains("trying again in")).collect();
    assert_eq!(counted.len(), 14);
    assert_eq!(
        (counted[0].as_str(), counted[1].as_str()),
        (
            "metalstrap: trying again in 10 s (2 more after that); r: now, x: stop trying",
            "metalstrap: trying again in 5 s (2 more after that); r: now, x: stop trying"
        )
    );
    let stopped = "metalstrap: stopped with exit code 7, the disk was touched";
    assert_eq!(script.lines.iter().filter(|line| line.as_str() == stopped).count(), 1);
}

#[test]
fn the_wait_can_be_cut_short_and_the_attempts_ended() {
    let mut machine = Machine::ending(&[DISK_IO; 3]);
    let mut script = Script::typing(&["", "noise", "r", "x", "p", "yes"]);
    session(&mut machine, &mut script);
    assert_eq!(machine.done, ["attempt 1", "attempt 2", "Off"]);
    assert!(script.lines.contains(&"metalstrap: \"noise\" is no order".to_owned()));
}

#[test]
fn a_stick_that_is_plugged_in_is_enough() {
    let mut machine = Machine::ending(&[NO_CONFIG]);
    machine.news = [None, Some("volume METALSTRAP (/dev/sdb1), /cluster.toml")].into();
    let mut script = after_waits(2, &[]);
    assert_eq!(session(&mut machine, &mut script), ExitCode::Ok);
    assert_eq!(machine.done, ["attempt 1", "look", "look", "attempt 2"]);
    assert_eq!(
        script.lines.last().unwrap(),
        "metalstrap: found a configuration: volume METALSTRAP (/dev/sdb1), /cluster.toml"
    );
    let text = script.lines.join("\n");
    assert!(text.contains("metalstrap: this machine has no host name yet; it is"), "{text}");
    assert!(text.contains("metalstrap: stopped with exit code 2, nothing was written"), "{text}");
}

#[test]
fn what_no_configuration_cures_waits_for_an_order_only() {
    let mut machine = Machine::ending(&[HAS_DATA, HAS_DATA]);
    let mut script = after_waits(3, &["r"]);
    // After the last line there is no console any more, and nothing to wait for.
    assert_eq!(session(&mut machine, &mut script), ExitCode::UnsupportedHardware);
    assert_eq!(machine.done, ["attempt 1", "attempt 2"]);
}

#[test]
fn network_and_url_are_asked_for_and_used() {
    let mut machine = Machine::ending(&[NO_CONFIG]);
    let mut script = Script::typing(&["c", "", "http://10.0.0.1/c.toml"]);
    assert_eq!(session(&mut machine, &mut script), ExitCode::Ok);
    assert_eq!(machine.done, ["attempt 1", "take metalstrap.config=http://10.0.0.1/c.toml", "attempt 2"]);
    // One who thinks better of it is back at the menu.
    let mut machine = Machine::ending(&[HAS_DATA]);
    session(&mut machine, &mut Script::typing(&["c", "q", "r"]));
    assert_eq!(machine.done, ["attempt 1", "attempt 2"]);
}

#[test]
fn a_bundle_is_written_when_asked_for_and_unasked_only_where_it_is_welcome() {
    let mut machine = Machine::ending(&[HAS_DATA]);
    let mut script = Script::typing(&["s", "s http://u:p@h/", "r"]);
    session(&mut machine, &mut script);
    assert_eq!(machine.done, ["attempt 1", "bundle to the medium", "bundle to http://h/", "attempt 2"]);
    let text = script.lines.join("\n");
    assert!(text.contains("metalstrap: support bundle written: /dev/sdb1, metalstrap/support/x.tar.gz"));
    assert!(text.contains("metalstrap: warning: no support bundle: E_SUPPORT_UPLOAD: no answer"));
    let mut machine = Machine { automatic: Some(Destination::Medium), ..Machine::ending(&[HAS_DATA]) };
    let mut script = Script::typing(&["r"]);
    session(&mut machine, &mut script);
    assert_eq!(machine.done[..2], ["attempt 1", "bundle to the medium"]);
    // The bundle is there before the line that tells a harness to pull the plug.
    let at = |text: &str| script.lines.iter().position(|line| line.contains(text)).unwrap();
    assert!(at("support bundle written") < at("stopped with exit code"));
}

#[test]
fn noise_is_answered_a_few_times_only_and_changes_nothing() {
    let mut machine = Machine::ending(&[HAS_DATA]);
    let noise = ["login: \x1b[2J"; 40];
    let mut script = Script::typing(&noise);
    script.typed.push_back(Some("b".to_owned()));
    script.typed.push_back(Some("y".to_owned()));
    session(&mut machine, &mut script);
    assert_eq!(machine.done, ["attempt 1"]);
    let answered = script.lines.iter().filter(|line| line.ends_with("is no order")).collect::<Vec<_>>();
    assert_eq!((answered.len(), answered[0].as_str()), (5, "metalstrap: \"login: \\u{1b}[2J\" is no order"));
    assert_eq!(script.lines.last().unwrap(), "metalstrap: not done");
}

/// A line of noise each tenth of a second, for a hundred seconds.
fn noise(line: &str) -> Script {
    Script { line_takes: Duration::from_millis(100), ..Script::typing(&[line; 1000]) }
}

#[test]
fn noise_neither_delays_a_further_attempt_nor_hastens_it() {
    for line in ["login:", ""] {
        let mut machine = Machine::ending(&[DISK_IO; 3]);
        let mut script = noise(line);
        assert_eq!(session(&mut machine, &mut script), ExitCode::Ok);
        assert_eq!(machine.done, ["attempt 1", "attempt 2", "attempt 3", "attempt 4"]);
        assert_eq!(script.clock, Duration::from_secs(10 + 20 + 40), "{line:?}");
        let counted = script.lines.iter().filter(|line| line.contains("trying again in")).count();
        assert_eq!(counted, 2 + 4 + 8, "{line:?}");
        let answered = script.lines.iter().filter(|line| line.ends_with("is no order")).count();
        assert_eq!(answered, if line.is_empty() { 0 } else { 3 * 5 });
    }
}

#[test]
fn a_stick_that_is_plugged_in_while_a_line_makes_noise_is_found() {
    for line in ["login:", ""] {
        let mut machine = Machine::ending(&[NO_CONFIG]);
        machine.news = [None, None, Some("volume METALSTRAP (/dev/sdb1), /cluster.toml")].into();
        let mut script = noise(line);
        assert_eq!(session(&mut machine, &mut script), ExitCode::Ok);
        assert_eq!(machine.done, ["attempt 1", "look", "look", "look", "attempt 2"]);
        assert_eq!(script.clock, Duration::from_secs(30));
        let menus = script.lines.iter().filter(|line| line.as_str() == MENU[0]).count();
        assert_eq!(menus, 1 + 5, "{line:?}");
    }
}

#[test]
fn the_menu_fits_a_serial_terminal() {
    assert!(MENU.iter().all(|line| line.len() < 80));
}

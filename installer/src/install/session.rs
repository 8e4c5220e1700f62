//! An unattended install that somebody may attend to: what may pass by itself is tried again a few times, then the machine stops
//! and takes orders at its consoles; a configuration that appears is always enough to go on.
//!
//! Pure over [`Work`] (the machine) and [`Operator`] (the consoles).

use crate::codes::Retry;
use crate::console::{
    Answers, Operator, ask_network_and_url, render_portrait, render_stopped, render_warning,
};
use crate::exit::ExitCode;
use crate::inventory::{Inventory, sanitise};
use crate::refusal::Refusal;
use crate::support::Destination;
use std::time::Duration;
use sysio::typed::Typed;

/// Between two looks for a configuration; a stick that is plugged in is found within this.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Between two lines of a countdown.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Orders that nobody can mean are answered so often in a row; then they are noise, and answering noise makes more of it.
const JUNK_MAX: u32 = 5;

/// What the operator can type.
const MENU: [&str; 5] = [
    "metalstrap: type a letter and Enter:  r  try again, from the step that failed",
    "metalstrap:   c  enter network and URL      i  show what this machine is",
    "metalstrap:   s  write a support bundle to the medium; s URL sends it",
    "metalstrap:   b  restart the machine        p  switch it off",
    "metalstrap: Alt+F2 on the video console has a shell",
];

/// What a session asks of the machine.
pub(super) trait Work {
    /// One install. What it says is on the screen, its outcome kept; on success what follows (a restart) is under way.
    ///
    /// # Errors
    /// Why it stopped.
    fn attempt(&mut self, number: u32, operator: &mut dyn Operator) -> Result<ExitCode, Refusal>;

    /// Where a configuration is that the last attempt did not find, or found with other contents.
    fn news(&mut self) -> Option<String>;

    /// Writes a support bundle; gives its place.
    ///
    /// # Errors
    /// Why it could not be written.
    fn bundle(&mut self, to: &Destination) -> Result<String, Refusal>;

    /// Where a bundle goes unasked, if anywhere.
    fn automatic_bundle(&mut self) -> Option<Destination>;

    /// What the machine is made of.
    ///
    /// # Errors
    /// When it cannot be looked at.
    fn inventory(&mut self) -> Result<Inventory, Refusal>;

    /// Takes the answers: sets the network up and uses the URL in every further attempt.
    ///
    /// # Errors
    /// When the network cannot be set up.
    fn take_answers(&mut self, answers: &Answers) -> Result<(), Refusal>;

    /// Makes a shell reachable on the second terminal.
    fn open_shell(&mut self);

    /// Restarts or switches off.
    ///
    /// # Errors
    /// When neither systemd nor the kernel takes the request.
    fn power(&mut self, power: Power) -> Result<(), String>;
}

/// How the machine is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    Restart,
    Off,
}

/// What comes after a stop.
enum Order {
    Again,
    Leave,
}

/// Installs, tries again what may pass, and then does as it is told. Returns when the machine is about to be restarted, when the
/// install came to its end, or when there is neither a console nor a configuration to wait for.
pub(super) fn run(work: &mut dyn Work, operator: &mut dyn Operator, retry: Retry) -> ExitCode {
    let (mut number, mut failed_in_a_row) = (0, 0);
    loop {
        number += 1;
        let refusal = match work.attempt(number, operator) {
            Ok(exit) => return exit,
            Err(refusal) => refusal,
        };
        failed_in_a_row += 1;
        if let Some(pause) = retry.pause(refusal.code, failed_in_a_row) {
            let left = retry.further.saturating_sub(failed_in_a_row);
            if count_down(operator, pause, left) {
                continue;
            }
        }
        write_bundle_unasked(work, operator);
        operator.line(&render_stopped(refusal.exit));
        match stay(work, operator, &refusal) {
            Order::Again => failed_in_a_row = 0,
            Order::Leave => return refusal.exit,
        }
    }
}

/// Waits before a further attempt, by the clock, with a line every few seconds. `r` ends the wait, `x` the attempts: then it gives `false`.
/// An empty line says nothing: a serial line that is noisy sends many.
fn count_down(operator: &mut dyn Operator, pause: Duration, left: u32) -> bool {
    let mut next_line = operator.now();
    let deadline = next_line.saturating_add(pause);
    let mut junk = 0;
    loop {
        let now = operator.now();
        let rest = deadline.saturating_sub(now);
        if rest.is_zero() {
            return true;
        }
        if now >= next_line {
            operator.line(&format!(
                "metalstrap: trying again in {} s ({left} more after that); r: now, x: stop trying",
                rest.as_millis().div_ceil(1000)
            ));
            next_line = now.saturating_add(COUNT_EVERY);
        }
        let step = rest.min(next_line.saturating_sub(now));
        match operator.wait(step) {
            Typed::Line(line) => match line.trim() {
                "" => {}
                "r" => return true,
                "x" => return false,
                other => answer_junk(operator, other, &mut junk),
            },
            Typed::Nothing => {}
            Typed::Closed => operator.pause(step),
        }
    }
}

/// Says that a line is no order, the first few times; answering noise makes more of it.
fn answer_junk(operator: &mut dyn Operator, line: &str, junk: &mut u32) {
    *junk = junk.saturating_add(1);
    if *junk <= JUNK_MAX && !line.is_empty() {
        operator.line(&format!("metalstrap: \"{}\" is no order", sanitise(line)));
    }
}

fn write_bundle_unasked(work: &mut dyn Work, operator: &mut dyn Operator) {
    if let Some(to) = work.automatic_bundle() {
        write_bundle(work, operator, &to);
    }
}

fn write_bundle(work: &mut dyn Work, operator: &mut dyn Operator, to: &Destination) {
    operator.line(&format!("metalstrap: collecting a support bundle for {}", sanitise(&to.to_string())));
    match work.bundle(to) {
        Ok(place) => operator.line(&format!("metalstrap: support bundle written: {}", sanitise(&place))),
        Err(refusal) => operator
            .line(&render_warning(&format!("no support bundle: {}: {}", refusal.code, refusal.message))),
    }
}

/// True when another configuration may be all that is missing.
fn waits_for_config(code: &str) -> bool {
    code.starts_with("E_CONFIG_")
        || code.starts_with("E_NODE_")
        || code == "E_TOKEN_MISSING"
        || profiles::Code::ALL.iter().any(|known| known.as_str() == code)
}

/// Takes orders, and looks for a configuration where that is what is missing.
fn stay(work: &mut dyn Work, operator: &mut dyn Operator, refusal: &Refusal) -> Order {
    let watches = waits_for_config(refusal.code);
    work.open_shell();
    if watches {
        show_portrait(work, operator);
        operator.line("metalstrap: looking for a configuration every 10 s; plugging in a stick is enough");
    }
    show_menu(operator);
    let (mut junk, mut quiet) = (0, true);
    let mut next_look = operator.now().saturating_add(LOOK_EVERY);
    loop {
        // By the clock: also while somebody types, or a line makes noise.
        if operator.now() >= next_look {
            if let Some(origin) = watches.then(|| work.news()).flatten() {
                operator.line(&format!("metalstrap: found a configuration: {}", sanitise(&origin)));
                return Order::Again;
            }
            next_look = operator.now().saturating_add(LOOK_EVERY);
            if std::mem::replace(&mut quiet, true) {
                junk = 0;
            }
        }
        let step = next_look.saturating_sub(operator.now());
        let line = match operator.wait(step) {
            Typed::Line(line) => line,
            Typed::Nothing => continue,
            Typed::Closed if !watches => return Order::Leave,
            Typed::Closed => {
                operator.pause(step);
                continue;
            }
        };
        quiet = false;
        match obey(work, operator, line.trim()) {
            Some(Obeyed::Again) => return Order::Again,
            Some(Obeyed::Leave) => return Order::Leave,
            Some(Obeyed::Stay) => junk = 0,
            None => {
                answer_junk(operator, line.trim(), &mut junk);
                if junk <= JUNK_MAX {
                    show_menu(operator);
                }
            }
        }
    }
}

enum Obeyed {
    Again,
    Leave,
    Stay,
}

/// Does what a line says; `None` when it says nothing that is known.
fn obey(work: &mut dyn Work, operator: &mut dyn Operator, line: &str) -> Option<Obeyed> {
    let (order, rest) = line.split_once(' ').map_or((line, ""), |(order, rest)| (order, rest.trim()));
    match (order, rest) {
        ("?" | "h", "") => show_menu(operator),
        ("r", "") => return Some(Obeyed::Again),
        ("i", "") => show_portrait(work, operator),
        ("s", to) => {
            write_bundle(work, operator, &Destination::parse(if to.is_empty() { "medium" } else { to }));
        }
        ("c", "") => {
            if ask_and_take(work, operator) {
                return Some(Obeyed::Again);
            }
            show_menu(operator);
        }
        ("b", "") => return Some(end(work, operator, Power::Restart)),
        ("p", "") => return Some(end(work, operator, Power::Off)),
        _ => return None,
    }
    Some(Obeyed::Stay)
}

fn ask_and_take(work: &mut dyn Work, operator: &mut dyn Operator) -> bool {
    let taken = match work.inventory() {
        Ok(inventory) => match ask_network_and_url(operator, &inventory) {
            Some(answers) => {
                operator.line(&format!("metalstrap: as kernel arguments: {}", sanitise(&answers.shown())));
                work.take_answers(&answers)
            }
            None => return false,
        },
        Err(refusal) => Err(refusal),
    };
    taken
        .map_err(|refusal| operator.line(&render_warning(&format!("{}: {}", refusal.code, refusal.message))))
        .is_ok()
}

fn end(work: &mut dyn Work, operator: &mut dyn Operator, power: Power) -> Obeyed {
    let what = if power == Power::Restart { "restart" } else { "switch off" };
    operator.line(&format!("metalstrap: type yes to {what} this machine:"));
    if operator.wait(LOOK_EVERY * 3) != Typed::Line("yes".to_owned()) {
        operator.line("metalstrap: not done");
        return Obeyed::Stay;
    }
    match work.power(power) {
        Ok(()) => Obeyed::Leave,
        Err(why) => {
            operator.line(&render_warning(&why));
            Obeyed::Stay
        }
    }
}

fn show_menu(operator: &mut dyn Operator) {
    MENU.iter().for_each(|line| operator.line(line));
}

fn show_portrait(work: &mut dyn Work, operator: &mut dyn Operator) {
    match work.inventory() {
        Ok(inventory) => render_portrait(&inventory).iter().for_each(|line| operator.line(line)),
        Err(refusal) => operator.line(&render_warning(&format!("{}: {}", refusal.code, refusal.message))),
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;

//! The lines of the contract. Pure.

use crate::codes::Advice;
use crate::exit::ExitCode;
use crate::inventory::sanitise;
use crate::refusal::Refusal;
use std::time::Duration;

/// A phase begins.
pub fn render_phase(number: usize, count: usize, name: &str) -> String {
    format!("metalstrap: phase ({number}/{count}) {name}")
}

/// A phase is done.
pub fn render_done(number: usize, count: usize, name: &str, took: Duration) -> String {
    format!("metalstrap: phase ({number}/{count}) {name} done in {:.1} s", took.as_secs_f64())
}

/// Something is not as it should be, and the program goes on.
pub fn render_warning(text: &str) -> String {
    format!("metalstrap: warning: {}", sanitise(text))
}

/// The program will not go on: the sentence, then every candidate.
pub fn render_refused(refusal: &Refusal) -> Vec<String> {
    let head = format!("metalstrap: refused: {}: {}", refusal.code, sanitise(&refusal.message));
    std::iter::once(head)
        .chain(refusal.details.iter().map(|line| format!("metalstrap:   {}", sanitise(line))))
        .collect()
}

/// What failed, why it probably did, and what to do next.
pub fn render_advice(step: &str, advice: &Advice) -> Vec<String> {
    vec![
        format!("metalstrap: failed step: {}", sanitise(step)),
        format!("metalstrap: probable cause: {}", advice.cause),
        format!("metalstrap: next: {}", advice.action),
    ]
}

/// The last line of a program that failed.
pub fn render_stopped(exit: ExitCode) -> String {
    let disk = if exit == ExitCode::DiskTouched { "the disk was touched" } else { "nothing was written" };
    format!("metalstrap: stopped with exit code {exit}, {disk}")
}

/// The install is complete; the machine goes into it at once, or when somebody starts it again.
pub fn render_installed(disk: &str, reboots: bool) -> String {
    let next = if reboots { "rebooting" } else { "it starts from there from now on" };
    format!("metalstrap: install complete on {disk}, {next}")
}

/// The machine is installed already, and is to be off then.
pub fn render_halt(hostname: &str, disk: &str) -> String {
    format!("metalstrap: {hostname} is installed on {disk}, powering off, nothing written")
}

/// The machine is installed already.
pub fn render_handover(disk: &str) -> String {
    format!("metalstrap: handing over to the system installed on {disk}, nothing written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_those_of_the_contract() {
        assert_eq!(render_phase(2, 9, "partition"), "metalstrap: phase (2/9) partition");
        let done = render_done(2, 9, "partition", Duration::from_millis(1449));
        assert_eq!(done, "metalstrap: phase (2/9) partition done in 1.4 s");
        assert_eq!(
            render_stopped(ExitCode::InvalidInput),
            "metalstrap: stopped with exit code 2, nothing was written"
        );
        assert_eq!(
            render_stopped(ExitCode::DiskTouched),
            "metalstrap: stopped with exit code 7, the disk was touched"
        );
        assert_eq!(render_installed("/dev/vda", true), "metalstrap: install complete on /dev/vda, rebooting");
        assert_eq!(
            render_installed("/dev/vda", false),
            "metalstrap: install complete on /dev/vda, it starts from there from now on"
        );
        let handover = "metalstrap: handing over to the system installed on /dev/vda, nothing written";
        assert_eq!(render_handover("/dev/vda"), handover);
    }

    #[test]
    fn advice_names_step_cause_and_next_action() {
        let advice = Advice { cause: "a bad stick", action: "take another" };
        assert_eq!(
            render_advice("check-medium (phase preflight)", &advice),
            [
                "metalstrap: failed step: check-medium (phase preflight)",
                "metalstrap: probable cause: a bad stick",
                "metalstrap: next: take another"
            ]
        );
    }

    #[test]
    fn a_refusal_lists_its_candidates_and_no_control_character() {
        let refusal = Refusal::new("E_DISK_NONE", ExitCode::UnsupportedHardware, "no disk")
            .with_details(["/dev/sda: \x1b[2J".to_owned()]);
        assert_eq!(
            render_refused(&refusal),
            ["metalstrap: refused: E_DISK_NONE: no disk", "metalstrap:   /dev/sda: \\u{1b}[2J"]
        );
    }
}

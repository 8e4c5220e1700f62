//! Reads the installer's phase lines off the console.

use crate::serial::SerialLine;

/// One finished phase of an install.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// Its number, from 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// Its name.
    pub name: String,
    /// How long it took, by the installer's own clock.
    pub secs: f64,
}

/// Reads `metalstrap: phase (n/m) NAME done in S.S s`; `None` for any other line.
pub fn parse_phase_done(text: &str) -> Option<Phase> {
    let rest = text.split_once("metalstrap: phase (")?.1;
    let (count, rest) = rest.split_once(") ")?;
    let (number, of) = count.split_once('/')?;
    let (name, secs) = rest.rsplit_once(" done in ")?;
    Some(Phase {
        number: number.parse().ok()?,
        of: of.parse().ok()?,
        name: name.to_owned(),
        secs: secs.strip_suffix(" s")?.parse().ok()?,
    })
}

/// All finished phases, in order. A line that appears on two consoles at once is counted once.
pub fn finished_phases(lines: &[SerialLine]) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    for phase in lines.iter().filter_map(|line| parse_phase_done(&line.text)) {
        if !phases.iter().any(|known| known.number == phase.number) {
            phases.push(phase);
        }
    }
    phases
}

#[cfg(test)]
mod tests {
    use super::{Phase, finished_phases, parse_phase_done};
    use crate::serial::SerialLine;

    #[test]
    fn reads_a_finished_phase() {
        let expected = Phase { number: 3, of: 11, name: "copy root image".to_owned(), secs: 6.1 };
        assert_eq!(
            parse_phase_done("metalstrap: phase (3/11) copy root image done in 6.1 s"),
            Some(expected)
        );
    }

    #[test]
    fn leaves_other_lines_alone() {
        for text in [
            "metalstrap: phase (3/11) copy root image",
            "phase",
            "metalstrap: phase (x/11) a done in 1 s",
            "",
        ] {
            assert_eq!(parse_phase_done(text), None, "{text}");
        }
    }

    #[test]
    fn counts_a_repeated_line_once() {
        let line = |text: &str| SerialLine { secs: 0.0, text: text.to_owned() };
        let phases = finished_phases(&[
            line("metalstrap: phase (1/2) a done in 1.0 s"),
            line("metalstrap: phase (1/2) a done in 1.0 s"),
            line("metalstrap: phase (2/2) b done in 0.5 s"),
        ]);
        assert_eq!(phases.iter().map(|phase| phase.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }
}

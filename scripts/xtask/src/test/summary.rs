//! The outcome of a test run: a table, and one last line for machines.

use anyhow::Result;
use comfy_table::{Cell, CellAlignment, Table, presets};

/// How many checks a step stood for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// What was not looked at, and why; empty when all was.
    pub not_looked_at: String,
    /// Last lines of what failed, for the end of the run.
    pub told_again: Vec<String>,
}

impl Counts {
    /// A step that is one check, and passed.
    pub fn one() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    /// A step that could not look: neither passed nor failed.
    pub fn none(why: impl Into<String>) -> Self {
        Self { not_looked_at: why.into(), ..Self::default() }
    }
}

/// All steps so far.
#[derive(Default)]
pub struct Summary {
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    counts: Counts,
    note: String,
    secs: f64,
}

impl Summary {
    /// Adds a step; an error counts as one failure.
    pub fn add(&mut self, name: &'static str, result: Result<Counts>, secs: f64) {
        let (counts, note) = match result {
            Ok(counts) => {
                let note = counts.not_looked_at.clone();
                (counts, note)
            }
            Err(error) => {
                let text = format!("{error:#}");
                let first = text.lines().next().unwrap_or_default().to_owned();
                let told_again = text.lines().map(str::to_owned).collect();
                (Counts { failed: 1, told_again, ..Counts::default() }, first)
            }
        };
        self.rows.push(Row { name, counts, note, secs });
    }

    /// Failures of all steps.
    pub fn failed(&self) -> u64 {
        self.rows.iter().map(|row| row.counts.failed).sum()
    }

    /// The table of all steps.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(["step", "result", "passed", "failed", "seconds", ""]);
        for row in &self.rows {
            let result = match (row.counts.failed, row.counts.passed) {
                (0, 0) => "not run",
                (0, _) => "ok",
                _ => "FAILED",
            };
            let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
            table.add_row([
                Cell::new(row.name),
                Cell::new(result),
                number(row.counts.passed.to_string()),
                number(row.counts.failed.to_string()),
                number(format!("{:.1}", row.secs)),
                Cell::new(&row.note),
            ]);
        }
        table.trim_fmt()
    }

    /// What failed, told again: a log that was cut at its beginning still shows why.
    pub fn failures(&self) -> String {
        let failed = self.rows.iter().filter(|row| row.counts.failed > 0);
        failed.map(|row| format!("FAILED {}:\n{}\n\n", row.name, row.counts.told_again.join("\n"))).collect()
    }

    /// `N passed, N failed`.
    pub fn last_line(&self) -> String {
        let passed: u64 = self.rows.iter().map(|row| row.counts.passed).sum();
        format!("{passed} passed, {} failed", self.failed())
    }
}

/// Adds up `test result: …` lines of cargo.
pub fn parse_test_result(line: &str) -> Option<Counts> {
    let rest = line.trim().strip_prefix("test result: ")?.split_once(". ")?.1;
    let number = |word: &str| {
        rest.split(';')
            .find_map(|part| part.trim().strip_suffix(word))
            .and_then(|number| number.trim().parse().ok())
    };
    Some(Counts { passed: number("passed")?, failed: number("failed")?, ..Counts::default() })
}

#[cfg(test)]
mod tests {
    use super::{Counts, Summary, parse_test_result};

    #[test]
    fn adds_up_and_counts_an_error_as_one_failure() {
        let mut summary = Summary::default();
        summary.add("tests", Ok(Counts { passed: 40, failed: 2, ..Counts::default() }), 3.0);
        summary.add("iso-bios", Err(anyhow::anyhow!("no marker\nmore").context("machine `iso-bios`")), 60.0);
        summary.add("dependencies", Ok(Counts::none("cargo-deny is not installed")), 0.1);
        summary.add("format", Ok(Counts::one()), 1.0);
        assert_eq!(summary.last_line(), "41 passed, 3 failed");
        assert_eq!(
            summary.failures(),
            "FAILED tests:\n\n\nFAILED iso-bios:\nmachine `iso-bios`: no marker\nmore\n\n"
        );
        assert_eq!(
            summary.table(),
            [
                " step          result   passed  failed  seconds",
                " tests         FAILED       40       2      3.0",
                " iso-bios      FAILED        0       1     60.0  machine `iso-bios`: no marker",
                " dependencies  not run       0       0      0.1  cargo-deny is not installed",
                " format        ok            1       0      1.0",
            ]
            .join("\n")
        );
    }

    #[test]
    fn reads_what_cargo_counts() {
        let line = "test result: FAILED. 44 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.14s";
        assert_eq!(parse_test_result(line), Some(Counts { passed: 44, failed: 2, ..Counts::default() }));
        assert_eq!(parse_test_result("test canary::tests::x ... ok"), None);
    }
}

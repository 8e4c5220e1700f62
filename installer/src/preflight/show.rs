//! Verdicts for people: lines on the console, and a table. Pure.

use super::model::Outcome;
use super::report::{CheckResult, Counts, PreflightReport};

/// `preflight: 41 passed, 2 warnings, 1 could not run`.
pub fn render_summary(counts: &Counts) -> String {
    let noun =
        |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let mut parts = vec![format!("{} passed", counts.passed), noun(counts.warnings, "warning", "warnings")];
    parts.extend((counts.failed > 0).then(|| format!("{} failed", counts.failed)));
    parts.push(format!("{} could not run", counts.could_not_run));
    parts.extend((counts.skipped > 0).then(|| format!("{} skipped", counts.skipped)));
    format!("preflight: {}", parts.join(", "))
}

/// The summary, then a line for each verdict that somebody should read; what failed is left to the refusal.
pub fn render_lines(report: &PreflightReport) -> Vec<String> {
    let mut lines = vec![render_summary(&report.counts)];
    for (outcome, word) in
        [(Outcome::Warn, "warning"), (Outcome::CouldNotRun, "could not run"), (Outcome::Skipped, "skipped")]
    {
        let of = report.checks.iter().filter(|check| check.outcome == outcome);
        lines.extend(of.map(|check| format!("{word}: {}: {}{}", check.id, check.measured, advice(check))));
    }
    lines
}

/// What to do follows a warning; of what could not run the reason is enough.
fn advice(check: &CheckResult) -> String {
    if check.outcome == Outcome::Warn { format!("; {}", check.remedy) } else { String::new() }
}

/// Every verdict, one line each: outcome, id, measured value; what to do below it.
pub fn render_table(report: &PreflightReport) -> String {
    let width = report.checks.iter().map(|check| check.id.len()).max().unwrap_or_default();
    let mut out = String::new();
    let mut class = None;
    for check in &report.checks {
        if class != Some(check.class) {
            class = Some(check.class);
            out += &format!("{}\n", check.class);
        }
        out += &format!("  {:<14} {:<width$}  {}\n", check.outcome.to_string(), check.id, check.measured);
        if let Some(refusal) = &check.refusal {
            refusal.details.iter().for_each(|line| out += &format!("  {:<14} {:<width$}  {line}\n", "", ""));
        }
        if matches!(check.outcome, Outcome::Warn | Outcome::Fail) {
            out += &format!("  {:<14} {:<width$}  → {}\n", "", "", check.remedy);
        }
    }
    out + &render_summary(&report.counts) + "\n"
}

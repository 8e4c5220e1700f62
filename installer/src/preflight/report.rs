//! All verdicts of one run: made, counted, and turned into the refusal an install ends with. Pure.

use super::catalogue::CATALOGUE;
use super::model::{Check, Class, Finding, Input, NotRun, Outcome, Purpose, Severity};
use super::skip::Skips;
use crate::inventory::sanitise;
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};

/// Schema id of a serialised [`PreflightReport`]. Additive within v1.
pub const PREFLIGHT_SCHEMA: &str = "metalstrap.preflight/v1";

/// Verdict of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// Stable id.
    pub id: &'static str,
    /// What it is about.
    pub class: Class,
    /// What its worst verdict means.
    pub severity: Severity,
    /// How it ended.
    pub outcome: Outcome,
    /// The measured value; or why it could not run, was skipped, or does not apply.
    pub measured: String,
    /// When it warns and when it fails.
    pub threshold: &'static str,
    /// What to do; empty when it passed or does not apply.
    pub remedy: &'static str,
    /// Page and section of the reference.
    pub page: String,
    /// Code of the refusal; only of a failure.
    pub code: Option<&'static str>,
    /// How an install ends by it; only of a failure.
    #[serde(skip)]
    pub refusal: Option<Refusal>,
}

/// How many checks ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Passed.
    pub passed: usize,
    /// Warned.
    pub warnings: usize,
    /// Failed.
    pub failed: usize,
    /// Could not run.
    pub could_not_run: usize,
    /// Left out by the operator.
    pub skipped: usize,
    /// Do not apply to this node.
    pub not_applicable: usize,
}

/// All verdicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreflightReport {
    /// Always [`PREFLIGHT_SCHEMA`].
    pub schema: &'static str,
    /// How many ended how.
    pub counts: Counts,
    /// Verdicts in the order of the catalogue.
    pub checks: Vec<CheckResult>,
}

/// A verdict as the install record keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedCheck {
    /// Id.
    pub id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The measured value, or why there is none.
    pub measured: String,
}

/// Judges everything. An install leaves out what it measures later itself.
pub fn judge_all(input: &Input<'_>, skips: &Skips) -> PreflightReport {
    let now = |check: &&&Check| {
        input.purpose != Purpose::Install || !check.during_install || skips.origin(check.id.name).is_some()
    };
    let checks: Vec<CheckResult> =
        CATALOGUE.iter().filter(now).map(|check| judge(check, input, skips)).collect();
    PreflightReport { schema: PREFLIGHT_SCHEMA, counts: count(&checks), checks }
}

fn judge(check: &Check, input: &Input<'_>, skips: &Skips) -> CheckResult {
    let left_out = skips.origin(check.id.name).filter(|_| check.id.skippable);
    let judged = match left_out {
        Some(origin) => Ok(Finding {
            outcome: Outcome::Skipped,
            measured: format!("left out by {origin}"),
            refusal: None,
        }),
        None => (check.judge)(input),
    };
    let finding = judged.unwrap_or_else(|NotRun(why)| Finding {
        outcome: Outcome::CouldNotRun,
        measured: why,
        refusal: None,
    });
    let quiet = matches!(finding.outcome, Outcome::Pass | Outcome::NotApplicable | Outcome::Skipped);
    CheckResult {
        id: check.id.name,
        class: check.class,
        severity: check.severity(),
        outcome: finding.outcome,
        measured: clean(&finding.measured),
        threshold: check.limits,
        remedy: if quiet { "" } else { check.remedy },
        page: check.page(),
        code: finding.refusal.as_ref().map(|refusal| refusal.code),
        refusal: finding.refusal,
    }
}

/// Without anything a terminal obeys. Each sentence is cut for itself: a long list of findings is worth its length.
fn clean(text: &str) -> String {
    text.split("; ").map(sanitise).collect::<Vec<_>>().join("; ")
}

fn count(checks: &[CheckResult]) -> Counts {
    let of = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
    Counts {
        passed: of(Outcome::Pass),
        warnings: of(Outcome::Warn),
        failed: of(Outcome::Fail),
        could_not_run: of(Outcome::CouldNotRun),
        skipped: of(Outcome::Skipped),
        not_applicable: of(Outcome::NotApplicable),
    }
}

impl PreflightReport {
    /// The verdict of one check.
    pub fn check(&self, id: &str) -> Option<&CheckResult> {
        self.checks.iter().find(|check| check.id == id)
    }

    /// How an install ends: by the first failure in the order of the catalogue, with all others as lines. `None` when nothing
    /// failed.
    pub fn refusal(&self) -> Option<Refusal> {
        let mut failures = self.checks.iter().filter_map(|check| Some((check, check.refusal.as_ref()?)));
        let (_, first) = failures.next()?;
        let others = failures.flat_map(|(check, refusal)| {
            let head = format!("also {} ({}): {}", refusal.code, check.id, refusal.message);
            std::iter::once(head).chain(refusal.details.iter().map(|line| format!("  {line}")))
        });
        Some(first.clone().with_details(others))
    }

    /// The verdicts for the install record: all but those that do not apply.
    pub fn recorded(&self) -> Vec<RecordedCheck> {
        let record = |check: &CheckResult| RecordedCheck {
            id: check.id.to_owned(),
            outcome: check.outcome,
            measured: check.measured.clone(),
        };
        self.checks.iter().filter(|check| check.outcome != Outcome::NotApplicable).map(record).collect()
    }
}

//! Preflight: everything that can be known to go wrong is looked for before the first write, and all of it is said at once.
//!
//! Two halves that never mix: [`collect`] looks at the machine and gives [`Facts`]; the checks in [`CATALOGUE`] judge the facts,
//! the inventory and the node config, and are pure. A new check is its id in `profiles::preflight`, an entry with a judge in
//! `checks/`, and one line in the catalogue.

mod catalogue;
pub mod checks;
pub mod collect;
mod facts;
mod model;
mod prepare;
pub mod reference;
mod report;
mod show;
mod skip;

pub use catalogue::CATALOGUE;
pub use facts::{
    Api, ChosenDisk, Facts, KernelMessages, MemoryController, NtpAnswer, PortFacts, Route, Sensor, ShownCa,
    Wear,
};
pub use model::{Check, Class, Fact, Finding, Input, Judged, NotRun, Outcome, Purpose, Severity, known};
pub use prepare::{Parts, Prepared};
pub use report::{CheckResult, Counts, PREFLIGHT_SCHEMA, PreflightReport, RecordedCheck, judge_all};
pub use show::{render_lines, render_summary, render_table};
pub use skip::{Skips, ensure_skippable, split_ids};

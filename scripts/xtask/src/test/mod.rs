//! `cargo xtask test`: everything that can be checked by a machine, in one list.
//!
//! The fast steps need no virtual machine: lints and the tests of all crates; then come the packet proof, the test image, and the
//! machines that boot it. A new step is one line in [`FAST`]; a new scenario is registered in the crate `tests`.

mod steps;
mod summary;

use crate::failure::{CommandResult, INVALID_INPUT, UNKNOWN, failure};
use crate::machines;
use ::tests::scenarios::{Image, SCENARIOS, Scenario, find};
use anyhow::Result;
use summary::{Counts, Summary};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Only what needs no virtual machine, without the packet proof.
    #[arg(long, conflicts_with = "all")]
    fast: bool,
    /// Also the scenarios that take many minutes each.
    #[arg(long)]
    all: bool,
    /// Only these steps and scenarios; an unknown name lists them.
    names: Vec<String>,
}

/// A step without a virtual machine.
struct Step {
    name: &'static str,
    shows: &'static str,
    run: fn() -> Result<Counts>,
}

/// What all others need; runs before any of them.
const SETUP: Step =
    Step { name: "setup", shows: "what builds and tests need is installed", run: steps::setup };

const FAST: &[Step] = &[
    Step { name: "format", shows: "cargo fmt --check", run: steps::format },
    Step { name: "lints", shows: "cargo clippy, warnings are errors", run: steps::lints },
    Step {
        name: "tests",
        shows: "cargo test of the whole workspace, but for the packet proof",
        run: steps::cargo_tests,
    },
    Step {
        name: "dependencies",
        shows: "cargo deny: licences, sources, advisories",
        run: steps::dependencies,
    },
    Step { name: "shell", shows: "shellcheck of every script", run: steps::shell },
];

/// Minutes of packets.
const PACKETS: Step =
    Step { name: "packets", shows: "the host firewall against real packets", run: steps::packets };

/// Name of the step that builds the test image.
const IMAGE: &str = "image";
/// Name of the step that builds it twice.
const REPRODUCIBLE: &str = "reproducible";

/// One thing to do, in order.
enum Job {
    Step(&'static Step),
    Image,
    Reproducible,
    Scenario(&'static Scenario),
}

impl Job {
    fn name(&self) -> &'static str {
        match self {
            Self::Step(step) => step.name,
            Self::Image => IMAGE,
            Self::Reproducible => REPRODUCIBLE,
            Self::Scenario(scenario) => scenario.name,
        }
    }

    fn shows(&self) -> &'static str {
        match self {
            Self::Step(step) => step.shows,
            Self::Image => "the test image (k3s double) builds",
            Self::Reproducible => "built twice from the same inputs it is the same, bit for bit",
            Self::Scenario(scenario) => scenario.shows,
        }
    }
}

/// Runs what was asked for, all of it even when some fails, and prints the summary; its last line is
/// `N passed, N failed`.
///
/// # Errors
/// Something failed, or there is no step of that name.
pub fn run(args: &Args) -> CommandResult {
    let jobs = choose(args.fast, args.all, &args.names)?;
    let mut summary = Summary::default();
    let mut built = None;
    for (index, job) in jobs.iter().enumerate() {
        eprintln!("\n[{}/{}] {}: {}", index + 1, jobs.len(), job.name(), job.shows());
        let begin = machines::now();
        let result = run_job(job, &mut built);
        let secs = begin.elapsed().as_secs_f64();
        if let Err(error) = &result {
            eprintln!("FAILED {}: {error:#}", job.name());
        }
        summary.add(job.name(), result, secs);
        eprintln!("[{}/{}] {} took {secs:.1} s", index + 1, jobs.len(), job.name());
    }
    println!("\n{}{}", summary.failures(), summary.table());
    println!("{}", summary.last_line());
    // Told in full above, and nothing may follow the last line; the exit code is what is left to give.
    if summary.failed() == 0 { Ok(()) } else { Err(failure(UNKNOWN, "")) }
}

fn run_job(job: &Job, built: &mut Option<Image>) -> Result<Counts> {
    match job {
        Job::Step(step) => (step.run)(),
        Job::Image => {
            *built = Some(machines::build_double()?);
            Ok(Counts::one())
        }
        Job::Reproducible => {
            machines::ensure_reproducible()?;
            Ok(Counts::one())
        }
        Job::Scenario(scenario) => {
            let image = match built {
                Some(image) => image,
                None => built.insert(machines::build_double()?),
            };
            let figures = (scenario.run)(&machines::context(image.clone())?)?;
            for (name, value) in figures {
                eprintln!("  {name:32} {value:9.1}");
            }
            Ok(Counts::one())
        }
    }
}

/// The jobs for the arguments, in the order of the lists. A scenario by name brings the one whose disk it starts from.
fn choose(fast: bool, long: bool, names: &[String]) -> Result<Vec<Job>> {
    let named = |name: &str| names.iter().any(|wanted| wanted == name);
    let mut all: Vec<Job> = std::iter::once(&SETUP).chain(FAST).map(Job::Step).collect();
    if !fast {
        all.extend([Job::Step(&PACKETS), Job::Image, Job::Reproducible]);
        all.extend(SCENARIOS.iter().filter(|s| long || !s.long || named(s.name)).map(Job::Scenario));
    }
    if names.is_empty() {
        return Ok(all);
    }
    let known: Vec<&str> = all.iter().map(Job::name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(failure(
            INVALID_INPUT,
            format!("there is no test `{unknown}`; there are: {}", known.join(" ")),
        ));
    }
    let predecessors: Vec<&str> =
        names.iter().filter_map(|name| find(name).and_then(|scenario| scenario.after)).collect();
    let wanted =
        |job: &Job| named(job.name()) || job.name() == SETUP.name || predecessors.contains(&job.name());
    Ok(all.into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::{Job, choose};

    fn names(fast: bool, names: &[&str]) -> Vec<&'static str> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        choose(fast, false, &names).unwrap().iter().map(Job::name).collect()
    }

    #[test]
    fn fast_part_boots_nothing_and_the_whole_does() {
        assert_eq!(names(true, &[]), ["setup", "format", "lints", "tests", "dependencies", "shell"]);
        let all = names(false, &[]);
        assert!(all.starts_with(&names(true, &[])));
        assert_eq!(all[6..10], ["packets", "image", "reproducible", "harness"]);
        assert!(all.contains(&"handover") && all.contains(&"refusals") && !all.contains(&"disk-contract"));
        assert!(choose(false, true, &[]).unwrap().iter().any(|job| job.name() == "disk-contract"));
        assert_eq!(names(false, &["disk-contract"]), ["setup", "disk-contract"]);
    }

    #[test]
    fn one_scenario_brings_the_one_it_starts_from() {
        assert_eq!(names(false, &["handover"]), ["setup", "iso-bios", "handover"]);
        assert_eq!(names(false, &["pxe-bios"]), ["setup", "pxe-bios"]);
        assert_eq!(names(false, &["refusals", "shell"]), ["setup", "shell", "refusals"]);
    }

    #[test]
    fn unknown_name_lists_what_there_is() {
        let Err(error) = choose(true, false, &["nothing".to_owned()]) else { panic!("it was taken") };
        assert_eq!(
            error.to_string(),
            "there is no test `nothing`; there are: setup format lints tests dependencies shell"
        );
    }
}

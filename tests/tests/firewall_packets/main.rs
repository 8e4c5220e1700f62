//! The host firewall against real packets: every kind of node, every neighbour, both families. Prints one table, and what
//! was wrong at the very end; needs root, because it makes network namespaces, and fails without.
#![allow(clippy::disallowed_methods, reason = "a test: it measures itself and writes scratch files")]

mod digest;
mod steps;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Instant, SystemTime};
use steps::{Bench, Failure, STEPS};
use tests::firewall::nodes::Kind;
use tests::firewall::probe::LEAST_FILES;

/// Least number of cells in the matrix of all kinds, and the step that counts them.
const LEAST_CELLS: usize = 3000;
const MATRIX: usize = 2;
/// Open files wanted: more are of no use.
const FILES: u64 = 65_536;

/// What one kind of node gave: count and seconds of each step, failures.
struct Row {
    kind: Kind,
    steps: Vec<(usize, f64)>,
    failures: Vec<Failure>,
    asked_again: usize,
}

/// Runs all steps; one that cannot go on ends the row, and is its last failure.
fn prove(kind: Kind, seed: u64) -> Row {
    let mut row = Row { kind, steps: Vec::new(), failures: Vec::new(), asked_again: 0 };
    let stopped = |step: &str, error: &anyhow::Error| Failure {
        step: format!("{step} (stopped)"),
        lines: format!("{error:#}").lines().map(str::to_owned).collect(),
    };
    let mut bench = match Bench::new(kind, seed) {
        Ok(bench) => bench,
        Err(error) => {
            row.failures.push(stopped("building the world", &error));
            return row;
        }
    };
    let only = std::env::var("FIREWALL_STEP").ok();
    for (name, step) in STEPS {
        // For who works on one step; the table shows a count of 0 then.
        if only.as_ref().is_some_and(|only| only != name) {
            row.steps.push((0, 0.0));
            continue;
        }
        let start = Instant::now();
        match step(&mut bench) {
            Ok(count) => row.steps.push((count, start.elapsed().as_secs_f64())),
            Err(error) => {
                bench.failures.push(stopped(name, &error));
                break;
            }
        }
    }
    row.failures = bench.failures;
    row.asked_again = bench.asked_again;
    row
}

fn print_table(rows: &[Row], seconds: f64) {
    print!("{:<22}", "");
    rows.iter().for_each(|row| print!("{:>20}", row.kind.name()));
    println!();
    for (index, (name, _)) in STEPS.iter().enumerate() {
        print!("{name:<22}");
        for row in rows {
            let text = row.steps.get(index).map(|(count, seconds)| format!("{count} {seconds:>6.1} s"));
            print!("{:>20}", text.unwrap_or_else(|| "-".to_owned()));
        }
        println!();
    }
    print!("{:<22}", "asked again");
    rows.iter().for_each(|row| print!("{:>20}", row.asked_again));
    println!("\nall in {seconds:.1} s");
}

/// As many open files as root can have; too few are an error, not a verdict.
fn raise_file_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("reading the limit of open files")?;
    let most = hard.max(FILES);
    if setrlimit(Resource::RLIMIT_NOFILE, most, most).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the limit of open files")?;
        ensure!(
            hard >= LEAST_FILES,
            "this process may open {hard} files, and the proof needs {LEAST_FILES}: raise `ulimit -Hn`"
        );
    }
    Ok(())
}

/// One row for each kind of node, two at a time.
fn prove_all(seed: u64, only: Option<&str>) -> Result<Vec<Row>> {
    let wanted = |kind: &Kind| only.is_none_or(|name| name == kind.name());
    let queue: Mutex<Vec<Kind>> = Mutex::new(Kind::ALL.into_iter().rev().filter(wanted).collect());
    let rows = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        loop {
            let Some(kind) = queue.lock().map_err(|_| anyhow!("a prover ended"))?.pop() else {
                return Ok(());
            };
            let row = prove(kind, seed);
            rows.lock().map_err(|_| anyhow!("a prover ended"))?.push(row);
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().try_for_each(|w| w.join().map_err(|_| anyhow!("a prover ended by a panic"))?)
    })?;
    let mut rows = rows.into_inner().context("collecting the results")?;
    rows.sort_by_key(|row| row.kind);
    ensure!(!rows.is_empty(), "there is no kind of node of that name");
    Ok(rows)
}

fn run() -> Result<digest::Digest> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the packet proof makes network namespaces and loads rules into them: run it as root");
    }
    raise_file_limit()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("reading the clock")?;
    let seed = match std::env::var("FIREWALL_SEED") {
        Ok(text) => text.parse().context("FIREWALL_SEED is a number")?,
        Err(_) => now.as_secs(),
    };
    let only = std::env::var("FIREWALL_KIND").ok();
    let start = Instant::now();
    let rows = prove_all(seed, only.as_deref())?;
    print_table(&rows, start.elapsed().as_secs_f64());
    let mut digest = digest::Digest::new(seed, STEPS.len() * rows.len());
    let cells: usize = rows.iter().filter_map(|row| row.steps.get(MATRIX)).map(|(cells, _)| cells).sum();
    if only.is_none() && std::env::var_os("FIREWALL_STEP").is_none() && cells < LEAST_CELLS {
        digest.add("all", "matrix", vec![format!("{cells} cells, expected {LEAST_CELLS} at least")]);
    }
    for row in rows {
        for failure in row.failures {
            digest.add(row.kind.name(), &failure.step, failure.lines);
        }
    }
    Ok(digest)
}

/// The name of the proof for `--skip`, which test programs have in common.
const NAME: &str = "packet-proof";

/// Whether the arguments leave the proof out.
fn is_skipped(arguments: &[String]) -> bool {
    arguments.windows(2).any(|pair| pair[0] == "--skip" && NAME.contains(&pair[1]))
}

fn main() -> ExitCode {
    if is_skipped(&std::env::args().collect::<Vec<_>>()) {
        println!("test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        return ExitCode::SUCCESS;
    }
    let digest = run().unwrap_or_else(|error| {
        let mut digest = digest::Digest::new(0, 1);
        digest.add("all", "start", vec![format!("{error:#}")]);
        digest
    });
    print!("{digest}");
    if digest.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

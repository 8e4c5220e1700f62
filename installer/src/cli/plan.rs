//! `metalstrap plan FILE`

use super::cluster::read_cluster;
use super::inventory::read_or_collect;
use super::{Global, OutputFormat, print_bytes, print_json};
use crate::disks::{DiskOverrides, choose_disks};
use crate::exit::{ExitCode, ExitWith, Failure};
use crate::identify::identify_node;
use crate::medium::{Sources, read_medium};
use crate::plan::ids::InstallIds;
use crate::plan::text::render_text;
use crate::plan::{InstallPlan, secrets};
use crate::preflight::collect::{Subject, collect_facts};
use crate::preflight::{
    Facts, Parts, PreflightReport, Prepared, Purpose, Skips, ensure_skippable, render_lines,
};
use crate::probe::runs_already;
use crate::refusal::Refusal;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Arguments of `metalstrap plan`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Cluster file.
    pub file: PathBuf,
    /// Which node this is, instead of finding out.
    #[arg(long, value_name = "HOSTNAME")]
    pub node: Option<String>,
    /// A saved inventory instead of this machine.
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// The secrets file; by default `secrets.toml` beside the cluster file, if there is one.
    #[arg(long, value_name = "FILE")]
    pub secrets: Option<PathBuf>,
    /// Folder of a live medium (with `live/image.json`), for lengths and hashes of the image.
    #[arg(long, value_name = "DIR")]
    pub medium: Option<PathBuf>,
    /// As the kernel argument metalstrap.disk: the disk with this serial.
    #[arg(long, value_name = "SERIAL")]
    pub disk: Option<String>,
    /// As the kernel argument metalstrap.wipe: consent to lose what is on the disk with this serial.
    #[arg(long, value_name = "SERIAL")]
    pub wipe: Option<String>,
    /// Leave out a preflight check by its id; several with commas, or the option several times.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub skip: Vec<String>,
}

/// The JSON output: the plan, with what the preflight checks say.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    plan: &'a InstallPlan,
    preflight: &'a PreflightReport,
}

/// Why nothing is measured for an inventory that was saved.
const ELSEWHERE: &str = "only the machine itself can tell; a saved inventory was given";

/// Prints what an install would do, made by the code that would do it. Writes nothing and needs no root.
///
/// # Errors
/// Whatever an install would refuse before its first write.
pub fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    ensure_skippable(&args.skip, "--skip")?;
    let (cluster, diagnostics) = read_cluster(&args.file, args.secrets.as_deref())?;
    let inventory = read_or_collect(args.inventory.as_deref())?;
    let identified = identify_node(&cluster.identities(), &inventory, args.node.as_deref())?;
    let node = cluster.resolve(&identified.hostname).exit_with(ExitCode::InvalidInput)?;
    let secrets = cluster.secrets_for(&identified.hostname).exit_with(ExitCode::InvalidInput)?;
    let overrides = DiskOverrides { serial: args.disk.clone(), wipe: args.wipe.clone(), reinstall: None };
    let disks = choose_disks(&inventory, &node, &overrides).map_err(Refusal::from);
    let serial = disks.as_ref().map(|disks| disks.system().serial()).unwrap_or_default();
    let ids = InstallIds::for_plan(cluster.name(), &node.hostname, serial);
    let tokens = secrets::foresee_tokens(&node, &secrets);
    let mut facts = match &args.inventory {
        Some(_) => Facts::unmeasured(ELSEWHERE),
        None => collect_facts(&Subject {
            node: Some(&node),
            inventory: &inventory,
            disks: disks.as_ref().ok(),
            may_change: false,
        }),
    };
    let cluster_exists = facts.legs.as_ref().is_ok_and(|legs| runs_already(&node, legs));
    let medium = args.medium.as_deref().map(|dir| read_medium(dir, Path::new("/")));
    let parts = Parts { node, disks, tokens, medium, cluster_exists };
    let prepared = Prepared::new(parts, &secrets, &inventory, &ids);
    if args.inventory.is_none() {
        prepared.complete(&mut facts, args.medium.as_deref().map(Sources::of_medium).as_ref());
    }
    let mut skips = Skips::default();
    skips.add(&args.skip, "--skip");
    skips.add(cluster.skipped_checks(), "the cluster file");
    let report = prepared.judge(Purpose::Plan, &inventory, &facts, &skips);
    report.refusal().map_or(Ok(()), Err)?;
    let mut planned = prepared.into_plan_to_show()?;
    planned.plan.warnings.extend(diagnostics.iter().map(ToString::to_string));
    match global.output {
        OutputFormat::Json => print_json(&Shown { plan: &planned.plan, preflight: &report })?,
        OutputFormat::Table => print_bytes((render_text(&planned.plan) + &shown_lines(&report)).as_bytes())?,
    }
    Ok(ExitCode::Ok)
}

/// The verdicts as part of the plan. What could not be looked at here is counted; why is in the JSON, for each.
fn shown_lines(report: &PreflightReport) -> String {
    let mut lines = render_lines(report);
    let elsewhere = |line: &String| line.starts_with("could not run: ") && line.ends_with(ELSEWHERE);
    lines.retain(|line| !elsewhere(line));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

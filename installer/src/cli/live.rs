//! `metalstrap check --live [FILE]`: the preflight checks on the machine it runs on. Writes nothing.

use super::check::Args;
use super::cluster::read_cluster;
use super::inventory::read_or_collect;
use super::{Global, OutputFormat, print_bytes, print_json};
use crate::config_source::{KernelArgs, LiveWorld, find_config, load_found, read_kernel_args};
use crate::disks::{DiskOverrides, choose_disks};
use crate::exit::{ExitCode, ExitWith, Failure};
use crate::identify::identify_node;
use crate::inventory::Inventory;
use crate::medium::{Medium, Sources, read_medium};
use crate::plan::ids::InstallIds;
use crate::plan::secrets::foresee_tokens;
use crate::preflight::collect::{Subject, collect_facts};
use crate::preflight::{
    Input, Parts, PreflightReport, Prepared, Purpose, Skips, ensure_skippable, judge_all, render_table,
};
use crate::probe::runs_already;
use crate::refusal::Refusal;
use profiles::Cluster;
use std::path::Path;
use sysio::sysfs::SysRoot;

/// Makes all checks and prints them as a table or as `metalstrap.preflight/v1`.
///
/// # Errors
/// When the machine cannot be looked at, or the cluster file cannot be used.
pub fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    ensure_skippable(&args.skip, "--skip")?;
    let kernel = read_kernel_args(&SysRoot::default())?;
    let inventory = read_or_collect(None)?;
    let cluster = find_cluster(args, &kernel, &inventory)?;
    let mut skips = Skips::default();
    skips.add(&args.skip, "--skip");
    skips.add(&kernel.skip, "metalstrap.skip");
    if let Some(cluster) = &cluster {
        skips.add(cluster.skipped_checks(), "the cluster file");
    }
    let has_medium = args.medium.join("live").is_dir();
    let sources = has_medium.then(|| Sources::of_medium(&args.medium));
    let medium = has_medium.then(|| read_medium(&args.medium, Path::new("/")));
    let report = match &cluster {
        Some(cluster) => check_node(args, &kernel, cluster, &inventory, medium, sources.as_ref(), &skips)?,
        None => check_machine(&inventory, medium.as_ref(), &skips),
    };
    match global.output {
        OutputFormat::Json => print_json(&report)?,
        OutputFormat::Table => print_bytes(render_table(&report).as_bytes())?,
    }
    Ok(report.refusal().map_or(ExitCode::Ok, |refusal| refusal.exit))
}

/// The cluster file that was given, or the one an install would find at once; `None` when there is none.
fn find_cluster(args: &Args, kernel: &KernelArgs, inventory: &Inventory) -> Result<Option<Cluster>, Failure> {
    if let Some(file) = &args.file {
        return read_cluster(file, args.secrets.as_deref()).map(|(cluster, _)| Some(cluster));
    }
    match find_config(kernel, inventory, &mut LiveWorld::impatient()) {
        Ok(found) => Ok(Some(load_found(&found)?.0)),
        Err(refusal) if refusal.code == "E_CONFIG_NONE" => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

fn check_node(
    args: &Args,
    kernel: &KernelArgs,
    cluster: &Cluster,
    inventory: &Inventory,
    medium: Option<Result<Medium, Refusal>>,
    sources: Option<&Sources>,
    skips: &Skips,
) -> Result<PreflightReport, Failure> {
    let named = args.node.as_deref().or(kernel.node.as_deref());
    let hostname = identify_node(&cluster.identities(), inventory, named)?.hostname;
    let node = cluster.resolve(&hostname).exit_with(ExitCode::InvalidInput)?;
    let secrets = cluster.secrets_for(&hostname).exit_with(ExitCode::InvalidInput)?;
    let reinstall = kernel.reinstall.filter(|id| inventory.has_install(*id));
    let overrides = DiskOverrides { serial: kernel.disk.clone(), wipe: kernel.wipe.clone(), reinstall };
    let disks = choose_disks(inventory, &node, &overrides).map_err(Refusal::from);
    let serial = disks.as_ref().map(|disks| disks.system().serial()).unwrap_or_default();
    let ids = InstallIds::for_plan(cluster.name(), &hostname, serial);
    // Where a node runs, nothing is switched on for a look.
    let may_change = !kernel.installed;
    let mut facts =
        collect_facts(&Subject { node: Some(&node), inventory, disks: disks.as_ref().ok(), may_change });
    let cluster_exists = facts.legs.as_ref().is_ok_and(|legs| runs_already(&node, legs));
    let tokens = foresee_tokens(&node, &secrets);
    let parts = Parts { node, disks, tokens, medium, cluster_exists };
    let prepared = Prepared::new(parts, &secrets, inventory, &ids);
    prepared.complete(&mut facts, sources);
    Ok(prepared.judge(Purpose::Live, inventory, &facts, skips))
}

/// What can be said of a machine that is no node yet.
fn check_machine(
    inventory: &Inventory,
    medium: Option<&Result<Medium, Refusal>>,
    skips: &Skips,
) -> PreflightReport {
    let facts = collect_facts(&Subject { node: None, inventory, disks: None, may_change: false });
    let input = Input {
        purpose: Purpose::Live,
        inventory,
        node: None,
        disks: None,
        tokens: None,
        medium,
        planned: None,
        token_ca_hash: None,
        cluster_exists: false,
        facts: &facts,
    };
    judge_all(&input, skips)
}

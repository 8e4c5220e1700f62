//! `metalstrap disks [FILE]`

use super::cluster::read_cluster;
use super::inventory::read_or_collect;
use super::{Global, OutputFormat, print_bytes, print_json};
use crate::disks::{DiskOverrides, DiskRefusal, DiskVerdict, choose_disk, judge_disks, render_verdicts};
use crate::exit::{ExitCode, ExitWith, Failure};
use crate::identify::identify_node;
use crate::inventory::Inventory;
use crate::plan::layout::DISK_MIN_MIB;
use profiles::node::{DiskSelector, Requirements};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Schema id of the JSON output.
const DISKS_SCHEMA: &str = "metalstrap.disks/v1";

/// Arguments of `metalstrap disks`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Cluster file whose rules for the node apply; without one: the one empty disk that is large enough for any role.
    pub file: Option<PathBuf>,
    /// Which node this is, instead of finding out.
    #[arg(long, value_name = "HOSTNAME", requires = "file")]
    pub node: Option<String>,
    /// The secrets file; by default `secrets.toml` beside the cluster file, if there is one.
    #[arg(long, value_name = "FILE", requires = "file")]
    pub secrets: Option<PathBuf>,
    /// A saved inventory instead of this machine.
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// As the kernel argument metalstrap.disk: the disk with this serial.
    #[arg(long, value_name = "SERIAL")]
    pub disk: Option<String>,
    /// As the kernel argument metalstrap.wipe: consent to lose what is on the disk with this serial.
    #[arg(long, value_name = "SERIAL")]
    pub wipe: Option<String>,
}

/// The JSON output.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    schema: &'static str,
    chosen: Option<&'a str>,
    reason: Option<&'a str>,
    refusal: Option<RefusalSummary<'a>>,
    disks: &'a [DiskVerdict],
}

#[derive(Debug, Serialize)]
struct RefusalSummary<'a> {
    code: &'a str,
    message: &'a str,
}

/// Prints every disk with the reason it would or would not be taken, and which one would be. Writes nothing.
///
/// # Errors
/// When an input cannot be read. That no disk would be taken is a result, with the exit code an install would end with.
pub fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let inventory = read_or_collect(args.inventory.as_deref())?;
    let (selector, requirements) = read_rules(args, &inventory)?;
    let overrides = DiskOverrides { serial: args.disk.clone(), wipe: args.wipe.clone() };
    let verdicts = judge_disks(&inventory, &selector, &requirements, &overrides);
    let chosen = choose_disk(&inventory, &selector, &requirements, &overrides);
    let target = chosen.as_ref().ok();
    let refusal = chosen.as_ref().err();
    match global.output {
        OutputFormat::Json => print_json(&Listed {
            schema: DISKS_SCHEMA,
            chosen: target.map(|t| t.path()),
            reason: target.map(|t| t.reason()),
            refusal: refusal.map(|r| RefusalSummary { code: r.code, message: &r.message }),
            disks: &verdicts,
        })?,
        OutputFormat::Table => {
            let mut text = String::new();
            for line in render_verdicts(&verdicts) {
                // Writing to a string cannot fail.
                let _infallible = writeln!(text, "{line}");
            }
            let last = match &chosen {
                Ok(target) => format!("would be taken: {}", target.reason()),
                Err(refusal) => format!("refused: {refusal}"),
            };
            let _infallible = writeln!(text, "{last}");
            print_bytes(text.as_bytes())?;
        }
    }
    Ok(refusal.map_or(ExitCode::Ok, DiskRefusal::exit))
}

/// Selector and needs of the node, or those of any node.
fn read_rules(args: &Args, inventory: &Inventory) -> Result<(DiskSelector, Requirements), Failure> {
    let Some(file) = &args.file else {
        let requirements = Requirements { memory_min_mib: 0, disk_min_mib: DISK_MIN_MIB };
        return Ok((DiskSelector::default(), requirements));
    };
    let (cluster, _warnings) = read_cluster(file, args.secrets.as_deref())?;
    let node = identify_node(&cluster.identities(), inventory, args.node.as_deref())?;
    let config = cluster.resolve(&node.hostname).exit_with(ExitCode::InvalidInput)?;
    Ok((config.disk, config.requirements))
}

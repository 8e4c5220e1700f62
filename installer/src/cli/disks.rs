//! `metalstrap disks [FILE]`

use super::cluster::read_cluster;
use super::inventory::read_or_collect;
use super::{Global, OutputFormat, print_bytes, print_json};
use crate::disks::{
    DataTarget, DiskOverrides, DiskRefusal, DiskVerdict, TargetDisk, choose_data_disks, choose_disk,
    judge_data_disk, judge_disks, render_verdicts,
};
use crate::exit::{ExitCode, ExitWith, Failure};
use crate::identify::identify_node;
use crate::inventory::Inventory;
use crate::plan::layout::DISK_MIN_MIB;
use profiles::node::{DataDisk, DiskSelector, NodeConfig, Requirements};
use serde::Serialize;
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    data_disks: Vec<ListedData<'a>>,
}

#[derive(Debug, Serialize)]
struct ListedData<'a> {
    mount: &'a str,
    chosen: Option<&'a str>,
    kept: Option<bool>,
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
    let rules = read_rules(args, &inventory)?;
    let overrides = DiskOverrides { serial: args.disk.clone(), wipe: args.wipe.clone(), reinstall: None };
    let verdicts = judge_disks(&inventory, &rules.selector, &rules.requirements, &overrides);
    let chosen = choose_disk(&inventory, &rules.selector, &rules.requirements, &overrides);
    let data = chosen.as_ref().ok().zip(rules.node.as_ref()).filter(|(_, node)| !node.data_disks.is_empty());
    let data = data.map(|(system, node)| look_for_data(&inventory, system, node, &overrides));
    let refusal = chosen.as_ref().err().or(data.as_ref().and_then(|data| data.chosen.as_ref().err()));
    match global.output {
        OutputFormat::Json => print_json(&Listed {
            schema: DISKS_SCHEMA,
            chosen: chosen.as_ref().ok().map(TargetDisk::path),
            reason: chosen.as_ref().ok().map(TargetDisk::reason),
            refusal: refusal.map(|r| RefusalSummary { code: r.code, message: &r.message }),
            disks: &verdicts,
            data_disks: data.as_ref().map(DataLook::listed).unwrap_or_default(),
        })?,
        OutputFormat::Table => {
            let mut lines = render_verdicts(&verdicts);
            lines.push(match &chosen {
                Ok(target) => format!("would be taken: {}", target.reason()),
                Err(refusal) => format!("refused: {refusal}"),
            });
            lines.extend(data.iter().flat_map(DataLook::lines));
            print_bytes((lines.join("\n") + "\n").as_bytes())?;
        }
    }
    Ok(refusal.map_or(ExitCode::Ok, DiskRefusal::exit))
}

/// What was found for the data disks of the node.
struct DataLook {
    /// Mount point and the verdict over every disk.
    verdicts: Vec<(String, Vec<DiskVerdict>)>,
    chosen: Result<Vec<DataTarget>, DiskRefusal>,
}

fn look_for_data(
    inventory: &Inventory,
    system: &TargetDisk,
    node: &NodeConfig,
    overrides: &DiskOverrides,
) -> DataLook {
    let judge =
        |entry: &DataDisk| (entry.mount.clone(), judge_data_disk(inventory, system, node, entry, overrides));
    DataLook {
        verdicts: node.data_disks.iter().map(judge).collect(),
        chosen: choose_data_disks(inventory, system, node, overrides),
    }
}

impl DataLook {
    fn target(&self, mount: &str) -> Option<&DataTarget> {
        self.chosen.as_ref().ok()?.iter().find(|target| target.mount() == mount)
    }

    fn listed(&self) -> Vec<ListedData<'_>> {
        let entry = |mount| {
            let target = self.target(mount);
            (target.map(|t| t.target().path()), target.map(|t| t.kept().is_some()))
        };
        let mut listed = Vec::new();
        for (mount, disks) in &self.verdicts {
            let (chosen, kept) = entry(mount);
            listed.push(ListedData { mount, chosen, kept, disks });
        }
        listed
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (mount, verdicts) in &self.verdicts {
            lines.push(format!("data disk for {mount}:"));
            lines.extend(render_verdicts(verdicts).into_iter().map(|line| format!("  {line}")));
            lines.extend(self.target(mount).map(|t| format!("  would be taken: {}", t.target().reason())));
        }
        lines.extend(
            self.chosen
                .as_ref()
                .err()
                .map(|refusal| format!("refused: {}: {}", refusal.code, refusal.message)),
        );
        lines
    }
}

/// What a disk is judged by.
struct Rules {
    selector: DiskSelector,
    requirements: Requirements,
    node: Option<NodeConfig>,
}

/// Selector and needs of the node, or those of any node.
fn read_rules(args: &Args, inventory: &Inventory) -> Result<Rules, Failure> {
    let Some(file) = &args.file else {
        let requirements = Requirements { memory_min_mib: 0, disk_min_mib: DISK_MIN_MIB };
        return Ok(Rules { selector: DiskSelector::default(), requirements, node: None });
    };
    let (cluster, _warnings) = read_cluster(file, args.secrets.as_deref())?;
    let node = identify_node(&cluster.identities(), inventory, args.node.as_deref())?;
    let config = cluster.resolve(&node.hostname).exit_with(ExitCode::InvalidInput)?;
    let (selector, requirements) = (config.disk.clone(), config.requirements.clone());
    Ok(Rules { selector, requirements, node: Some(config) })
}

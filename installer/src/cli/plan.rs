//! `metalstrap plan FILE`

use super::cluster::read_cluster;
use super::inventory::read_or_collect;
use super::{Global, OutputFormat, print_bytes, print_json};
use crate::disks::{DiskOverrides, choose_disk};
use crate::exit::{ExitCode, ExitWith, Failure};
use crate::identify::{ensure_memory, identify_node};
use crate::install::read_medium;
use crate::plan::ids::InstallIds;
use crate::plan::text::render_text;
use crate::plan::{PlanInput, PlannedDisk, machine_nics, plan_install};
use crate::refusal::Refusal;
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
}

/// Prints what an install would do, made by the code that would do it. Writes nothing and needs no root.
///
/// # Errors
/// Whatever an install would refuse before its first write.
pub fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let (cluster, diagnostics) = read_cluster(&args.file, args.secrets.as_deref())?;
    let inventory = read_or_collect(args.inventory.as_deref())?;
    let identified = identify_node(&cluster.identities(), &inventory, args.node.as_deref())?;
    let node = cluster.resolve(&identified.hostname).exit_with(ExitCode::InvalidInput)?;
    let secrets = cluster.secrets_for(&identified.hostname).exit_with(ExitCode::InvalidInput)?;
    ensure_memory(&inventory, &node.requirements)?;
    let overrides = DiskOverrides { serial: args.disk.clone(), wipe: args.wipe.clone() };
    let disk = choose_disk(&inventory, &node.disk, &node.requirements, &overrides).map_err(Refusal::from)?;
    let medium = args.medium.as_deref().map(|dir| read_medium(dir, Path::new("/"))).transpose()?;
    let ids = InstallIds::for_plan(cluster.name(), &node.hostname, disk.serial());
    let mut planned = plan_install(&PlanInput {
        node: &node,
        secrets: &secrets,
        nics: &machine_nics(&inventory),
        disk: &PlannedDisk::from(&disk),
        image: medium.as_ref().map(|m| &m.image),
        artifacts: medium.as_ref().map(|m| &m.artifacts),
        ids: &ids,
        cluster_exists: false,
    })
    .map_err(|error| error.refusal())?;
    planned.plan.warnings.extend(disk.warnings().iter().cloned());
    planned.plan.warnings.extend(diagnostics.iter().map(ToString::to_string));
    match global.output {
        OutputFormat::Json => print_json(&planned.plan)?,
        OutputFormat::Table => print_bytes(render_text(&planned.plan).as_bytes())?,
    }
    Ok(ExitCode::Ok)
}

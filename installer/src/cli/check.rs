//! `metalstrap check FILE`, and `metalstrap check --live` in [`live`](super::live).

use super::cluster::{count_of, read_loaded};
use super::{Global, OutputFormat, print_bytes, print_json};
use crate::exit::{ExitCode, Failure};
use crate::inventory::MEDIUM_MOUNT;
use profiles::node::Role;
use profiles::{Cluster, Diagnostic, Loaded};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Schema id of the JSON output.
const CHECK_SCHEMA: &str = "metalstrap.check/v1";

/// Arguments of `metalstrap check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The cluster file.
    #[arg(required_unless_present = "live")]
    pub file: Option<PathBuf>,
    /// The secrets file; by default `secrets.toml` beside the cluster file, if there is one.
    #[arg(long, value_name = "FILE")]
    pub secrets: Option<PathBuf>,
    /// Make the preflight checks on this machine instead, for the node it is in the cluster file, if one is given or found.
    #[arg(long)]
    pub live: bool,
    /// With --live: which node this is, instead of finding out.
    #[arg(long, value_name = "HOSTNAME", requires = "live")]
    pub node: Option<String>,
    /// With --live: leave out a check by its id; several with commas, or the option several times.
    #[arg(long, value_name = "ID", value_delimiter = ',', requires = "live")]
    pub skip: Vec<String>,
    /// With --live: where the live medium is mounted.
    #[arg(long, value_name = "DIR", default_value = MEDIUM_MOUNT, requires = "live")]
    pub medium: PathBuf,
}

/// The JSON output.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    schema: &'static str,
    file: String,
    ok: bool,
    errors: usize,
    warnings: usize,
    nodes: Vec<&'a str>,
    diagnostics: &'a [Diagnostic],
}

/// Prints everything that is wrong with a cluster file.
///
/// # Errors
/// When a file cannot be read. Errors *in* it are the result: exit code 2; warnings alone: 0. With `--live` the exit code is
/// that of the install that would be refused.
pub fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    if args.live {
        return super::live::run(args, global);
    }
    let given = args.file.as_deref().unwrap_or(Path::new(""));
    let Loaded { cluster, diagnostics } = read_loaded(given, args.secrets.as_deref())?;
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let warnings = diagnostics.len() - errors;
    let file = given.display().to_string();
    match global.output {
        OutputFormat::Json => print_json(&Checked {
            schema: CHECK_SCHEMA,
            file,
            ok: cluster.is_some(),
            errors,
            warnings,
            nodes: cluster.as_ref().map(|c| c.node_names().collect()).unwrap_or_default(),
            diagnostics: &diagnostics,
        })?,
        OutputFormat::Table => {
            let mut text = String::new();
            for diagnostic in &diagnostics {
                // Writing to a string cannot fail.
                let _infallible = writeln!(text, "{diagnostic}");
            }
            let counts = format!("{}, {}", count_of(errors, "error"), count_of(warnings, "warning"));
            let verdict = match &cluster {
                Some(cluster) => format!("{file}: ok, {}", describe(cluster)),
                None => format!("{file}: not usable"),
            };
            let _infallible = writeln!(text, "{verdict} ({counts})");
            print_bytes(text.as_bytes())?;
        }
    }
    Ok(if cluster.is_some() { ExitCode::Ok } else { ExitCode::InvalidInput })
}

/// `cluster lab, 8 nodes: 3 masters, 3 workers, 2 proxies`.
fn describe(cluster: &Cluster) -> String {
    let identities = cluster.identities();
    let count = |role: Role| identities.iter().filter(|node| node.role == role).count();
    let proxies = count(Role::Proxy);
    let proxies = if proxies == 1 { "1 proxy".to_owned() } else { format!("{proxies} proxies") };
    format!(
        "cluster {}, {}: {}, {}, {proxies}",
        cluster.name(),
        count_of(identities.len(), "node"),
        count_of(count(Role::Master), "master"),
        count_of(count(Role::Worker), "worker"),
    )
}

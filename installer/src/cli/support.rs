//! `metalstrap support`

use super::{Global, OutputFormat};
use crate::exit::{ExitCode, ExitWith, Failure};
use crate::support::{Bundle, Destination, Host, Manifest, collect_bundle, deliver};
use serde::Serialize;

/// Arguments of `metalstrap support`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where the bundle goes: a folder, an http or https URL (PUT, else POST), or the word medium for a FAT volume labelled METALSTRAP.
    #[arg(long, value_name = "DIR|URL|medium", default_value = ".")]
    pub to: String,
}

/// The JSON output.
#[derive(Debug, Serialize)]
struct Written<'a> {
    place: &'a str,
    #[serde(flatten)]
    manifest: &'a Manifest,
}

/// Writes a bundle of everything that explains this machine, without its secrets. What it may not look at is noted in it.
///
/// # Errors
/// With exit code 4, 5 or 6 when it cannot be brought to its place.
pub fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let now = sysio::clock::realtime().exit_with(ExitCode::Environment)?;
    let bundle = collect_bundle(&mut Host, now)?;
    let place = deliver(&bundle, &Destination::parse(&args.to))?;
    match global.output {
        OutputFormat::Json => super::print_json(&Written { place: &place, manifest: bundle.manifest() })?,
        OutputFormat::Table => super::print_bytes(render(&bundle, &place).as_bytes())?,
    }
    Ok(ExitCode::Ok)
}

fn render(bundle: &Bundle, place: &str) -> String {
    let manifest = bundle.manifest();
    let mut text = format!(
        "{place}: {} files, {} secrets taken out, {} things could not be had\n",
        manifest.files.len(),
        bundle.redactions(),
        manifest.missing.len()
    );
    for missing in &manifest.missing {
        text += &format!("  not there: {}: {}\n", missing.name, missing.why);
    }
    for unread in &manifest.unread_secrets {
        text += &format!("  secrets not known: {unread}\n");
    }
    text
}

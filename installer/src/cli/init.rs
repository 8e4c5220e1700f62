//! `metalstrap init [DIR]`

use super::{Global, OutputFormat, print_bytes, print_json};
use crate::config_source::SECRETS_NAME;
use crate::exit::{ExitCode, ExitWith, Failure};
use anyhow::Context;
use serde::Serialize;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use sysio::files::{FileError, create_folders, create_new};

/// Schema id of the JSON output.
const INIT_SCHEMA: &str = "metalstrap.init/v1";

/// The commented cluster file. It passes `metalstrap check` as it is, with one warning; a test says so.
const CLUSTER_TEMPLATE: &str = include_str!("templates/cluster.toml");

/// The secrets file; tokens go where `@SERVER@` and `@AGENT@` stand.
const SECRETS_TEMPLATE: &str = include_str!("templates/secrets.toml");

/// Bytes of randomness in a token: more than anybody can guess.
const TOKEN_BYTES: usize = 32;

/// Arguments of `metalstrap init`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder the files are written to; made if it is not there.
    #[arg(default_value = ".")]
    pub folder: PathBuf,
}

/// The JSON output.
#[derive(Debug, Serialize)]
struct Made {
    schema: &'static str,
    files: [String; 2],
}

/// Writes a cluster file to start from and new secrets. Replaces nothing.
///
/// # Errors
/// When one of the files is there already (exit code 2; then nothing is written), or cannot be written.
pub fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let (cluster, secrets) = (args.folder.join("cluster.toml"), args.folder.join(SECRETS_NAME));
    for path in [&cluster, &secrets] {
        // A link that leads nowhere is something, too.
        if path.symlink_metadata().is_ok() {
            let error = anyhow::anyhow!("{} exists already; nothing was written", path.display());
            return Err(Failure::new(ExitCode::InvalidInput, error));
        }
    }
    create_folders(&args.folder, 0o755).map_err(failure)?;
    let secrets_text = render_secrets().context("making tokens").exit_with(ExitCode::Environment)?;
    write(&secrets, secrets_text.as_bytes(), 0o600)?;
    write(&cluster, CLUSTER_TEMPLATE.as_bytes(), 0o644)?;
    let files = [cluster.display().to_string(), secrets.display().to_string()];
    match global.output {
        OutputFormat::Json => print_json(&Made { schema: INIT_SCHEMA, files })?,
        OutputFormat::Table => {
            let [cluster, secrets] = &files;
            let text = format!(
                "{cluster}: describe your cluster here\n{secrets}: new tokens, readable by you only; keep it out of version control\n\
                 next: metalstrap check {cluster}\n"
            );
            print_bytes(text.as_bytes())?;
        }
    }
    Ok(ExitCode::Ok)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    create_new(path, bytes, mode).map_err(failure)
}

fn failure(error: FileError) -> Failure {
    let exit =
        if error.source.kind() == ErrorKind::AlreadyExists { ExitCode::InvalidInput } else { ExitCode::Io };
    Failure::new(exit, error)
}

fn render_secrets() -> io::Result<String> {
    Ok(SECRETS_TEMPLATE.replace("@SERVER@", &make_token()?).replace("@AGENT@", &make_token()?))
}

/// A token from the kernel's generator.
fn make_token() -> io::Result<String> {
    let mut bytes = [0u8; TOKEN_BYTES];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::{CLUSTER_TEMPLATE, render_secrets};

    #[test]
    fn the_files_it_writes_are_valid_together() {
        let secrets = render_secrets().unwrap();
        let loaded = profiles::load(
            "cluster.toml",
            CLUSTER_TEMPLATE.as_bytes(),
            Some(("secrets.toml", secrets.as_bytes())),
        );
        // The one thing it cannot know is the operator's key.
        let codes: Vec<_> = loaded.diagnostics.iter().map(|d| d.code).collect();
        assert_eq!(codes, [profiles::Code::NoSshKeys]);
        assert_eq!(loaded.cluster.unwrap().node_names().collect::<Vec<_>>(), ["master-1", "worker-1"]);
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        let tokens = [render_secrets().unwrap(), render_secrets().unwrap()];
        let values: std::collections::BTreeSet<&str> = tokens
            .iter()
            .flat_map(|t| t.lines())
            .filter_map(|l| l.split_once("_token = "))
            .map(|(_, v)| v)
            .collect();
        assert_eq!(values.len(), 4);
        assert!(values.iter().all(|v| v.len() == 66), "{}", values.len());
    }
}

//! `cargo xtask medium`: a copy of the ISO with the cluster file on its config volume, as an operator would put it there.

use super::iso::CONFIG_PARTITION;
use crate::failure::{CommandResult, INVALID_INPUT, failure};
use crate::host;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Bytes of a sector in a partition table.
const SECTOR: u64 = 512;

/// What goes onto the config volume.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct MediumArgs {
    /// The ISO made by `cargo xtask image`.
    pub iso: PathBuf,
    /// The cluster file.
    pub cluster: PathBuf,
    /// The image of the stick to write.
    pub out: PathBuf,
    /// The secrets file that goes beside the cluster file.
    #[arg(long)]
    pub secrets: Option<PathBuf>,
    /// Further kernel arguments for every entry of the boot menu.
    #[arg(long)]
    pub extra: Option<String>,
}

/// Writes the medium.
///
/// # Errors
/// Exit code 2 when the ISO has no config volume.
pub fn run(args: &MediumArgs) -> CommandResult {
    write(args).with_context(|| format!("writing {}", args.out.display()))
}

fn write(args: &MediumArgs) -> Result<()> {
    let table = host::output(host::command("sfdisk").arg("--json").arg(&args.iso))?;
    let offset = config_offset(&table).ok_or_else(|| {
        failure(
            INVALID_INPUT,
            format!("{} has no config volume; was it made by `cargo xtask image`?", args.iso.display()),
        )
    })?;
    host::output(
        host::command("cp").args(["--reflink=auto", "--sparse=always"]).arg(&args.iso).arg(&args.out),
    )?;
    let volume = format!("{}@@{offset}", args.out.display());
    let put = |from: &Path, name: &str| {
        let mut copy = host::command("mcopy");
        host::output(copy.args(["-o", "-i", &volume]).arg(from).arg(format!("::/metalstrap/{name}")))
            .map(|_| ())
    };
    put(&args.cluster, "cluster.toml")?;
    if let Some(secrets) = &args.secrets {
        put(secrets, "secrets.toml")?;
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&args.out, PermissionsExt::from_mode(0o600))?;
    }
    if let Some(extra) = &args.extra {
        let file = tempfile::NamedTempFile::new().context("making a temporary file")?;
        host::write(file.path(), boot_cfg(extra)?)?;
        put(file.path(), "boot.cfg")?;
    }
    Ok(())
}

/// GRUB reads this from the config volume.
fn boot_cfg(extra: &str) -> Result<String> {
    if extra.contains(['"', '$', '\\', '\n']) {
        return Err(failure(
            INVALID_INPUT,
            "kernel arguments for the boot menu cannot have \" $ \\ or line ends in them",
        ));
    }
    Ok(format!("set extra=\"{extra}\"\n"))
}

/// Where the config volume begins in the image, in bytes: the partition of its name in `sfdisk --json`.
fn config_offset(table: &str) -> Option<u64> {
    let table: serde_json::Value = serde_json::from_str(table).ok()?;
    let partitions = table.get("partitiontable")?.get("partitions")?.as_array()?;
    let named =
        |partition: &&serde_json::Value| partition.get("name").is_some_and(|name| name == CONFIG_PARTITION);
    let ours = partitions.iter().find(named)?;
    Some(ours.get("start")?.as_u64()? * SECTOR)
}

#[cfg(test)]
mod tests {
    use super::{boot_cfg, config_offset};

    #[test]
    fn config_volume_is_found_by_the_name_of_its_partition() {
        let table = r#"{"partitiontable": {"label": "gpt", "partitions": [
            {"node": "a1", "start": 64, "size": 10, "type": "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "name": "ISO9660"},
            {"node": "a3", "start": 100, "size": 10, "type": "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "name": "Appended3"},
            {"node": "a4", "start": 110, "size": 10, "type": "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "name": "Gap1"}]}}"#;
        assert_eq!(config_offset(table), Some(51_200));
        assert_eq!(config_offset(r#"{"partitiontable": {"partitions": []}}"#), None);
    }

    #[test]
    fn kernel_arguments_that_grub_would_read_as_its_own_are_refused() {
        assert_eq!(boot_cfg("metalstrap.node=a b=c").unwrap(), "set extra=\"metalstrap.node=a b=c\"\n");
        let error = boot_cfg("a\"; halt").unwrap_err();
        assert_eq!(
            error.to_string(),
            "kernel arguments for the boot menu cannot have \" $ \\ or line ends in them"
        );
    }
}

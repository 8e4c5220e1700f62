//! Medium and image.

use super::readable;
use crate::medium::Sources;
use crate::plan::Planned;
use crate::preflight::facts::Facts;
use crate::preflight::model::{Fact, NotRun};
use serde::Deserialize;
use std::path::Path;
use sysio::sysfs::SysRoot;

/// Programs an install calls, by `apply`, `verify` and `inventory`.
const TOOLS: [&str; 15] = [
    "blkid",
    "blockdev",
    "cp",
    "grub-mkimage",
    "ip",
    "lsblk",
    "mcopy",
    "mkfs.ext4",
    "mkfs.vfat",
    "mmd",
    "mren",
    "nft",
    "partx",
    "sfdisk",
    "udevadm",
];
/// Where programs are, when nobody says it.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Files on their way lie here.
const SCRATCH: &str = "/run";

pub(super) fn collect(sys: &SysRoot, facts: &mut Facts) {
    facts.running_build = read_build(sys);
    facts.tools_missing = Ok(find_missing_tools());
    facts.scratch_bytes = sysio::filesystem::read_room(Path::new(SCRATCH))
        .map(|room| room.available_bytes)
        .map_err(|error| NotRun::new(format!("{SCRATCH}: {error}")));
}

pub(super) fn collect_planned(planned: &Planned, sources: Option<&Sources>, facts: &mut Facts) {
    let from = sources.ok_or_else(|| NotRun::new("there is no live medium here"));
    facts.files = from.clone().map(|sources| sources.look_at_files(planned));
    facts.units_missing = from.clone().map(|sources| sources.missing_units(planned));
    facts.loaders_missing = from.map(|sources| sources.missing_loaders(planned));
}

fn read_build(sys: &SysRoot) -> Fact<String> {
    #[derive(Deserialize)]
    struct Image {
        build_id: String,
    }
    let path = "/usr/share/metalstrap/image.json";
    let text = readable(sys.read_raw(path), path)?;
    let image: Image =
        serde_json::from_str(&text).map_err(|error| NotRun::new(format!("reading {path}: {error}")))?;
    Ok(image.build_id)
}

fn find_missing_tools() -> Vec<String> {
    let path = std::env::var("PATH").unwrap_or_else(|_| PATH_DEFAULT.to_owned());
    let is_there = |tool: &str| path.split(':').any(|folder| Path::new(folder).join(tool).is_file());
    TOOLS.iter().filter(|tool| !is_there(tool)).map(|tool| (*tool).to_owned()).collect()
}

//! Medium and image.

use super::readable;
use crate::medium::Sources;
use crate::plan::Planned;
use crate::preflight::facts::Facts;
use crate::preflight::model::{Fact, NotRun};
use serde::Deserialize;
use std::path::Path;
use sysio::sysfs::SysRoot;

/// Programs without which an install, or handing over to one, does not come to its end.
const TOOLS: [&str; 23] = [
    "blkid",
    "chattr",
    "cp",
    "debugfs",
    "dumpe2fs",
    "e2fsck",
    "grub-mkimage",
    "ip",
    "kexec",
    "lsblk",
    "mcopy",
    "mdel",
    "mdir",
    "mkfs.ext4",
    "mkfs.vfat",
    "mmd",
    "mren",
    "mtype",
    "nft",
    "partx",
    "sfdisk",
    "udevadm",
    "wipefs",
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

#[cfg(test)]
mod tests {
    use super::TOOLS;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// What an install does without: facts for the inventory, and programs that the running system itself is made of.
    const OPTIONAL: [&str; 5] = ["lldpcli", "networkctl", "smartctl", "systemctl", "systemd-detect-virt"];

    /// Adds the programs that the sources below a folder call, tests left out.
    fn collect_programs(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect_programs(&path, found);
                continue;
            }
            if path.to_string_lossy().contains("tests") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let product = text.split("#[cfg(test)]").next().unwrap();
            for call in ["Cmd::new(\"", "tool(\""] {
                found.extend(
                    product.split(call).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()),
                );
            }
        }
    }

    #[test]
    fn every_program_that_an_install_calls_is_looked_for() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut called = BTreeSet::new();
        for folder in ["src/apply", "src/verify", "src/inventory", "src/install", "src/handover", "sysio/src"]
        {
            collect_programs(&root.join(folder), &mut called);
        }
        for optional in OPTIONAL {
            assert!(called.remove(optional), "{optional} is called no more");
        }
        assert_eq!(called, TOOLS.map(str::to_owned).into());
    }
}

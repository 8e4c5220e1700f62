//! The scenarios: whole machines from power-on to the end that matters, one at a time.
//!
//! A new scenario is one function and one line in [`SCENARIOS`].

mod bonded;
mod cases;
mod disk_contract;
mod first_packet;
mod handover;
mod install;
mod low_memory;
mod network_contract;
mod operate;
mod pxe;
mod refusals;
mod reinstall;
mod self_test;
mod stopped;

pub use install::{Example, Inspect, IsoBoot, install_from_iso};

use crate::accel::Accel;
use crate::machine::Echo;
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What an image build has made.
#[derive(Clone, Debug)]
pub struct Image {
    /// The hybrid ISO.
    pub iso: PathBuf,
    /// The folder `live/` with kernel, initrd and root image.
    pub live: PathBuf,
    /// The PXE folder.
    pub pxe: PathBuf,
    /// Whether its k3s is the test double.
    pub double: bool,
}

/// Everything a scenario may use.
#[derive(Clone, Debug)]
pub struct Context {
    /// The image under test.
    pub image: Image,
    /// Text of `profiles/examples/single.toml`.
    pub single: String,
    /// Text of `profiles/examples/ha.toml`.
    pub ha: String,
    /// Text of `profiles/examples/bonded.toml`.
    pub bonded: String,
    /// `target/vm`: each scenario has its folder there.
    pub work: PathBuf,
    /// Program and argument that serve one HTTP request for a guest (see [`crate::httpd`]).
    pub web_server: Vec<PathBuf>,
    /// Accelerator.
    pub accel: Accel,
    /// Shows console lines while waiting.
    pub echo: Echo,
}

/// Measured values by name; names end with their unit (`_secs`, `_kib`).
pub type Figures = BTreeMap<String, f64>;

/// One scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// What it shows.
    pub shows: &'static str,
    /// Scenario whose finished disk it starts from.
    pub after: Option<&'static str>,
    /// Takes many minutes: runs with `--all`, or when it is named.
    pub long: bool,
    /// Runs it.
    pub run: fn(&Context) -> Result<Figures>,
}

/// All scenarios in the order they run.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "harness",
        shows: "the harness itself: it sees a marker, a write, a bad sign, silence and an end",
        after: None,
        long: false,
        run: self_test::run,
    },
    Scenario {
        name: "iso-bios",
        shows: "ISO on a CD, BIOS: install onto an empty disk, reboot, healthy",
        after: None,
        long: false,
        run: install::iso_bios,
    },
    Scenario {
        name: "handover",
        shows: "the finished machine booted from the medium again: handed to its disk, nothing written; what operators do, over SSH; a power cut",
        after: Some("iso-bios"),
        long: false,
        run: handover::run,
    },
    Scenario {
        name: "first-packet",
        shows: "the finished machine probed on its cable from power-on: no forbidden port ever answers",
        after: Some("iso-bios"),
        long: false,
        run: first_packet::run,
    },
    Scenario {
        name: "iso-uefi",
        shows: "ISO on a USB stick with the cluster file on it, UEFI: first of three masters, healthy, holds the API VIP",
        after: None,
        long: false,
        run: install::iso_uefi,
    },
    Scenario {
        name: "reinstall",
        shows: "an installed machine installed again by the id of its install, once, and with the data of its data disk",
        after: Some("iso-uefi"),
        long: true,
        run: reinstall::run,
    },
    Scenario {
        name: "pxe-bios",
        shows: "PXE over HTTP with 1.25 GiB, BIOS: install, reboot, healthy",
        after: None,
        long: false,
        run: pxe::run,
    },
    Scenario {
        name: "iso-low-memory",
        shows: "ISO with 768 MiB: a proxy installs",
        after: None,
        long: false,
        run: low_memory::run,
    },
    Scenario {
        name: "disk-contract",
        shows: "twenty disks of every kind: each refused or taken as it should be, no write to any of them",
        after: None,
        long: true,
        run: disk_contract::run,
    },
    Scenario {
        name: "stopped",
        shows: "the stick as the only disk: refused, nothing written; the console's menu, a support bundle on the stick, off",
        after: None,
        long: false,
        run: stopped::run,
    },
    Scenario {
        name: "network-contract",
        shows: "nine cards and a neighbour with the wrong addresses: each refused or told as it should be, no write to any disk",
        after: None,
        long: true,
        run: network_contract::run,
    },
    Scenario {
        name: "tagged-bond",
        shows: "behind LACP and a tagged VLAN: root image and cluster file over the bond, install, healthy on it, a cable pulled",
        after: None,
        long: true,
        run: bonded::run,
    },
    Scenario {
        name: "refusals",
        shows: "bad input: its code, its exit code, and no write to any disk",
        after: None,
        long: false,
        run: refusals::run,
    },
];

/// The scenario of that name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use super::{SCENARIOS, find};

    #[test]
    fn each_name_is_unique_and_each_predecessor_runs_before() {
        for (index, scenario) in SCENARIOS.iter().enumerate() {
            assert_eq!(
                SCENARIOS.iter().filter(|other| other.name == scenario.name).count(),
                1,
                "{}",
                scenario.name
            );
            if let Some(after) = scenario.after {
                assert!(SCENARIOS[..index].iter().any(|other| other.name == after), "{}", scenario.name);
            }
        }
        assert!(find("iso-bios").is_some() && find("none").is_none());
    }
}

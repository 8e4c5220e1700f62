//! What this machine is made of: processors, memory, firmware, disks with what is on them, Ethernet ports.
//!
//! The parsers take text and are pure; [`collect`] does the looking. Nothing here writes to a disk, mounts included.

mod blkid;
mod collect;
mod contents;
mod firmware;
mod leftover;
mod lldp;
mod lldp_frames;
mod lsblk;
mod model;
mod nics;
mod proc;
mod show;
mod smart;
mod sniff;
mod tables;
mod udev;
mod wipefs;

pub use blkid::parse_blkid;
pub use collect::{CollectError, collect, read_inventory};
pub use leftover::{Surroundings, find_unfinished};
pub use lldp::parse_neighbours;
pub use lldp_frames::parse_lldp_frames;
pub use lsblk::{LSBLK_COLUMNS, Volume, parse_disks, parse_volumes};
pub use model::{
    Cpu, Disk, Dmi, Firmware, Health, HealthStatus, INVENTORY_SCHEMA, InstallSummary, Inventory,
    InventoryError, Neighbour, Nic, Signature, Tpm, parse_inventory,
};
pub(crate) use show::render_contents;
pub use show::{escape_json, render_inventory, render_size, sanitise};
pub use smart::parse_smart;
pub use sniff::sniff_signatures;
pub use tables::{Ends, TableIdentity, identify_tables, inspect_tables};
pub use udev::{UdevRecord, parse_udev};
pub use wipefs::parse_wipefs;

/// Kind of a [`Signature`] for a disk or partition that could not be looked at: it counts as data.
pub const UNREADABLE: &str = "unreadable";

/// Label of the ISO 9660 file system of our live medium.
pub const ISO_LABEL: &str = "METALSTRAP_ISO";

/// Labels of volumes that carry the configuration, in the order they are asked.
pub const CONFIG_LABELS: [&str; 2] = ["METALSTRAP", "CIDATA"];

/// Where the live system has its medium mounted.
pub const MEDIUM_MOUNT: &str = "/run/metalstrap/medium";

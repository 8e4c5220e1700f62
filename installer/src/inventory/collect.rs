//! Looking at the machine. Everything that cannot be looked at is left out or marked, except the list of disks itself.

use super::contents::look_at;
use super::firmware::{read_dmi, read_firmware, read_secure_boot};
use super::lsblk::{LSBLK_COLUMNS, parse_lsblk};
use super::model::{Disk, INVENTORY_SCHEMA, Inventory, InventoryError, parse_inventory};
use super::nics::read_nics;
use super::proc::{parse_cpuinfo, parse_meminfo};
use super::udev::parse_udev;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use sysio::command::{Cmd, CommandError};
use sysio::files::{FileError, read_text};
use sysio::sysfs::SysRoot;

/// Limit for the small tools; the machine may be slow, they are not.
const TOOL_LIMIT: Duration = Duration::from_secs(30);

/// A serialised inventory of a large machine has some 100 KiB.
const INVENTORY_MAX_BYTES: u64 = 4 << 20;

/// Why there is no inventory.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The list of disks could not be had.
    #[error("listing the disks")]
    Command(#[from] CommandError),
    /// The list of disks could not be understood.
    #[error("reading the list of disks")]
    Form(#[source] serde_json::Error),
    /// The kernel did not say how much memory there is.
    #[error("reading MemTotal from /proc/meminfo")]
    Memory,
    /// A saved inventory could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A saved inventory could not be understood.
    #[error("reading {path}")]
    Saved {
        /// The file.
        path: String,
        /// Why.
        source: InventoryError,
    },
}

/// Looks at this machine. Needs root to look into disks; without it every disk counts as holding data. Writes nothing.
///
/// # Errors
/// When disks cannot be listed or memory is not told.
pub fn collect(sys: &SysRoot) -> Result<Inventory, CollectError> {
    let permanent = sysio::links::read_permanent_addresses().unwrap_or_else(|error| {
        tracing::warn!(error = %error, "permanent addresses cannot be read, taking the current ones");
        BTreeMap::new()
    });
    Ok(Inventory {
        schema: INVENTORY_SCHEMA.to_owned(),
        cpu: parse_cpuinfo(&sys.read_raw("/proc/cpuinfo").unwrap_or_default()),
        memory_mib: parse_meminfo(&sys.read_raw("/proc/meminfo").unwrap_or_default())
            .ok_or(CollectError::Memory)?,
        firmware: read_firmware(sys),
        secure_boot: read_secure_boot(sys),
        dmi: read_dmi(sys),
        virtualisation: detect_virtualisation(),
        disks: collect_disks(sys)?,
        nics: read_nics(sys, &permanent),
    })
}

/// Reads an inventory that was saved with `metalstrap inventory --output json`.
///
/// # Errors
/// When the file cannot be read or understood.
pub fn read_inventory(path: &Path) -> Result<Inventory, CollectError> {
    let text = read_text(path, INVENTORY_MAX_BYTES)?;
    parse_inventory(&text).map_err(|source| CollectError::Saved { path: path.display().to_string(), source })
}

fn collect_disks(sys: &SysRoot) -> Result<Vec<Disk>, CollectError> {
    let listed = Cmd::new("lsblk")
        .args(["--json", "--bytes", "--output", LSBLK_COLUMNS])
        .time_limit(TOOL_LIMIT)
        .run()?;
    let devices = parse_lsblk(&listed.text()).map_err(CollectError::Form)?;
    let mut disks: Vec<Disk> = devices
        .iter()
        .map(|device| {
            let mut disk = device.to_disk();
            let record = sys.read_raw(format!("/run/udev/data/b{}", device.number)).unwrap_or_default();
            let udev = parse_udev(&record);
            disk.by_id = udev.by_id;
            disk.by_path = udev.by_path;
            disk.serial = disk.serial.take().or(udev.serial);
            look_at(device, &mut disk);
            disk
        })
        .collect();
    disks.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(disks)
}

/// `systemd-detect-virt` prints `none` and fails on bare metal.
fn detect_virtualisation() -> Option<String> {
    let output = Cmd::new("systemd-detect-virt").arg("--vm").time_limit(TOOL_LIMIT).run_any_status();
    match output {
        Ok(output) => Some(output.text().trim().to_owned()).filter(|kind| !kind.is_empty() && kind != "none"),
        Err(error) => {
            tracing::debug!(error = %error, "cannot tell whether this is a virtual machine");
            None
        }
    }
}

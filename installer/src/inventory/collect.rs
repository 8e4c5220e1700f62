//! Looking at the machine. Everything that cannot be looked at is left out or marked, except the list of disks itself.

use super::contents::look_at;
use super::firmware::{read_dmi, read_firmware, read_secure_boot, read_tpm};
use super::lldp::parse_neighbours;
use super::lldp_frames::parse_lldp_frames;
use super::lsblk::{Device, LSBLK_COLUMNS, parse_lsblk};
use super::model::{
    Disk, Health, HealthStatus, INVENTORY_SCHEMA, Inventory, InventoryError, Neighbour, Nic, parse_inventory,
};
use super::nics::read_nics;
use super::proc::{parse_cpuinfo, parse_meminfo};
use super::smart::{parse_emmc, parse_smart, unknown};
use super::udev::parse_udev;
use profiles::node::DiskKind;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use sysio::block::is_claimed;
use sysio::command::{Cmd, CommandError};
use sysio::files::{FileError, read_text};
use sysio::sysfs::SysRoot;

/// Limit for the small tools; the machine may be slow, they are not.
const TOOL_LIMIT: Duration = Duration::from_secs(30);

/// Limit for one `smartctl`; a disk that does not answer for so long is not well.
const SMART_LIMIT: Duration = Duration::from_secs(20);

/// Disks that are looked at at the same time.
const LOOKS_AT_A_TIME: usize = 8;

/// Where lldpd can be asked; without it nobody is.
const LLDPD_SOCKET: &str = "/run/lldpd.socket";

/// Somebody has claimed the disk, and neither the mounts nor the tree of devices say who.
const HELD_BY_OTHERS: &str =
    "it is held by something the kernel does not name, such as a ZFS pool or a container";

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
        tpm: read_tpm(sys),
        dmi: read_dmi(sys),
        virtualisation: detect_virtualisation(),
        disks: collect_disks(sys)?,
        nics: collect_nics(sys, &permanent),
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
    let loops = read_loops(sys);
    // A look at a disk waits for the disk: several at a time.
    let mut disks = Vec::new();
    for group in devices.chunks(LOOKS_AT_A_TIME) {
        std::thread::scope(|scope| {
            let looks: Vec<_> =
                group.iter().map(|d| (d, scope.spawn(|| collect_disk(sys, d, &loops)))).collect();
            // A look that came to grief leaves the disk as one that holds something.
            disks.extend(looks.into_iter().map(|(d, look)| look.join().unwrap_or_else(|_| d.to_disk())));
        });
    }
    disks.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(disks)
}

fn collect_disk(sys: &SysRoot, device: &Device, loops: &BTreeMap<String, String>) -> Disk {
    let mut disk = device.to_disk();
    let record = sys.read_raw(format!("/run/udev/data/b{}", device.number)).unwrap_or_default();
    let udev = parse_udev(&record);
    disk.sequence = sys.read(format!("/sys/block/{}/diskseq", device.kname)).and_then(|n| n.parse().ok());
    disk.by_id = udev.by_id;
    disk.by_path = udev.by_path;
    disk.serial = disk.serial.take().or(udev.serial);
    let card = sys.read(format!("/sys/block/{}/device/type", device.kname));
    disk.removable |= card.as_deref() == Some("SD");
    let on_it = device.with_descendants().into_iter().filter_map(|part| loops.get(&part.path));
    disk.holders.extend(on_it.map(|name| format!("/dev/{name} (loop) is built on it")));
    if disk.boot_medium || device.kind == "rom" {
        disk.health.status = HealthStatus::None;
        return disk;
    }
    if disk.holders.is_empty() && is_claimed(Path::new(&device.path)).unwrap_or(false) {
        disk.holders.push(HELD_BY_OTHERS.to_owned());
    }
    disk.health = read_health(sys, device, &disk);
    look_at(device, &mut disk);
    disk
}

/// Loop devices by the file or device they are built on.
fn read_loops(sys: &SysRoot) -> BTreeMap<String, String> {
    let names = sys.list("/sys/block").into_iter().filter(|name| name.starts_with("loop"));
    names
        .filter_map(|name| Some((sys.read(format!("/sys/block/{name}/loop/backing_file"))?, name)))
        .filter(|(backing, _)| backing.starts_with("/dev/"))
        .collect()
}

fn read_health(sys: &SysRoot, device: &Device, disk: &Disk) -> Health {
    match disk.kind() {
        DiskKind::Virtual => Health { status: HealthStatus::None, detail: None },
        DiskKind::Emmc => {
            parse_emmc(sys.read(format!("/sys/block/{}/device/pre_eol_info", device.kname)).as_deref())
        }
        DiskKind::Ssd | DiskKind::Hdd | DiskKind::Nvme => {
            let cmd = Cmd::new("smartctl").args(["--json", "--health", &device.path]).time_limit(SMART_LIMIT);
            match cmd.run_any_status() {
                Ok(output) => parse_smart(&output.text()),
                Err(CommandError::Start { .. }) => unknown("smartctl is not there"),
                Err(_) => unknown("smartctl did not answer in time"),
            }
        }
    }
}

/// The ports, with their neighbours where lldpd runs.
fn collect_nics(sys: &SysRoot, permanent: &BTreeMap<String, [u8; 6]>) -> Vec<Nic> {
    let mut nics = read_nics(sys, permanent);
    for nic in nics.iter_mut().filter(|nic| !nic.is_virtual) {
        nic.neighbour = read_neighbour(sys, &nic.name);
    }
    if !sys.exists(LLDPD_SOCKET) {
        return nics;
    }
    let cmd = Cmd::new("lldpcli").args(["-f", "json0", "show", "neighbors"]).time_limit(TOOL_LIMIT);
    let mut neighbours = cmd.run().map(|output| parse_neighbours(&output.text())).unwrap_or_default();
    for nic in &mut nics {
        nic.neighbour = neighbours.remove(&nic.name).or(nic.neighbour.take());
    }
    nics
}

/// The neighbour that networkd has heard of on an interface.
fn read_neighbour(sys: &SysRoot, name: &str) -> Option<Neighbour> {
    let index = sys.read_number(format!("/sys/class/net/{name}/ifindex"))?;
    parse_lldp_frames(&sys.read_bytes(format!("/run/systemd/netif/lldp/{index}"))?)
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

#[cfg(test)]
mod tests {
    use super::{HealthStatus, collect_disk, read_loops};
    use crate::inventory::lsblk::parse_lsblk;
    use std::collections::BTreeMap;
    use std::fs;
    use sysio::sysfs::SysRoot;

    /// A machine with one device that does not exist, so that only files of the fixture tell of it.
    fn device(kname: &str) -> super::Device {
        let text = format!(
            r#"{{"blockdevices":[{{"kname":"{kname}","path":"/dev/none-{kname}","maj:min":"179:0","type":"disk","size":32000000000,
                "log-sec":512,"phy-sec":512,"rota":false,"rm":false,"ro":false}}]}}"#
        );
        parse_lsblk(&text).unwrap().remove(0)
    }

    #[test]
    fn a_loop_device_on_a_partition_holds_the_disk_and_one_on_a_file_does_not() {
        let dir = tempfile::tempdir().unwrap();
        for (name, backing) in [("loop0", "/dev/sdb1"), ("loop1", "/root/image"), ("loop2", "")] {
            let folder = dir.path().join("sys/block").join(name).join("loop");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("backing_file"), format!("{backing}\n")).unwrap();
        }
        let loops = read_loops(&SysRoot::new(dir.path()));
        assert_eq!(loops, BTreeMap::from([("/dev/sdb1".to_owned(), "loop0".to_owned())]));
        let held = BTreeMap::from([("/dev/none-sda".to_owned(), "loop0".to_owned())]);
        let disk = collect_disk(&SysRoot::new(dir.path()), &device("sda"), &held);
        assert_eq!(disk.holders, ["/dev/loop0 (loop) is built on it"]);
    }

    #[test]
    fn an_emmc_is_asked_through_sysfs_and_a_card_is_removable() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("sys/block/mmcblk0/device");
        fs::create_dir_all(&folder).unwrap();
        let look = || collect_disk(&SysRoot::new(dir.path()), &device("mmcblk0"), &BTreeMap::new());
        fs::write(folder.join("pre_eol_info"), "0x03\n").unwrap();
        fs::write(folder.join("type"), "MMC\n").unwrap();
        assert_eq!((look().health.status, look().removable), (HealthStatus::Failing, false));
        fs::write(folder.join("type"), "SD\n").unwrap();
        assert!(look().removable && !look().empty);
    }
}

//! What was measured on the machine for the checks, beyond the inventory. Filled by [`collect`](super::collect), or by hand in
//! tests; whatever nobody measured says so.

use super::model::{Fact, NotRun};
use crate::medium::FileLook;
use crate::probe::LegFindings;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Share of processor time that a hypervisor gave to others since boot, in percent.
    pub steal_percent: Fact<f64>,
    /// Memory controllers that report errors; empty without a driver.
    pub memory_controllers: Fact<Vec<MemoryController>>,
    /// Width of the UEFI firmware in bits; `None` under BIOS.
    pub efi_bits: Fact<Option<u32>>,
    /// How far the kernel is locked down (`none`, `integrity`, `confidentiality`); `None` when it cannot be.
    pub lockdown: Fact<Option<String>>,
    /// What the kernel said that somebody should read.
    pub messages: Fact<KernelMessages>,
    /// Temperatures of the machine.
    pub sensors: Fact<Vec<Sensor>>,
    /// Random bits the kernel has, 256 when it is ready.
    pub random_bits: Fact<u32>,
    /// The chosen disk as it is now.
    pub chosen_disk: Fact<ChosenDisk>,
    /// Wear and errors of the chosen disk.
    pub wear: Fact<Wear>,
    /// What the segment of each leg said when it was asked.
    pub legs: Fact<Vec<LegFindings>>,
    /// What sysfs and netlink say of each port, by name.
    pub ports: Fact<BTreeMap<String, PortFacts>>,
    /// Network controllers on a bus that no driver has taken: place and ids.
    pub driverless: Fact<Vec<String>>,
    /// IPv4 routes of the live system.
    pub routes: Fact<Vec<Route>>,
    /// Time of day.
    pub now: Fact<Timestamp>,
    /// When the running kernel was built: the clock cannot be earlier.
    pub kernel_built: Fact<Timestamp>,
    /// The battery-backed clock; `None` when there is none.
    pub rtc: Fact<Option<Timestamp>>,
    /// Bound of the error of the clock, as the kernel keeps it.
    pub clock_error: Fact<Duration>,
    /// Answers of the time servers of the cluster file.
    pub ntp: Fact<Vec<NtpAnswer>>,
    /// Whether the image knows the time zone of the cluster.
    pub time_zone_known: Fact<bool>,
    /// What answers at the address through which the cluster is joined.
    pub api: Fact<Api>,
    /// The files that an install reads, with what is there.
    pub files: Fact<Vec<FileLook>>,
    /// Build of the running image.
    pub running_build: Fact<String>,
    /// Units that the node enables and the image lacks.
    pub units_missing: Fact<Vec<String>>,
    /// Files of the boot loaders that the image lacks.
    pub loaders_missing: Fact<Vec<String>>,
    /// Programs that an install calls and the image lacks.
    pub tools_missing: Fact<Vec<String>>,
    /// Free bytes in memory for files on their way.
    pub scratch_bytes: Fact<u64>,
    /// Release of the running kernel.
    pub kernel: Fact<String>,
    /// Those of the modules asked for that the kernel neither has built in, nor loaded, nor beside it.
    pub modules_missing: Fact<BTreeSet<String>>,
    /// File systems the kernel can mount.
    pub file_systems: Fact<BTreeSet<String>>,
    /// Controllers of cgroup v2 at its root; `None` when it is not mounted.
    pub cgroups: Fact<Option<BTreeSet<String>>>,
    /// Features that containers need and the kernel lacks.
    pub features_missing: Fact<Vec<String>>,
    /// Kernel parameters of the node that this kernel does not have.
    pub sysctls_missing: Fact<BTreeSet<String>>,
    /// Bits of `/proc/sys/kernel/tainted`.
    pub taint: Fact<u64>,
    /// What the kernel said to the firewall of the node, loaded where nobody else is.
    pub firewall: Fact<Result<(), String>>,
}

impl Facts {
    /// Nothing was measured, for this reason.
    pub fn unmeasured(why: &str) -> Self {
        fn not<T>(why: &str) -> Fact<T> {
            Err(NotRun::new(why))
        }
        Self {
            steal_percent: not(why),
            memory_controllers: not(why),
            efi_bits: not(why),
            lockdown: not(why),
            messages: not(why),
            sensors: not(why),
            random_bits: not(why),
            chosen_disk: not(why),
            wear: not(why),
            legs: not(why),
            ports: not(why),
            driverless: not(why),
            routes: not(why),
            now: not(why),
            kernel_built: not(why),
            rtc: not(why),
            clock_error: not(why),
            ntp: not(why),
            time_zone_known: not(why),
            api: not(why),
            files: not(why),
            running_build: not(why),
            units_missing: not(why),
            loaders_missing: not(why),
            tools_missing: not(why),
            scratch_bytes: not(why),
            kernel: not(why),
            modules_missing: not(why),
            file_systems: not(why),
            cgroups: not(why),
            features_missing: not(why),
            sysctls_missing: not(why),
            taint: not(why),
            firewall: not(why),
        }
    }
}

/// One memory controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryController {
    /// Name, such as `mc0`.
    pub name: String,
    /// Errors that were corrected since boot.
    pub corrected: u64,
    /// Errors that were not.
    pub uncorrected: u64,
}

/// What the kernel said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelMessages {
    /// Lines that speak of broken hardware.
    pub hardware_errors: Vec<String>,
    /// Firmware files that drivers asked for and did not get.
    pub missing_firmware: Vec<String>,
}

/// One temperature.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensor {
    /// Chip and label.
    pub name: String,
    /// Degrees Celsius.
    pub celsius: f64,
    /// From here on the hardware protects itself, where it tells.
    pub critical: Option<f64>,
}

/// The chosen disk as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChosenDisk {
    /// Size.
    pub size_bytes: u64,
    /// Logical sector size.
    pub sector_bytes: u64,
    /// Somebody has claimed it or a part of it.
    pub claimed: bool,
}

/// What a disk tells of its age. `None`: it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wear {
    /// Share of its rated life that is used, in percent; may go beyond 100.
    pub used_percent: Option<u64>,
    /// Spare blocks that are left, in percent.
    pub spare_percent: Option<u64>,
    /// Below this the maker calls the spare low.
    pub spare_threshold_percent: Option<u64>,
    /// Errors of the medium (NVMe), or sectors reallocated, pending and uncorrectable (ATA).
    pub media_errors: Option<u64>,
    /// Degrees Celsius.
    pub celsius: Option<i64>,
}

/// What sysfs and netlink say of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortFacts {
    /// `full` or `half`, where it tells.
    pub duplex: Option<String>,
    /// Largest MTU the driver takes.
    pub mtu_max: Option<u32>,
}

/// One route of the live system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination.
    pub to: ipnet::Ipv4Net,
    /// Interface.
    pub interface: String,
}

/// What one time server said.
#[derive(Clone, Debug, PartialEq)]
pub struct NtpAnswer {
    /// Name or address.
    pub server: String,
    /// How far the local clock is behind it, in seconds, or why there is no answer.
    pub offset_secs: Result<f64, String>,
}

/// What answers at the address of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Api {
    /// Address and port.
    pub address: String,
    /// Whether k3s' supervisor said `pong`, or why not.
    pub ping: Option<Result<(), String>>,
    /// The CA it shows, or why there is none.
    pub ca: Option<Result<ShownCa, String>>,
}

/// What a server shows as the CA of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCa {
    /// Hashes that a token may have for it: of the whole answer when that is one certificate, else of each certificate.
    pub hashes: Vec<String>,
    /// Whether the server's own certificate is signed by it, or why not.
    pub signs_server: Result<(), String>,
}

//! Processors, memory controllers, firmware and sensors, from `/proc` and `/sys`.

use super::readable;
use crate::inventory::sanitise;
use crate::preflight::facts::{Facts, MemoryController, Sensor};
use crate::preflight::model::{Fact, NotRun};
use sysio::sysfs::SysRoot;

/// Temperatures outside are those of sensors that are not connected.
const CELSIUS_SANE: std::ops::RangeInclusive<f64> = 5.0..=125.0;
/// Folder of the memory controllers.
const EDAC_FOLDER: &str = "/sys/devices/system/edac/mc";
/// Folder of the sensors.
const HWMON_FOLDER: &str = "/sys/class/hwmon";

pub(super) fn collect(sys: &SysRoot, facts: &mut Facts) {
    facts.steal_percent = read_steal(sys);
    facts.memory_controllers = Ok(read_memory_controllers(sys));
    let width = sys.read_number("/sys/firmware/efi/fw_platform_size");
    facts.efi_bits = Ok(width.and_then(|bits| u32::try_from(bits).ok()));
    facts.lockdown = Ok(sys.read("/sys/kernel/security/lockdown").and_then(|text| parse_lockdown(&text)));
    facts.sensors = Ok(read_sensors(sys));
    let random = "/proc/sys/kernel/random/entropy_avail";
    facts.random_bits = readable(sys.read_number(random).and_then(|bits| u32::try_from(bits).ok()), random);
}

/// The eighth number of the first line is what a hypervisor gave to others.
fn read_steal(sys: &SysRoot) -> Fact<f64> {
    let text = readable(sys.read_raw("/proc/stat"), "/proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "));
    let ticks: Vec<u64> =
        line.unwrap_or_default().split_whitespace().filter_map(|n| n.parse().ok()).collect();
    // The ninth and tenth, time of guests, are part of the first two.
    let (all, steal) = (ticks.iter().take(8).sum::<u64>(), ticks.get(7).copied());
    match steal {
        Some(steal) if all > 0 => Ok(steal as f64 * 100.0 / all as f64),
        _ => Err(NotRun::new("/proc/stat does not tell")),
    }
}

fn read_memory_controllers(sys: &SysRoot) -> Vec<MemoryController> {
    let names = sys.list(EDAC_FOLDER).into_iter().filter(|name| name.starts_with("mc"));
    let count =
        |name: &str, file: &str| u64::try_from(sys.read_number(format!("{EDAC_FOLDER}/{name}/{file}"))?).ok();
    names
        .filter_map(|name| {
            let (corrected, uncorrected) = (count(&name, "ce_count")?, count(&name, "ue_count")?);
            Some(MemoryController { name, corrected, uncorrected })
        })
        .collect()
}

/// `none [integrity] confidentiality`: the one in brackets.
fn parse_lockdown(text: &str) -> Option<String> {
    text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']').map(str::to_owned))
}

fn read_sensors(sys: &SysRoot) -> Vec<Sensor> {
    let mut sensors = Vec::new();
    for chip in sys.list(HWMON_FOLDER) {
        let folder = format!("{HWMON_FOLDER}/{chip}");
        let chip_name = sys.read(format!("{folder}/name")).unwrap_or(chip);
        for file in sys.list(&folder) {
            let Some(stem) = file.strip_suffix("_input").filter(|stem| stem.starts_with("temp")) else {
                continue;
            };
            let celsius = |what: &str| {
                let milli = sys.read_number(format!("{folder}/{stem}_{what}"))?;
                Some(milli as f64 / 1000.0).filter(|celsius| CELSIUS_SANE.contains(celsius))
            };
            let Some(now) = celsius("input") else { continue };
            let label = sys.read(format!("{folder}/{stem}_label")).unwrap_or_else(|| stem.to_owned());
            let name = sanitise(&format!("{chip_name} {label}"));
            sensors.push(Sensor { name, celsius: now, critical: celsius("crit") });
        }
    }
    sensors
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, SysRoot) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let sys = SysRoot::new(dir.path());
        (dir, sys)
    }

    #[test]
    fn reads_a_server() {
        let (_dir, sys) = machine(&[
            ("proc/stat", "cpu  60 0 10 10 0 0 0 20 7 7\ncpu0 1 2\n"),
            ("sys/devices/system/edac/mc/mc0/ce_count", "3\n"),
            ("sys/devices/system/edac/mc/mc0/ue_count", "0\n"),
            ("sys/devices/system/edac/mc/power/control", "auto\n"),
            ("sys/firmware/efi/fw_platform_size", "64\n"),
            ("sys/kernel/security/lockdown", "none [integrity] confidentiality\n"),
            ("sys/class/hwmon/hwmon0/name", "coretemp\n"),
            ("sys/class/hwmon/hwmon0/temp1_input", "41000\n"),
            ("sys/class/hwmon/hwmon0/temp1_crit", "100000\n"),
            ("sys/class/hwmon/hwmon0/temp1_label", "Package id 0\n"),
            ("sys/class/hwmon/hwmon0/temp2_input", "-128000\n"),
            ("sys/class/hwmon/hwmon0/temp3_input", "30000\n"),
            ("sys/class/hwmon/hwmon0/temp3_crit", "0\n"),
            ("sys/class/hwmon/hwmon0/fan1_input", "900\n"),
            ("proc/sys/kernel/random/entropy_avail", "256\n"),
        ]);
        let mut facts = Facts::unmeasured("x");
        collect(&sys, &mut facts);
        assert_eq!(facts.steal_percent, Ok(20.0));
        let mc0 = MemoryController { name: "mc0".to_owned(), corrected: 3, uncorrected: 0 };
        assert_eq!(facts.memory_controllers, Ok(vec![mc0]));
        assert_eq!((facts.efi_bits, facts.lockdown), (Ok(Some(64)), Ok(Some("integrity".to_owned()))));
        let sensors = facts.sensors.unwrap();
        let shown: Vec<_> = sensors.iter().map(|s| (s.name.as_str(), s.celsius, s.critical)).collect();
        assert_eq!(shown, [("coretemp Package id 0", 41.0, Some(100.0)), ("coretemp temp3", 30.0, None)]);
        assert_eq!(facts.random_bits, Ok(256));
    }

    #[test]
    fn says_what_an_empty_machine_does_not_tell() {
        let (_dir, sys) = machine(&[]);
        let mut facts = Facts::unmeasured("x");
        collect(&sys, &mut facts);
        assert_eq!(facts.steal_percent, Err(NotRun::new("/proc/stat cannot be read")));
        let random = "/proc/sys/kernel/random/entropy_avail cannot be read";
        assert_eq!(facts.random_bits, Err(NotRun::new(random)));
        assert_eq!((facts.efi_bits, facts.lockdown), (Ok(None), Ok(None)));
    }
}

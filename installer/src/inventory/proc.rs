//! `/proc/cpuinfo` and `/proc/meminfo`.

use super::model::Cpu;
use super::show::sanitise;
use std::collections::BTreeSet;

/// Features that decide about something: virtual machines, speed of hashing, 64-bit levels.
const FLAGS: [&str; 10] =
    ["aes", "avx2", "avx512f", "hypervisor", "lm", "pclmulqdq", "sha_ni", "sse4_2", "svm", "vmx"];

/// What each level of the x86-64 psABI adds, by the kernel's names.
const LEVELS: [(&str, &[&str]); 4] = [
    ("x86-64-v1", &["lm", "cmov", "cx8", "fpu", "fxsr", "mmx", "sse", "sse2"]),
    ("x86-64-v2", &["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"]),
    ("x86-64-v3", &["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"]),
    ("x86-64-v4", &["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]),
];

/// Reads `/proc/cpuinfo` of an x86 machine.
pub(super) fn parse_cpuinfo(text: &str) -> Cpu {
    let values = |key: &'static str| {
        text.lines().filter_map(move |line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim())
        })
    };
    let flags: BTreeSet<&str> =
        values("flags").next().map(|all| all.split(' ').collect()).unwrap_or_default();
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let sockets: BTreeSet<&str> = values("physical id").collect();
    let cores: BTreeSet<(&str, &str)> = values("physical id").zip(values("core id")).collect();
    Cpu {
        model: sanitise(values("model name").next().unwrap_or("unknown")),
        vendor: values("vendor_id").next().map(sanitise),
        sockets: (!sockets.is_empty()).then(|| count(sockets.len())),
        physical_cores: (!cores.is_empty()).then(|| count(cores.len())),
        level: level_of(&flags).map(str::to_owned),
        cores: count(values("processor").count()),
        flags: FLAGS.iter().filter(|flag| flags.contains(*flag)).map(|flag| (*flag).to_owned()).collect(),
    }
}

/// The highest level whose features, and those of all below it, are there.
fn level_of(flags: &BTreeSet<&str>) -> Option<&'static str> {
    let reached = LEVELS.iter().take_while(|(_, needed)| needed.iter().all(|flag| flags.contains(flag)));
    reached.last().map(|(level, _)| *level)
}

/// `MemTotal` of `/proc/meminfo` in MiB.
pub(super) fn parse_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::{parse_cpuinfo, parse_meminfo};

    #[test]
    fn reads_processors() {
        let one = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu lm aes sha_ni hypervisor\n\n";
        let cpu = parse_cpuinfo(&format!("{one}{one}"));
        assert_eq!((cpu.model.as_str(), cpu.cores), ("AMD EPYC", 2));
        assert_eq!(cpu.flags, ["aes", "hypervisor", "lm", "sha_ni"]);
        assert_eq!((cpu.level, cpu.sockets, cpu.physical_cores), (None, None, None));
        assert_eq!((parse_cpuinfo("").model.as_str(), parse_cpuinfo("").cores), ("unknown", 0));
    }

    #[test]
    fn counts_sockets_and_cores_and_finds_the_level() {
        let flags = "fpu cmov cx8 fxsr mmx sse sse2 lm cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3";
        let one = |n: u32, socket: u32, core: u32| {
            format!(
                "processor : {n}\nvendor_id : GenuineIntel\nphysical id : {socket}\ncore id : {core}\nflags : {flags}\n\n"
            )
        };
        let cpu = parse_cpuinfo(&[one(0, 0, 0), one(1, 0, 0), one(2, 0, 1), one(3, 1, 0)].concat());
        assert_eq!((cpu.cores, cpu.sockets, cpu.physical_cores), (4, Some(2), Some(3)));
        assert_eq!((cpu.vendor.as_deref(), cpu.level.as_deref()), (Some("GenuineIntel"), Some("x86-64-v2")));
    }

    #[test]
    fn reads_memory() {
        assert_eq!(parse_meminfo("MemTotal:        2041956 kB\nMemFree: 1 kB\n"), Some(1994));
        assert_eq!(parse_meminfo("MemFree: 1 kB\n"), None);
    }
}

//! `/proc/cpuinfo` and `/proc/meminfo`.

use super::model::Cpu;
use std::collections::BTreeSet;

/// Features that decide about something: virtual machines, speed of hashing, 64-bit levels.
const FLAGS: [&str; 9] = ["aes", "avx2", "hypervisor", "lm", "pclmulqdq", "sha_ni", "sse4_2", "svm", "vmx"];

/// Reads `/proc/cpuinfo` of an x86 machine.
pub(super) fn parse_cpuinfo(text: &str) -> Cpu {
    let values = |key: &'static str| {
        text.lines().filter_map(move |line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim().to_owned())
        })
    };
    let flags: BTreeSet<String> = values("flags")
        .next()
        .map(|all| all.split(' ').filter(|flag| FLAGS.contains(flag)).map(str::to_owned).collect())
        .unwrap_or_default();
    Cpu {
        model: values("model name").next().unwrap_or_else(|| "unknown".to_owned()),
        cores: u32::try_from(values("processor").count()).unwrap_or(u32::MAX),
        flags: flags.into_iter().collect(),
    }
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
        assert_eq!((parse_cpuinfo("").model.as_str(), parse_cpuinfo("").cores), ("unknown", 0));
    }

    #[test]
    fn reads_memory() {
        assert_eq!(parse_meminfo("MemTotal:        2041956 kB\nMemFree: 1 kB\n"), Some(1994));
        assert_eq!(parse_meminfo("MemFree: 1 kB\n"), None);
    }
}

//! The running kernel: what it is, what it can, what it said.

use super::{chain, readable, run};
use crate::inventory::sanitise;
use crate::plan::Planned;
use crate::preflight::checks::kernel::{FEATURES, FILE_SYSTEMS, Trace};
use crate::preflight::facts::{Facts, KernelMessages};
use crate::preflight::model::{Fact, NotRun};
use jiff::Timestamp;
use jiff::civil::Date;
use profiles::node::NodeConfig;
use std::collections::BTreeSet;
use sysio::command::Cmd;
use sysio::sysfs::SysRoot;

/// Rules file of a node.
const FIREWALL_PATH: &str = "/etc/metalstrap/firewall.nft";
/// Words of a line that speaks of broken hardware. Not of a driver that misses a file, or of a disk that has no medium.
const HARDWARE_WORDS: [&str; 7] = [
    "[Hardware Error]",
    "Machine check events logged",
    "mce: [",
    "AER: Uncorrect",
    "AER: Multiple Uncorrect",
    "blk_update_request: I/O error",
    "I/O error, dev ",
];
/// Parameters that are there only once a module is: prefix and module.
const SYSCTLS_OF_MODULES: [(&str, &str); 2] =
    [("net.bridge.", "br_netfilter"), ("net.netfilter.", "nf_conntrack")];
/// Lines of each kind that are kept: a broken disk says the same thousands of times.
const LINES_MAX: usize = 50;

pub(super) fn collect(sys: &SysRoot, node: Option<&NodeConfig>, facts: &mut Facts) {
    let release = readable(sys.read("/proc/sys/kernel/osrelease"), "/proc/sys/kernel/osrelease");
    let modules = release.clone().and_then(|release| read_modules(sys, &release));
    let mounted = "/proc/filesystems";
    let known = readable(sys.read_raw(mounted), mounted).map(|text| parse_file_systems(&text));
    facts.kernel = release;
    facts.modules_missing = modules.clone().map(|has| {
        let wanted = node.map(|node| node.kernel_modules.as_slice()).unwrap_or_default();
        wanted.iter().filter(|name| !has.contains(&module_name(name))).cloned().collect()
    });
    facts.file_systems = known.clone().map(|known| {
        let module = |name: &&str| modules.as_ref().is_ok_and(|has| has.contains(*name));
        known
            .into_iter()
            .chain(FILE_SYSTEMS.iter().filter(|name| module(name)).map(|n| (*n).to_owned()))
            .collect()
    });
    facts.features_missing = modules.clone().and_then(|modules| {
        let known = known?;
        let has = |trace: Trace| match trace {
            Trace::Path(path) => sys.exists(path),
            Trace::FileSystem(name) => known.contains(name),
            Trace::Module(name) => modules.contains(name),
        };
        Ok(FEATURES.iter().filter(|(_, trace)| !has(*trace)).map(|(name, _)| (*name).to_owned()).collect())
    });
    facts.cgroups = Ok(sys
        .read("/sys/fs/cgroup/cgroup.controllers")
        .map(|text| text.split_whitespace().map(str::to_owned).collect()));
    facts.sysctls_missing = node.map_or_else(
        || Err(NotRun::new("no cluster file says which parameters are set")),
        |node| Ok(node.sysctls.keys().filter(|key| lacks_sysctl(sys, key, node)).cloned().collect()),
    );
    let taint = "/proc/sys/kernel/tainted";
    facts.taint = readable(sys.read_number(taint).and_then(|bits| u64::try_from(bits).ok()), taint);
    facts.messages = run(&Cmd::new("dmesg").args(["--notime", "--level=emerg,alert,crit,err,warn"]))
        .map(|output| parse_kernel_messages(&output.text()));
}

fn lacks_sysctl(sys: &SysRoot, key: &str, node: &NodeConfig) -> bool {
    let comes_later = |(prefix, module): &(&str, &str)| {
        key.starts_with(prefix) && node.kernel_modules.iter().any(|name| module_name(name) == *module)
    };
    // As systemd-sysctl reads a key: the first separator decides which one it is.
    let path = if key.find('/') < key.find('.') && key.contains('/') {
        key.to_owned()
    } else {
        key.chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect()
    };
    !SYSCTLS_OF_MODULES.iter().any(comes_later) && !sys.exists(format!("/proc/sys/{path}"))
}

/// Modules that are loaded, built in, or beside the kernel.
fn read_modules(sys: &SysRoot, release: &str) -> Fact<BTreeSet<String>> {
    let folder = format!("/lib/modules/{release}");
    let beside = format!("{folder}/modules.dep");
    let mut modules = parse_modules(&readable(sys.read_raw(&beside), &beside)?);
    modules.extend(parse_modules(&sys.read_raw(format!("{folder}/modules.builtin")).unwrap_or_default()));
    modules.extend(sys.list("/sys/module").iter().map(|name| module_name(name)));
    Ok(modules)
}

/// Names of the modules in a `modules.dep` or `modules.builtin`: one path at the start of each line.
pub fn parse_modules(text: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let path = line.split([':', ' ']).next()?;
        let file = path.rsplit('/').next()?;
        let (stem, rest) = file.split_once('.')?;
        rest.starts_with("ko").then(|| module_name(stem))
    };
    text.lines().filter_map(name).collect()
}

/// The kernel takes both signs for the same.
fn module_name(name: &str) -> String {
    name.replace('-', "_")
}

/// The last word of each line; before it stands `nodev` or nothing.
fn parse_file_systems(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect()
}

/// Reads the kernel log: what somebody should know of.
pub fn parse_kernel_messages(text: &str) -> KernelMessages {
    let mut messages = KernelMessages::default();
    for line in text.lines() {
        if let Some(file) = missing_firmware(line) {
            let file = sanitise(file);
            if !messages.missing_firmware.contains(&file) && messages.missing_firmware.len() < LINES_MAX {
                messages.missing_firmware.push(file);
            }
        } else if HARDWARE_WORDS.iter().any(|word| line.contains(word))
            && messages.hardware_errors.len() < LINES_MAX
        {
            messages.hardware_errors.push(sanitise(line.trim()));
        }
    }
    messages
}

/// `Direct firmware load for FILE failed with error -2`, or `…ailed to load firmware "FILE"`, or `Unable to load firmware FILE`.
fn missing_firmware(line: &str) -> Option<&str> {
    if let Some((_, rest)) = line.split_once("Direct firmware load for ") {
        return rest.split_once(" failed").map(|(file, _)| file);
    }
    let (_, rest) =
        line.split_once("ailed to load firmware").or_else(|| line.split_once("nable to load firmware"))?;
    let file = rest.trim_start_matches([' ', ':']).split_whitespace().next()?;
    Some(file.trim_matches(['"', '\'', ',', '.']))
}

/// Date of the build in `/proc/version`: Debian's `(2025-08-26)`, or `Tue Aug 26 10:00:00 UTC 2025` as the kernel itself writes it.
pub fn parse_kernel_version_date(text: &str) -> Option<Timestamp> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let debian = words.iter().rev().find_map(|word| word.trim_matches(['(', ')']).parse::<Date>().ok());
    let date = debian.or_else(|| {
        let (year, words) = words.split_last()?;
        let [.., month, day, _, _] = words else { return None };
        let month = MONTHS.iter().position(|name| name == month)?;
        Date::new(year.parse().ok()?, i8::try_from(month + 1).ok()?, day.parse().ok()?).ok()
    })?;
    date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Loads the rules of the node where nobody else is.
pub(super) fn rehearse_firewall(planned: &Planned) -> Fact<Result<(), String>> {
    let file = planned.rendered.file(FIREWALL_PATH);
    let file = file.ok_or_else(|| NotRun::new("the plan renders no firewall"))?;
    match sysio::nft::rehearse(file.contents.expose()) {
        Ok(_) => Ok(Ok(())),
        Err(error @ sysio::nft::NftError::Namespace(_)) => Err(NotRun::new(chain(&error))),
        Err(error) => Ok(Err(chain(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_date_of_both_kinds_of_kernel() {
        let day = |text: &str| parse_kernel_version_date(text).map(|time| time.to_string());
        let debian = "Linux version 6.1.0-39-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0) #1 SMP PREEMPT_DYNAMIC Debian 6.1.148-1 (2025-08-26)";
        assert_eq!(day(debian).as_deref(), Some("2025-08-26T00:00:00Z"));
        let own =
            "Linux version 6.18.5 (root@x) (gcc 14) #1 SMP PREEMPT_DYNAMIC Tue Nov  4 10:00:00 UTC 2025";
        assert_eq!(day(own).as_deref(), Some("2025-11-04T00:00:00Z"));
        assert_eq!(day("Linux version 6.1 #1 SMP"), None);
        assert_eq!(day(""), None);
    }

    #[test]
    fn reads_names_of_modules_however_they_are_packed() {
        let text = "kernel/net/bridge/br_netfilter.ko: kernel/net/bridge/bridge.ko\nkernel/x/nf-conntrack.ko.xz:\nkernel/fs/ext4/ext4.ko.zst\n\nx:\n";
        let names: Vec<String> = parse_modules(text).into_iter().collect();
        assert_eq!(names, ["br_netfilter", "ext4", "nf_conntrack"]);
    }

    #[test]
    fn finds_broken_hardware_and_missing_firmware_and_nothing_else() {
        let text = "\
mce: [Hardware Error]: Machine check events logged\n\
bnx2 0000:02:00.0: Direct firmware load for bnx2/bnx2-mips-09.fw failed with error -2\n\
bnx2 0000:02:00.0: Direct firmware load for bnx2/bnx2-mips-09.fw failed with error -2\n\
r8169 0000:03:00.0: Unable to load firmware rtl_nic/x.fw (-2)\n\
qla2xxx: Failed to load firmware \"ql2500_fw.bin\"\n\
I/O error, dev sdb, sector 0 op 0x0:(READ)\n\
ACPI: a harmless warning\n";
        let messages = parse_kernel_messages(text);
        assert_eq!(
            messages.hardware_errors,
            [
                "mce: [Hardware Error]: Machine check events logged",
                "I/O error, dev sdb, sector 0 op 0x0:(READ)"
            ]
        );
        assert_eq!(messages.missing_firmware, ["bnx2/bnx2-mips-09.fw", "rtl_nic/x.fw", "ql2500_fw.bin"]);
        let flood = parse_kernel_messages(&"I/O error, dev sdb, sector 1\n".repeat(1000));
        assert_eq!(flood.hardware_errors.len(), LINES_MAX);
    }
}

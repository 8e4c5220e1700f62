//! Bad input in the live system. One boot; a script runs the installer once for each case and prints how it ended.
//!
//! Each case must end with its exit code, say its refusal code, and promise that nothing was written; QEMU's counters
//! then say whether that is true for every disk.

use super::install::fresh_dir;
use super::{Context, Figures};
use crate::cluster::{Changes, MAC, adapt};
use crate::machine::{DirectKernel, Drive, Machine, Network};
use crate::media::{find_sector, make_disk, make_ext4_disk, make_fat_volume};
use crate::serial::SerialLine;
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::path::Path;

/// Label of the volume the test image runs its script from.
const TESTKIT_LABEL: &str = "MSTESTKIT";
/// DMI serial number of the machine.
const MACHINE_SERIAL: &str = "MS-MACHINE-01";
/// Serial numbers of its disks.
const EMPTY_ONE: &str = "MS-EMPTY-0001";
const EMPTY_TWO: &str = "MS-EMPTY-0002";
const WITH_DATA: &str = "MS-EXT4-0001";
const TOO_SMALL: &str = "MS-SMALL-0001";
/// Drives that must not be written to.
const WATCHED: [&str; 4] = ["empty1", "empty2", "ext4", "small"];

/// Sector of the kernel that cannot be read, from its start: neither the first nor the last.
const KERNEL_FAULT_SECTOR: u64 = 4096;

/// How long the whole script may take.
const CASES_WITHIN_SECS: u64 = 900;

/// One bad input.
struct Case {
    /// Name in the script and the report.
    name: &'static str,
    /// Change of the good cluster file; `None` leaves the case without any.
    cluster: Option<fn(String) -> String>,
    /// Further kernel arguments.
    arguments: &'static str,
    /// Shell command that spoils something; `writable DIR` makes a folder writable for this case.
    spoil: &'static str,
    /// Exit code.
    exit: u8,
    /// Refusal code.
    code: &'static str,
}

fn good(cluster: String) -> String {
    cluster
}

/// The disk the good case would take.
const PICK: &str = "metalstrap.disk=MS-EMPTY-0001";

const CASES: &[Case] = &[
    Case {
        name: "no-cluster-file",
        cluster: None,
        arguments: "",
        spoil: "true",
        exit: 2,
        code: "E_CONFIG_NONE",
    },
    Case {
        name: "malformed-cluster-file",
        cluster: Some(|cluster| cluster + "\n[[nodes\n"),
        arguments: PICK,
        spoil: "true",
        exit: 2,
        code: "E_TOML_SYNTAX",
    },
    Case {
        name: "misspelt-key",
        cluster: Some(|cluster| cluster.replace("hostname =", "hostnam =")),
        arguments: PICK,
        spoil: "true",
        exit: 2,
        code: "E_KEY_UNKNOWN",
    },
    Case {
        name: "no-matching-node",
        cluster: Some(|cluster| cluster.replace(MAC, "52:54:00:00:00:99")),
        arguments: PICK,
        spoil: "true",
        exit: 2,
        code: "E_NODE_NONE",
    },
    Case {
        name: "two-matching-nodes",
        cluster: Some(|cluster| {
            cluster
                + "\n[[nodes]]\nhostname = \"worker-1\"\nrole = \"worker\"\nserial = \"MS-MACHINE-01\"\n\
                   address = \"10.0.0.21\"\n"
        }),
        arguments: PICK,
        spoil: "true",
        exit: 2,
        code: "E_NODE_AMBIGUOUS",
    },
    Case {
        name: "no-such-disk",
        cluster: Some(good),
        arguments: "metalstrap.disk=MS-ABSENT",
        spoil: "true",
        exit: 3,
        code: "E_DISK_NO_MATCH",
    },
    Case {
        name: "two-empty-disks",
        cluster: Some(good),
        arguments: "",
        spoil: "true",
        exit: 3,
        code: "E_DISK_AMBIGUOUS",
    },
    Case {
        name: "disk-with-data",
        cluster: Some(good),
        arguments: "metalstrap.disk=MS-EXT4-0001",
        spoil: "true",
        exit: 3,
        code: "E_DISK_HAS_DATA",
    },
    Case {
        name: "disk-too-small",
        cluster: Some(good),
        arguments: "metalstrap.disk=MS-SMALL-0001",
        spoil: "true",
        exit: 3,
        code: "E_DISK_TOO_SMALL",
    },
    Case {
        name: "memory-too-small",
        cluster: Some(|cluster| {
            cluster.replace("role = \"master\"", "role = \"master\"\nmemory_min_mib = 16384")
        }),
        arguments: PICK,
        spoil: "true",
        exit: 3,
        code: "E_MEMORY_TOO_SMALL",
    },
    Case {
        name: "artefact-missing",
        cluster: Some(good),
        arguments: PICK,
        spoil: "writable $ARTIFACTS && rm $ARTIFACTS/kube-vip*",
        exit: 5,
        code: "E_ARTEFACT_MISSING",
    },
    Case {
        name: "artefact-truncated",
        cluster: Some(good),
        arguments: PICK,
        spoil: "writable $ARTIFACTS && truncate -s -1 $ARTIFACTS/kube-vip*",
        exit: 5,
        code: "E_ARTEFACT_LENGTH",
    },
    Case {
        name: "artefact-altered",
        cluster: Some(good),
        arguments: PICK,
        spoil: "writable $ARTIFACTS && printf X | dd of=$(echo $ARTIFACTS/kube-vip*) bs=1 seek=100 conv=notrunc",
        exit: 5,
        code: "E_ARTEFACT_HASH",
    },
    Case {
        name: "root-image-truncated",
        cluster: Some(good),
        arguments: PICK,
        spoil: "head -c 1000000 $LIVE/root.squashfs >/run/cases/short && replace /run/cases/short $LIVE/root.squashfs",
        exit: 5,
        code: "E_ARTEFACT_LENGTH",
    },
    Case {
        name: "unreadable-config-medium",
        cluster: None,
        arguments: "metalstrap.disk=MS-EMPTY-0001 metalstrap.config=label:BROKEN",
        spoil: "true",
        exit: 4,
        code: "E_CONFIG_UNREADABLE",
    },
    Case {
        name: "unreadable-medium",
        cluster: Some(good),
        arguments: PICK,
        spoil: "unreadable $LIVE/vmlinuz",
        exit: 5,
        code: "E_MEDIUM_IO",
    },
];

pub(super) fn run(context: &Context) -> Result<Figures> {
    ensure!(context.image.double, "this scenario needs the test image (cargo xtask image --double)");
    let dir = fresh_dir(context, "refusals")?;
    let machine = machine(context, &dir)?;
    machine.run(context.accel, &dir, context.echo, |vm| {
        let begin = vm.expect("TESTKIT begin", 400)?;
        let end = vm.expect("TESTKIT end", CASES_WITHIN_SECS)?;
        judge_all(&vm.lines())?;
        for drive in WATCHED {
            vm.ensure_unwritten(drive)?;
        }
        // The counter counts: the script wrote one sector to the drive that is there for this.
        let stats = vm.qmp().block_stats()?;
        ensure!(
            stats.get("scratch").is_some_and(|stats| stats.writes > 0),
            "QEMU's write counter does not move"
        );
        Ok(Figures::from([
            ("cases".to_owned(), CASES.len() as f64),
            ("secs_per_case".to_owned(), (end.secs - begin.secs) / CASES.len() as f64),
        ]))
    })
}

fn machine(context: &Context, dir: &Path) -> Result<Machine> {
    let file = |name: &str| dir.join(format!("{name}.raw"));
    make_disk(&file("empty1"), 10 * 1024)?;
    make_disk(&file("empty2"), 10 * 1024)?;
    make_ext4_disk(&file("ext4"), 10 * 1024)?;
    make_disk(&file("small"), 1024)?;
    make_fat_volume(&file("scratch"), "SCRATCH", 4, &[])?;
    let script = script();
    let mut volumes = vec![("testkit.sh".to_owned(), script.into_bytes())];
    for case in CASES {
        if let Some(change) = case.cluster {
            let cluster = change(adapt(&context.single, Changes::node("master-1"))?);
            volumes.push((format!("{}.toml", case.name), cluster.into_bytes()));
        }
    }
    let files: Vec<(&str, &[u8])> =
        volumes.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    make_fat_volume(&file("testkit"), TESTKIT_LABEL, 8, &files)?;
    let mut machine = Machine::new("refusals")
        .drive(Drive::disk("empty1", file("empty1"), EMPTY_ONE))
        .drive(Drive::disk("empty2", file("empty2"), EMPTY_TWO))
        .drive(Drive::disk("ext4", file("ext4"), WITH_DATA))
        .drive(Drive::disk("small", file("small"), TOO_SMALL))
        .drive(Drive::disk("scratch", file("scratch"), "MS-SCRATCH"))
        .drive(Drive::disk("testkit", file("testkit"), "MS-TESTKIT"))
        .drive(broken_volume(context, &file("broken"))?)
        .drive(Drive::cd("medium", &context.image.iso))
        .network(Network::new(MAC));
    machine.serial_number = Some(MACHINE_SERIAL.to_owned());
    machine.limit_secs = 1500;
    machine.allowed_signs = vec!["op 0x0:(READ)", "async page read"]; // of the broken volume; no other is read with errors
    machine.give_up_on = vec!["metalstrap: install complete", "metalstrap: cannot "];
    machine.kernel = Some(DirectKernel {
        kernel: context.image.live.join("vmlinuz"),
        initrd: context.image.live.join("initrd"),
        arguments:
            "boot=metalstrap metalstrap.medium=LABEL=METALSTRAP_ISO metalstrap.mode=wait metalstrap.testkit \
                    console=tty0 console=ttyS0,115200 loglevel=4 panic=60"
                .to_owned(),
    });
    Ok(machine)
}

/// A volume with a cluster file and a kernel that are there and cannot be read.
fn broken_volume(context: &Context, file: &Path) -> Result<Drive> {
    let cluster = adapt(&context.single, Changes::node("master-1"))?;
    let kernel = fs::read(context.image.live.join("vmlinuz")).context("reading the kernel")?;
    // The kernel first: near the start of the volume udev itself would stumble, and the volume would have no label.
    make_fat_volume(file, "BROKEN", 32, &[("vmlinuz", &kernel), ("cluster.toml", cluster.as_bytes())])?;
    let sectors = [find_sector(file, cluster.as_bytes())?, find_sector(file, &kernel)? + KERNEL_FAULT_SECTOR];
    Ok(Drive::disk("broken", file, "MS-BROKEN").unreadable(&sectors))
}

/// The script the guest runs. Each case gets its own kernel command line, config volume and spoilt files.
fn script() -> String {
    let mut text = SCRIPT_HEAD.to_owned();
    for case in CASES {
        let config = if case.cluster.is_some() { "yes" } else { "no" };
        text.push_str(&format!(
            "begin {name} {config} '{arguments}'\n{spoil} || spoilt=no\nfinish {name}\n",
            name = case.name,
            arguments = case.arguments,
            spoil = case.spoil,
        ));
    }
    text.push_str("echo 'TESTKIT end'\n");
    text
}

const SCRIPT_HEAD: &str = include_str!("refusals.sh");

/// Holds what the console says against every case.
fn judge_all(lines: &[SerialLine]) -> Result<()> {
    let mut wrong = Vec::new();
    for case in CASES {
        if let Err(error) = judge(case, lines) {
            wrong.push(format!("{}: {error}", case.name));
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} of {} cases are wrong:\n  {}",
        wrong.len(),
        CASES.len(),
        wrong.join("\n  ")
    );
    Ok(())
}

fn judge(case: &Case, lines: &[SerialLine]) -> Result<()> {
    let prefix = format!("CASE {} ", case.name);
    let said: Vec<&str> = lines.iter().filter_map(|line| line.text.strip_prefix(&prefix)).collect();
    let Some(exit) = said.iter().find_map(|text| text.strip_prefix("exit ")) else { bail!("it did not run") };
    let output = said.join("\n    ");
    ensure!(exit == case.exit.to_string(), "exit code {exit}, not {}\n    {output}", case.exit);
    let code = format!("refused: {}: ", case.code);
    ensure!(said.iter().any(|text| text.contains(&code)), "no `{code}`\n    {output}");
    let stopped = format!("metalstrap: stopped with exit code {}, nothing was written", case.exit);
    ensure!(said.iter().any(|text| text.contains(&stopped)), "no `{stopped}`\n    {output}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{CASES, judge, script};
    use crate::serial::SerialLine;

    fn lines(texts: &[&str]) -> Vec<SerialLine> {
        texts.iter().map(|text| SerialLine { secs: 0.0, text: (*text).to_owned() }).collect()
    }

    #[test]
    fn judges_exit_code_and_refusal_and_promise() {
        let case = &CASES[0];
        let refused = "CASE no-cluster-file | metalstrap: refused: E_CONFIG_NONE: there is no cluster file";
        let stopped = "CASE no-cluster-file | metalstrap: stopped with exit code 2, nothing was written";
        let exit = "CASE no-cluster-file exit 2";
        judge(case, &lines(&[refused, stopped, exit])).unwrap();
        let error = |texts: &[&str]| judge(case, &lines(texts)).unwrap_err().to_string();
        assert_eq!(error(&[]), "it did not run");
        assert!(error(&[refused, stopped, "CASE no-cluster-file exit 0"]).starts_with("exit code 0, not 2"));
        assert!(error(&[stopped, exit]).starts_with("no `refused: E_CONFIG_NONE: `"));
        assert!(
            error(&[refused, exit])
                .starts_with("no `metalstrap: stopped with exit code 2, nothing was written`")
        );
    }

    #[test]
    fn each_case_has_a_name_of_its_own_and_runs_in_a_script_the_shell_accepts() {
        for case in CASES {
            assert_eq!(CASES.iter().filter(|other| other.name == case.name).count(), 1, "{}", case.name);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script()).unwrap();
        crate::command::stdout_of("sh", &["-n", &file.path().display().to_string()]).unwrap();
    }
}

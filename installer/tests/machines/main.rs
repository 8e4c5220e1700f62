//! The disk contract on a catalogue of machines: what would be taken or refused on each stands in
//! `fixtures/machines.txt`, one line a machine and one a disk, and is compared exactly. The inventories are committed beside it, for
//! `metalstrap disks --inventory` and for people.
//!
//! `METALSTRAP_BLESS=1 cargo test -p installer --test machines` writes them anew; look at the difference.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::panic,
    reason = "a test, and writes only when asked to"
)]

mod build;
mod catalogue;
mod contents;
mod data_disks;
mod properties;

use build::Machine;
use installer::disks::{DiskOverrides, DiskRefusal, TargetDisk, choose_disk, judge_disks, render_verdicts};
use installer::inventory::{Inventory, parse_inventory, render_inventory};
use profiles::node::{DiskSelector, Requirements};
use std::collections::BTreeSet;
use std::path::PathBuf;

const NEEDS: Requirements = Requirements { memory_min_mib: 1024, disk_min_mib: 8192 };

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The selector as the cluster file has it, and the kernel's arguments.
fn wishes(words: &[(&str, &str)]) -> (DiskSelector, DiskOverrides) {
    let mut selector = serde_json::json!({ "serial": null, "wwn": null, "by_path": null, "wipe": null });
    let mut overrides = DiskOverrides::default();
    for (key, value) in words {
        match *key {
            "kernel-disk" => overrides.serial = Some((*value).to_owned()),
            "kernel-wipe" => overrides.wipe = Some((*value).to_owned()),
            key => selector[key] = serde_json::json!(value),
        }
    }
    (serde_json::from_value(selector).unwrap(), overrides)
}

fn choose(inventory: &Inventory, words: &[(&str, &str)]) -> Result<TargetDisk, DiskRefusal> {
    let (selector, overrides) = wishes(words);
    choose_disk(inventory, &selector, &NEEDS, &overrides)
}

/// The lines of the table for one machine.
fn render(machine: &Machine) -> String {
    let words: Vec<_> = machine.words.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let asked = if words.is_empty() { String::new() } else { format!(" [{}]", words.join("; ")) };
    let outcome = match choose(&machine.inventory, &machine.words) {
        Ok(target) => format!("takes {}", target.reason()),
        Err(refusal) => format!("refuses {}: {}", refusal.code, refusal.message),
    };
    let (selector, overrides) = wishes(&machine.words);
    let verdicts = render_verdicts(&judge_disks(&machine.inventory, &selector, &NEEDS, &overrides));
    let lines = verdicts.iter().map(|line| format!("    {line}\n")).collect::<String>();
    format!("{}{asked}: {outcome}\n{lines}", machine.name)
}

/// Compares with what is committed, or writes it when asked to.
#[track_caller]
fn expect_committed(path: &PathBuf, generated: &str) {
    if std::env::var_os("METALSTRAP_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let differs =
        committed.lines().zip(generated.lines()).find(|(committed, generated)| committed != generated);
    assert!(committed == generated, "{} is not what the catalogue gives: {differs:#?}", path.display());
}

#[test]
fn every_machine_has_the_verdict_of_the_table() {
    let machines = catalogue::machines();
    let table: String = machines.iter().map(render).collect();
    expect_committed(&fixtures().join("machines.txt"), &table);
    let names: BTreeSet<_> = machines.iter().map(|machine| machine.name).collect();
    assert!(names.len() == machines.len() && names.len() >= 60, "{} names", names.len());
    let codes: BTreeSet<_> = machines
        .iter()
        .filter_map(|machine| Some(choose(&machine.inventory, &machine.words).err()?.code))
        .collect();
    let expected = [
        "E_DISK_AMBIGUOUS",
        "E_DISK_BOOT_MEDIUM",
        "E_DISK_BUSY",
        "E_DISK_FAILING",
        "E_DISK_HAS_DATA",
        "E_DISK_MULTIPATH",
        "E_DISK_NONE",
        "E_DISK_NO_MATCH",
        "E_DISK_READ_ONLY",
        "E_DISK_REMOVABLE",
        "E_DISK_SECTOR_SIZE",
        "E_DISK_TOO_SMALL",
        "E_DISK_WIPE_MISMATCH",
    ];
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), expected, "every code has a machine");
}

#[test]
fn the_committed_inventories_are_those_of_the_catalogue() {
    let machines = catalogue::machines();
    for machine in &machines {
        let text = format!("{}\n", serde_json::to_string_pretty(&machine.inventory).unwrap());
        expect_committed(&fixtures().join("machines").join(format!("{}.json", machine.name)), &text);
        assert_eq!(parse_inventory(&text).unwrap(), machine.inventory);
    }
    let files = std::fs::read_dir(fixtures().join("machines")).unwrap().count();
    assert_eq!(files, machines.len(), "a file without a machine");
}

/// Nothing of a device's own words may move a cursor, change a colour or begin a line.
#[test]
fn nothing_shown_holds_a_control_character() {
    for machine in catalogue::machines() {
        let shown = format!("{}{}", render(&machine), render_inventory(&machine.inventory));
        let bad = shown.chars().find(|c| {
            (c.is_control() && *c != '\n')
                || matches!(*c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        });
        assert_eq!(bad, None, "{}", machine.name);
        let forged = shown.lines().any(|line| line.starts_with("metalstrap:"));
        assert!(!forged && shown.lines().all(|line| line.chars().count() < 2000), "{}", machine.name);
    }
}

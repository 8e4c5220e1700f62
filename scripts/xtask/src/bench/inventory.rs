//! Looking at a machine and planning its install: this very machine, and one with more disks and cards than any we know of.

use super::{PLAN_INVENTORY, PLAN_RUNS, Row, row};
use crate::{host, machines};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;

/// A server with a full shelf behind it.
const DISKS: usize = 60;
/// Cards of the large machine.
const CARDS: usize = 8;
/// The master of the example that is planned.
const NODE: &str = "master-1";
/// The most that looking and planning may take together, in milliseconds.
const GOAL_MILLIS: f64 = 2000.0;

/// The rows.
pub fn rows() -> Result<Vec<Row>> {
    let small = host::workspace().join(PLAN_INVENTORY);
    let text = std::fs::read_to_string(&small).with_context(|| format!("reading {}", small.display()))?;
    let large = host::target().join("bench-inventory.json");
    let machine = enlarge(serde_json::from_str(&text)?).context("the small machine is not as expected")?;
    host::write(&large, serde_json::to_string(&machine)?)?;
    let example = host::workspace().join("profiles/examples/ha.toml");
    let look = quickest(&["inventory", "--output", "json"], &[])?;
    let plan = quickest(
        &["plan", "--node", NODE, "--disk", &serial(0), "--output", "json", "--inventory"],
        &[&large, &example],
    )?;
    Ok(vec![
        row("inventory of this machine", look, "ms", None),
        row(&format!("plan with {DISKS} disks and {CARDS} cards"), plan, "ms", None),
        row("inventory and plan", look + plan, "ms", Some(GOAL_MILLIS)),
    ])
}

/// Milliseconds of the quickest of some runs.
fn quickest(words: &[&str], paths: &[&Path]) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..PLAN_RUNS {
        let mut command = host::command(machines::metalstrap()?);
        command.args(words).args(paths);
        let begin = machines::now();
        host::output(&mut command)?;
        best = best.min(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(best)
}

/// Serial number of a disk of the large machine.
fn serial(number: usize) -> String {
    format!("BENCH{number:04}")
}

/// The same machine with many disks like its first empty one, and many cards beside its own.
fn enlarge(mut machine: Value) -> Option<Value> {
    let template =
        machine.get("disks")?.as_array()?.iter().find(|disk| disk["empty"] == json!(true))?.clone();
    let disks = (0..DISKS).map(|number| {
        let mut disk = template.clone();
        disk["path"] = json!(format!("/dev/disk{number:03}"));
        disk["serial"] = json!(serial(number));
        disk["wwn"] = json!(format!("0x5000c500{number:08x}"));
        disk["by_path"] = json!(format!("pci-0000:03:00.0-sas-phy{number}-lun-0"));
        disk
    });
    machine["disks"] = disks.collect();
    let card = machine.get("nics")?.as_array()?.first()?.clone();
    let cards = machine.get_mut("nics")?.as_array_mut()?;
    while cards.len() < CARDS {
        let number = cards.len();
        let mut card = card.clone();
        card["name"] = json!(format!("spare{number}"));
        card["mac"] = json!(format!("52:54:00:be:9c:{number:02x}"));
        cards.push(card);
    }
    Some(machine)
}

#[cfg(test)]
mod tests {
    use super::{CARDS, DISKS, enlarge, serial};
    use serde_json::json;

    #[test]
    fn a_large_machine_has_disks_and_cards_of_its_own() {
        let small = json!({
            "disks": [{"path": "/dev/sda", "empty": false}, {"path": "/dev/sdb", "serial": "S", "empty": true}],
            "nics": [{"name": "eno1", "mac": "52:54:00:00:00:11"}],
        });
        let large = enlarge(small.clone()).unwrap();
        let distinct = |list: &str, key: &str| {
            let values = large[list].as_array().unwrap().iter().map(|entry| entry[key].to_string());
            values.collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!((distinct("disks", "path"), distinct("disks", "serial")), (DISKS, DISKS));
        assert_eq!((distinct("nics", "mac"), distinct("nics", "name")), (CARDS, CARDS));
        assert_eq!(large["disks"][0]["serial"], json!(serial(0)));
        assert_eq!(large["nics"][0], small["nics"][0], "the card it is known by stays");
        assert!(enlarge(json!({"disks": [], "nics": []})).is_none());
    }
}

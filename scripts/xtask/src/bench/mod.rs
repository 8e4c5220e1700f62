//! `cargo xtask bench`: sizes and durations of one run, beside what the project aims at. It never fails on a figure.

mod firewall;
mod inventory;

use crate::failure::CommandResult;
use crate::{host, machines};
use ::tests::machine::Firmware;
use ::tests::scenarios::{Example, Figures, Image, IsoBoot, install_from_iso};
use anyhow::{Context, Result};
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Schema id of the JSON.
const SCHEMA: &str = "metalstrap.bench/v1";
/// How often a quick command is run; the quickest run is the figure.
const PLAN_RUNS: usize = 5;

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Write the figures to this file, too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only the host firewall: no image is built and no machine booted.
    #[arg(long)]
    firewall: bool,
    /// Only inventory and plan, with the program that the last image build has made: no machine booted.
    #[arg(long, conflicts_with = "firewall")]
    inventory: bool,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    /// What the project aims at, where it has an aim.
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<f64>,
    /// The goal is the least, not the most.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    at_least: bool,
}

impl Row {
    fn is_met(&self, goal: f64) -> bool {
        if self.at_least { self.value >= goal } else { self.value <= goal }
    }
}

/// Measures and prints.
///
/// # Errors
/// A build or the machine fails; a figure never does.
pub fn run(args: &Args) -> CommandResult {
    if args.firewall {
        return show(args, &firewall::rows()?, &[]);
    }
    if args.inventory {
        return show(args, &inventory::rows()?, &[]);
    }
    let image = machines::build_double()?;
    let begin = machines::now();
    machines::build_double()?;
    let mut rows = vec![row("image build when nothing changed", begin.elapsed().as_secs_f64(), "s", None)];
    rows.extend(sizes(&image)?);
    rows.push(row("plan of a master", plan_millis()?, "ms", None));
    rows.extend(inventory::rows()?);
    rows.extend(firewall::rows()?);
    let context = machines::context(image)?;
    let kvm = context.accel == ::tests::accel::Accel::Kvm;
    let boot =
        IsoBoot { firmware: Firmware::Bios, name: "bench", example: Example::Single, data_mount: None };
    let (figures, report) = install_from_iso(&context, boot, &mut |_| Ok(()))?;
    rows.extend(durations(&figures, kvm));
    let double = report.node.k3s_double;
    let about = [("accelerator", json!(context.accel.describe())), ("k3s_double", json!(double))];
    show(args, &rows, &about)?;
    println!(
        "{}, {} virtual CPUs; image: {}",
        context.accel.describe(),
        2,
        if double { "k3s double" } else { "k3s" }
    );
    Ok(())
}

/// Prints the figures, and writes them where they are wanted, with what else is to be known about the run.
fn show(args: &Args, rows: &[Row], about: &[(&str, Value)]) -> CommandResult {
    println!("{}", table(rows));
    if let Some(file) = &args.json {
        let mut value = json!({ "schema": SCHEMA, "figures": rows });
        about.iter().for_each(|(key, fact)| value[*key] = fact.clone());
        host::write(file, serde_json::to_string_pretty(&value)? + "\n")?;
        eprintln!("written to {}", file.display());
    }
    Ok(())
}

fn row(name: &str, value: f64, unit: &'static str, goal: Option<f64>) -> Row {
    Row { name: name.to_owned(), value, unit, goal, at_least: false }
}

/// A figure that is to be at least so much.
fn row_at_least(name: &str, value: f64, unit: &'static str, goal: f64) -> Row {
    Row { at_least: true, ..row(name, value, unit, Some(goal)) }
}

fn sizes(image: &Image) -> Result<Vec<Row>> {
    let mut rows = vec![
        row(
            "ISO (fast build, with the artefacts of the double)",
            machines::megabytes(&image.iso)?,
            "MB",
            Some(340.0),
        ),
        row("root image", machines::megabytes(&image.live.join("root.squashfs"))?, "MB", None),
        row("initrd", machines::megabytes(&image.live.join("initrd"))?, "MB", None),
    ];
    let metalstrap = machines::metalstrap()?;
    let agent = metalstrap.with_file_name("metalstrap-agent");
    for (name, file) in [("program metalstrap", metalstrap), ("program metalstrap-agent", agent)] {
        rows.push(row(name, machines::megabytes(&file)?, "MB", None));
    }
    Ok(rows)
}

/// Milliseconds of `metalstrap plan` for a master of the large example; the quickest of some runs.
fn plan_millis() -> Result<f64> {
    let example = host::workspace().join("profiles/examples/ha.toml");
    let inventory = host::workspace().join(PLAN_INVENTORY);
    let mut best = f64::INFINITY;
    for _ in 0..PLAN_RUNS {
        let begin = machines::now();
        plan_once(&example, &inventory).context("measuring the plan")?;
        best = best.min(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(best)
}

/// Inventory of a machine that fits the example.
const PLAN_INVENTORY: &str = "installer/tests/fixtures/inventory/qemu-master-1.json";

fn plan_once(example: &Path, inventory: &Path) -> Result<()> {
    let mut command = host::command(machines::metalstrap()?);
    command
        .arg("plan")
        .arg(example)
        .args(["--node", "master-1", "--output", "json", "--inventory"])
        .arg(inventory);
    host::output(&mut command).map(drop)
}

fn durations(figures: &Figures, kvm: bool) -> Vec<Row> {
    let healthy_goal = if kvm { 60.0 } else { 240.0 };
    let named = [
        ("power_on_to_installer_secs", "power-on to installer", None),
        ("install_secs", "install", Some(40.0)),
        ("reboot_to_healthy_secs", "reboot to healthy", None),
        ("power_on_to_healthy_secs", "power-on to healthy, from ISO", Some(healthy_goal)),
    ];
    let mut rows: Vec<Row> = named
        .into_iter()
        .filter_map(|(key, name, goal)| figures.get(key).map(|value| row(name, *value, "s", goal)))
        .collect();
    for (key, value) in figures.iter().filter(|(key, _)| key.starts_with("phase_")) {
        let name = key.trim_start_matches("phase_").trim_end_matches("_secs").replace('_', " ");
        rows.push(row(&format!("install phase {name}"), *value, "s", None));
    }
    if let Some(kib) = figures.get("agent_rss_kib") {
        rows.push(row("health agent, resident memory", kib / 1024.0, "MiB", Some(20.0)));
    }
    rows
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["figure", "value", "", "goal", ""]);
    for row in rows {
        // A ratio needs more digits than a duration.
        let digits = if row.unit.is_empty() { 3 } else { 1 };
        let number = |value: f64| Cell::new(format!("{value:.digits$}")).set_alignment(CellAlignment::Right);
        let (goal, verdict) = match row.goal {
            Some(goal) => (number(goal), if row.is_met(goal) { "met" } else { "not met" }),
            None => (Cell::new(""), ""),
        };
        table.add_row([
            Cell::new(&row.name),
            number(row.value),
            Cell::new(row.unit),
            goal,
            Cell::new(verdict),
        ]);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::{durations, row, row_at_least, table};
    use ::tests::scenarios::Figures;

    #[test]
    fn puts_the_goal_beside_the_figure() {
        let text = table(&[row("install", 31.26, "s", Some(40.0)), row("healthy", 250.0, "s", Some(240.0))]);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                " figure   value     goal",
                " install   31.3  s   40.0  met",
                " healthy  250.0  s  240.0  not met"
            ]
        );
    }

    #[test]
    fn a_goal_may_be_the_least() {
        let text = table(&[row_at_least("ratio", 0.976, "", 0.95), row_at_least("other", 0.9, "", 0.95)]);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [" figure  value     goal", " ratio   0.976     0.950  met", " other   0.900     0.950  not met"]
        );
    }

    #[test]
    fn names_durations_and_phases() {
        let figures = Figures::from([
            ("install_secs".to_owned(), 30.0),
            ("phase_02_root_image_secs".to_owned(), 9.0),
            ("agent_rss_kib".to_owned(), 10240.0),
        ]);
        assert_eq!(
            durations(&figures, false),
            [
                row("install", 30.0, "s", Some(40.0)),
                row("install phase 02 root image", 9.0, "s", None),
                row("health agent, resident memory", 10.0, "MiB", Some(20.0)),
            ]
        );
    }
}

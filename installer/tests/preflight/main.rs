//! Every preflight check in pass, warn or fail, and could not run; the report made of them; the reference page. Pure.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod artefacts;
mod cluster;
mod disk;
mod hardware;
mod network;
mod time;
mod world;

use installer::exit::ExitCode;
use installer::preflight::{
    CATALOGUE, Facts, Outcome, Purpose, Skips, reference, render_lines, render_summary, render_table,
};
use std::collections::BTreeSet;
use std::path::Path;
use world::{Case, World};

fn cases() -> impl Iterator<Item = &'static Case> {
    [hardware::CASES, disk::CASES, network::CASES, time::CASES, cluster::CASES, artefacts::CASES]
        .into_iter()
        .flatten()
}

#[test]
fn every_case_ends_as_it_should_with_its_exact_words() {
    let mut wrong = Vec::new();
    for case in cases() {
        let mut world = World::healthy();
        (case.change)(&mut world);
        let result = world.judge(case.id);
        if (result.outcome, result.measured.as_str()) != (case.outcome, case.measured) {
            wrong.push(format!(
                "{}:\n  expected {:?}: {}\n  found    {:?}: {}",
                case.id, case.outcome, case.measured, result.outcome, result.measured
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_check_can_pass_can_find_something_and_can_be_unable_to_look() {
    let seen = |id: &str, wanted: &[Outcome]| cases().any(|c| c.id == id && wanted.contains(&c.outcome));
    for check in CATALOGUE {
        let id = check.id.name;
        // What only an install can measure is tested where it is measured.
        if !check.during_install {
            assert!(seen(id, &[Outcome::Pass]), "{id} never passes in a case");
            let worst = if check.codes.is_empty() { Outcome::Warn } else { Outcome::Fail };
            assert!(seen(id, &[worst]), "{id} never ends in {worst:?} in a case");
        }
        assert!(seen(id, &[Outcome::CouldNotRun]), "{id} can always look in the cases");
    }
}

#[test]
fn a_failure_has_a_code_that_the_check_names() {
    let mut codes = BTreeSet::new();
    for case in cases().filter(|case| case.outcome == Outcome::Fail) {
        let mut world = World::healthy();
        (case.change)(&mut world);
        let result = world.judge(case.id);
        let check = CATALOGUE.iter().find(|check| check.id.name == case.id).unwrap();
        let code = result.code.unwrap();
        assert!(check.codes.contains(&code), "{}: {code}", case.id);
        assert!(installer::codes::find(code).is_some(), "{code}");
        codes.insert(code);
    }
    assert!(codes.len() >= 20, "{codes:?}");
}

#[test]
fn a_healthy_machine_passes_everything() {
    let report = World::healthy().judge_all(&Skips::default());
    let not_passed: Vec<_> = report
        .checks
        .iter()
        .filter(|check| check.outcome != Outcome::Pass)
        .map(|check| format!("{} {}", check.id, check.outcome))
        .collect();
    assert_eq!(
        not_passed,
        [
            "cpu.steal does not apply",
            "disk.fsync could not run",
            "network.mtu does not apply",
            "cluster.second does not apply",
            "medium.hashes could not run"
        ]
    );
    assert_eq!(report.refusal(), None);
    let mut installing = World::healthy();
    installing.purpose = Purpose::Install;
    let summary = render_summary(&installing.judge_all(&Skips::default()).counts);
    assert_eq!(summary, format!("preflight: {} passed, 0 warnings, 0 could not run", CATALOGUE.len() - 5));
}

#[test]
fn all_failures_are_said_at_once_and_the_first_decides() {
    let mut world = World::healthy();
    world.purpose = Purpose::Install;
    world.inventory.memory_mib = 100;
    world.inventory.nics[0].mac = Some("52:54:00:00:00:99".parse().unwrap());
    world.facts.tools_missing = Ok(vec!["sfdisk".to_owned()]);
    world.plan();
    let report = world.judge_all(&Skips::default());
    let refusal = report.refusal().unwrap();
    assert_eq!(refusal.exit, ExitCode::UnsupportedHardware);
    assert_eq!(
        refusal.to_string(),
        "E_MEMORY_TOO_SMALL: this machine has 100 MiB of usable memory, this node needs 1792 MiB; add memory or lower memory_min_mib\n  \
         also E_NIC_NOMATCH (network.ports): interface cluster0: this machine has no interface with the MAC 52:54:00:00:00:12\n    \
         eno1 52:54:00:00:00:99 (link up)\n  \
         also E_TOOL_MISSING (image.tools): the live system lacks the programs sfdisk"
    );
    assert_eq!((report.counts.failed, report.counts.skipped), (3, 0));
}

#[test]
fn what_is_left_out_says_who_said_so_and_what_protects_data_is_made_all_the_same() {
    let mut world = World::healthy();
    world.inventory.cpu.cores = 1;
    world.inventory.memory_mib = 100;
    let mut skips = Skips::default();
    skips.add(&["cpu.cores".to_owned(), "memory.size".to_owned(), "disk.fsync".to_owned()], "--skip");
    world.purpose = Purpose::Install;
    let report = world.judge_all(&skips);
    assert_eq!(report.check("cpu.cores").unwrap().outcome, Outcome::Skipped);
    assert_eq!(report.check("memory.size").unwrap().outcome, Outcome::Fail);
    let recorded: Vec<_> = report.recorded().into_iter().filter(|r| r.outcome == Outcome::Skipped).collect();
    let shown: Vec<_> = recorded.iter().map(|r| format!("{}: {}", r.id, r.measured)).collect();
    assert_eq!(shown, ["cpu.cores: left out by --skip", "disk.fsync: left out by --skip"]);
}

#[test]
fn lines_and_table_say_what_somebody_should_know_and_nothing_else() {
    let mut world = World::healthy();
    world.purpose = Purpose::Install;
    world.inventory.cpu.level = Some("x86-64-v1".to_owned());
    world.facts.rtc = world::unknown();
    let mut skips = Skips::default();
    skips.add(&["cpu.cores".to_owned()], "metalstrap.skip");
    let report = world.judge_all(&skips);
    let passed = CATALOGUE.len() - 8;
    assert_eq!(
        render_lines(&report),
        [
            format!("preflight: {passed} passed, 1 warning, 1 could not run, 1 skipped"),
            "warning: cpu.level: x86-64-v1; give the virtual machine a newer CPU model (`host`), or run only images that are built for x86-64-v1".to_owned(),
            "could not run: clock.rtc: nobody could look".to_owned(),
            "skipped: cpu.cores: left out by metalstrap.skip".to_owned(),
        ]
    );
    let table = render_table(&report);
    let rows: Vec<&str> = table.lines().take(4).collect();
    assert_eq!(
        rows,
        [
            "hardware",
            "  warning        cpu.level             x86-64-v1",
            "                                       → give the virtual machine a newer CPU model (`host`), or run only images that are built for x86-64-v1",
            "  skipped        cpu.cores             left out by metalstrap.skip",
        ]
    );
    assert!(table.ends_with(&format!("{}\n", render_lines(&report)[0])));
}

#[test]
fn json_has_a_schema_and_a_page_for_every_check() {
    let json = serde_json::to_value(World::healthy().judge_all(&Skips::default())).unwrap();
    assert_eq!(json["schema"], "metalstrap.preflight/v1");
    let page = reference::render();
    for check in json["checks"].as_array().unwrap() {
        let (_, section) = check["page"].as_str().unwrap().split_once('#').unwrap();
        assert!(page.contains(&format!("(#{section})")), "{section}");
        for key in ["id", "class", "severity", "outcome", "measured", "threshold", "remedy"] {
            assert!(check[key].is_string(), "{key} of {check}");
        }
    }
}

#[test]
fn nothing_that_could_not_be_looked_at_passes() {
    let mut world = World::healthy();
    world.facts = Facts::unmeasured("a saved inventory was given");
    world.forget_node();
    world.medium = None;
    let report = world.judge_all(&Skips::default());
    let passed: Vec<&str> =
        report.checks.iter().filter(|c| c.outcome == Outcome::Pass).map(|c| c.id).collect();
    // These three are of the inventory alone.
    assert_eq!(passed, ["cpu.level", "firmware.secure-boot"]);
    assert_eq!(report.counts.failed, 0);
}

#[test]
fn the_reference_page_is_made_from_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/preflight-checks.md");
    if std::env::var_os("METALSTRAP_BLESS").is_some() {
        std::fs::write(&path, reference::render()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == reference::render(),
        "{} is old; METALSTRAP_BLESS=1 cargo test -p installer --test preflight writes it",
        path.display()
    );
}

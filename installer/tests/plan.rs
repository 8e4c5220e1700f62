//! The plan as data: goldens for the examples, order, refusals. Pure; no disk is touched.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use installer::disks::{DiskOverrides, choose_disk};
use installer::identify::identify_node;
use installer::inventory::parse_inventory;
use installer::plan::ids::InstallIds;
use installer::plan::layout::MIB;
use installer::plan::{
    Nic, PlanError, PlanInput, Planned, PlannedDisk, Step, machine_nics, plan_install, secrets,
};
use profiles::network::{LinkKind, NicMatch};
use profiles::node::{NodeConfig, NodeSecrets};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The plan for an example on a captured machine, as `metalstrap plan` makes it.
fn plan_of(example: &str, machine: &str, secrets: &NodeSecrets) -> Planned {
    let text = read(&format!("../profiles/examples/{example}"));
    let cluster = profiles::load(example, text.as_bytes(), None).cluster.unwrap();
    let inventory = parse_inventory(&read(&format!("tests/fixtures/inventory/{machine}"))).unwrap();
    let identified = identify_node(&cluster.identities(), &inventory, None).unwrap();
    let node = cluster.resolve(&identified.hostname).unwrap();
    let disk = choose_disk(&inventory, &node.disk, &node.requirements, &DiskOverrides::default()).unwrap();
    plan_install(&PlanInput {
        node: &node,
        secrets,
        nics: &machine_nics(&inventory),
        disk: &PlannedDisk::from(&disk),
        data_disks: &[],
        image: None,
        artifacts: None,
        ids: &InstallIds::for_plan(cluster.name(), &node.hostname, disk.serial()),
        cluster_exists: false,
    })
    .unwrap()
}

#[test]
fn the_plans_of_the_examples_are_the_goldens_in_every_run() {
    for (example, machine) in [
        ("single.toml", "qemu-master-1.json"),
        ("ha.toml", "qemu-uefi-master-2.json"),
        ("ha.toml", "proxy-dmz.json"),
        ("single.toml", "unfinished-install.json"),
    ] {
        // The contents of the rendered files have goldens of their own.
        let json = |planned: Planned| {
            let mut plan = planned.plan;
            plan.files.iter_mut().for_each(|file| (file.length, file.sha256) = (None, None));
            serde_json::to_string_pretty(&plan).unwrap()
        };
        let first = json(plan_of(example, machine, &NodeSecrets::default()));
        assert_eq!(first, json(plan_of(example, machine, &NodeSecrets::default())));
        let name = format!("{}-{}", example.trim_end_matches(".toml"), machine.trim_end_matches(".json"));
        insta::with_settings!({ snapshot_path => "goldens/plan", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, first);
        });
    }
}

#[test]
fn no_secret_stands_in_a_plan() {
    let planned = plan_of("single.toml", "qemu-master-1.json", &common::secrets());
    let json = serde_json::to_string(&planned.plan).unwrap();
    let text = installer::plan::text::render_text(&planned.plan);
    assert!(
        !json.contains("CANARY") && !text.contains("CANARY") && !format!("{planned:?}").contains("CANARY")
    );
    let hidden: Vec<_> = planned.plan.files.iter().filter(|f| f.secret).collect();
    assert!(!hidden.is_empty());
    assert!(hidden.iter().all(|f| f.length.is_none() && f.sha256.is_none() && f.mode == "0600"));
}

#[test]
fn a_missing_token_is_a_warning_in_a_plan_and_a_refusal_in_an_install() {
    let (forming, joining, worker) =
        (common::node("master-1"), common::node("master-2"), common::node("worker-1"));
    let none = NodeSecrets::default();
    assert!(
        secrets::may_generate(&forming)
            && !secrets::may_generate(&joining)
            && !secrets::may_generate(&worker)
    );
    assert_eq!(
        secrets::ensure_tokens(&joining, &none).unwrap_err().to_string(),
        "E_TOKEN_MISSING: master-2 is a master and needs server_token and agent_token; put it into secrets.toml beside the cluster file"
    );
    assert_eq!(
        secrets::ensure_tokens(&worker, &none).unwrap_err().to_string(),
        "E_TOKEN_MISSING: worker-1 is a worker and needs agent_token; put it into secrets.toml beside the cluster file"
    );
    assert!(secrets::ensure_tokens(&common::node("proxy-1"), &none).is_ok());
    assert!(secrets::ensure_tokens(&joining, &common::secrets()).is_ok());
    let warnings = plan_of("ha.toml", "qemu-uefi-master-2.json", &none).plan.warnings;
    assert_eq!(
        warnings[0],
        "server_token is missing in secrets.toml: an install refuses with E_TOKEN_MISSING"
    );
}

fn try_plan(
    node: &NodeConfig,
    nics: &[Nic],
    size_bytes: u64,
    sector_bytes: u64,
) -> Result<Planned, PlanError> {
    let disk = PlannedDisk {
        path: "/dev/vda".to_owned(),
        serial: "S1".to_owned(),
        by_id: None,
        sequence: None,
        model: String::new(),
        size_bytes,
        sector_bytes,
        reason: "it is empty".to_owned(),
    };
    plan_install(&PlanInput {
        node,
        secrets: &common::secrets(),
        nics,
        disk: &disk,
        data_disks: &[],
        image: None,
        artifacts: None,
        ids: &InstallIds::for_plan("ha", &node.hostname, "S1"),
        cluster_exists: false,
    })
}

#[test]
fn refusals_say_exactly_what_is_wrong() {
    let node = common::node("master-1");
    let refusal = |result: Result<Planned, PlanError>| result.unwrap_err().refusal().to_string();
    assert_eq!(
        refusal(try_plan(&node, &common::nics(), 4610 * MIB, 512)),
        "E_DISK_TOO_SMALL: /dev/vda: the disk has 4610 MiB, the layout needs 4611 MiB"
    );
    assert_eq!(
        refusal(try_plan(&node, &common::nics(), 1 << 40, 520)),
        "E_SECTOR_SIZE: /dev/vda: the disk has sectors of 520 bytes; 512 and 4096 are supported"
    );
    let other =
        Nic { name: "eth9".to_owned(), mac: "52:54:00:00:00:99".parse().unwrap(), carrier: Some(false) };
    assert_eq!(
        refusal(try_plan(&node, std::slice::from_ref(&other), 1 << 40, 512)),
        "E_NIC_NOMATCH: interface cluster0: this machine has no interface with the MAC 52:54:00:00:00:11\n  \
         eth9 52:54:00:00:00:99 (no link)"
    );
    let mut any_mac = node.clone();
    any_mac.interfaces[0].mac = None;
    for link in any_mac.network.links_mut() {
        link.kind = LinkKind::Physical { nic: NicMatch::Only };
    }
    let two = [common::nics().remove(0), other];
    assert_eq!(
        refusal(try_plan(&any_mac, &two, 1 << 40, 512)),
        "E_NIC_NOMATCH: interface cluster0: the cluster file names no MAC and 2 interfaces could be meant; name one with mac = \"…\"\n  \
         eth0 52:54:00:00:00:11 (link up)\n  eth9 52:54:00:00:00:99 (no link)"
    );
    let planned = try_plan(&any_mac, &common::nics(), 1 << 40, 512).unwrap();
    assert_eq!(
        planned.plan.node.interfaces,
        ["cluster0: card 52:54:00:00:00:11, 10.0.0.11/22, gateway 10.0.0.1, DNS 10.0.0.1"]
    );
}

proptest! {
    /// Whatever the disk: mark first and last, verify before loader, record after everything was read back, and no byte
    /// outside of the disk.
    #[test]
    fn any_plan_keeps_the_order_and_stays_on_its_disk(
        mib in 4611u64..200_000, odd_sectors in 0u64..2048, large in any::<bool>(), role in 0usize..4,
    ) {
        let node = common::node(["master-1", "master-2", "worker-1", "proxy-1"][role]);
        let nics: Vec<Nic> = node.interfaces.iter().filter_map(|i| Some(Nic { name: i.name.clone(), mac: i.mac?, carrier: None })).collect();
        let sector = if large { 4096 } else { 512 };
        let size = mib * MIB + odd_sectors * sector;
        let plan = try_plan(&node, &nics, size, sector).unwrap().plan;
        let steps: Vec<&Step> = plan.steps().collect();
        let at = |name: &str| steps.iter().position(|s| s.name() == name).unwrap();
        let writes: Vec<&str> = steps.iter().filter(|s| s.writes()).map(|s| s.name()).collect();
        prop_assert_eq!(writes.first(), Some(&"write-mark"));
        prop_assert_eq!(steps.last().map(|s| s.name()), Some("remove-mark"));
        prop_assert!(at("verify-root") < at("rename-loader"));
        prop_assert!(at("rename-loader") < at("verify-boot") && at("verify-boot") < at("write-record"));
        prop_assert_eq!(steps.iter().any(|s| s.name() == "write-boot-code"), !large);
        for step in &steps {
            if let Step::Erase { ranges } = step {
                prop_assert!(ranges.iter().all(|r| r.offset_bytes + r.length_bytes <= size));
            }
        }
        prop_assert!(plan.layout.partitions.iter().all(|p| p.offset_bytes + p.length_bytes < size));
        let json = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(json.matches("/dev/vda").count(), 1);
        let back: installer::plan::InstallPlan = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(back, plan);
    }
}

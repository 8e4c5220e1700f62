//! What holds of every node with data disks, whatever its disks are: no disk has two purposes, order decides nothing, nothing is taken that
//! would not be empty, unfinished, given up or kept, and a plan names only what was chosen.

use super::properties::{machine_with, some_disks, some_wishes};
use installer::disks::{DiskOverrides, choose_disks};
use installer::inventory::Disk;
use installer::plan::data::{DataChoice, DataMark};
use installer::plan::ids::InstallIds;
use installer::plan::{Nic, PlanInput, PlannedDisk, plan_install};
use profiles::node::{DataDisk, DiskSelector, NodeConfig, NodeSecrets, Requirements};
use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest};
use std::collections::BTreeSet;
use std::sync::LazyLock;
use uuid::Uuid;

const MOUNTS: [&str; 3] = ["/var/lib/a", "/var/lib/rancher", "/var/lib/rancher/k3s/storage"];

static NODE: LazyLock<NodeConfig> = LazyLock::new(|| {
    let text = include_str!("../../../profiles/examples/single.toml");
    let cluster = profiles::load("single.toml", text.as_bytes(), None).cluster.unwrap();
    let node = cluster.resolve("master-1").unwrap();
    NodeConfig { requirements: Requirements { memory_min_mib: 0, disk_min_mib: 8192 }, ..node }
});

/// Some of the disks hold data of ours: of this node and of another.
fn with_marks(mut disks: Vec<Disk>, marks: &[Option<(usize, bool)>]) -> Vec<Disk> {
    for (disk, (mount, own)) in disks.iter_mut().zip(marks).filter_map(|(d, m)| Some((d, (*m)?))) {
        if disk.install_record.is_some() || disk.unfinished_install.is_some() {
            continue;
        }
        disk.empty = false;
        disk.data_mark = Some(DataMark {
            install: Uuid::from_u128(3),
            cluster: NODE.cluster.name.clone(),
            hostname: if own { "master-1" } else { "master-9" }.to_owned(),
            role: "master".to_owned(),
            mount: MOUNTS[mount].to_owned(),
        });
    }
    disks
}

type Case = (Vec<Disk>, DiskSelector, Vec<(usize, DiskSelector, bool)>);

fn some_case() -> impl Strategy<Value = Case> {
    let mark = prop::option::of((0..MOUNTS.len(), any::<bool>()));
    (some_disks(), prop::collection::vec(mark, 8)).prop_flat_map(|(disks, marks)| {
        let disks = with_marks(disks, &marks);
        let entry = (0..MOUNTS.len(), some_wishes(&disks), any::<bool>());
        (Just(disks.clone()), some_wishes(&disks), prop::collection::vec(entry, 1..4))
    })
}

fn node_of(system: &DiskSelector, entries: &[(usize, DiskSelector, bool)]) -> NodeConfig {
    let mut seen = BTreeSet::new();
    let entries = entries.iter().filter(|(mount, _, _)| seen.insert(*mount));
    let data_disks = entries
        .map(|(mount, disk, keep)| DataDisk {
            mount: MOUNTS[*mount].to_owned(),
            disk: disk.clone(),
            keep: *keep,
        })
        .collect();
    NodeConfig { disk: system.clone(), data_disks, ..NODE.clone() }
}

proptest! {
    #[test]
    fn every_disk_has_one_purpose_and_is_entitled((disks, system, entries) in some_case()) {
        let node = node_of(&system, &entries);
        let inventory = machine_with(disks.clone());
        let chosen = choose_disks(&inventory, &node, &DiskOverrides::default());
        let backwards = machine_with(disks.into_iter().rev().collect());
        prop_assert_eq!(&choose_disks(&backwards, &node, &DiskOverrides::default()), &chosen);
        let Ok(chosen) = chosen else { return Ok(()) };

        let mut paths = BTreeSet::from([chosen.system().path()]);
        prop_assert_eq!(chosen.data().len(), node.data_disks.len());
        for (data, entry) in chosen.data().iter().zip(&node.data_disks) {
            let disk = data.target().disk();
            prop_assert!(paths.insert(data.target().path()), "{} twice", data.target().path());
            prop_assert!(!disk.boot_medium && !disk.removable && !disk.read_only && disk.holders.is_empty());
            let own = disk.data_mark.as_ref().is_some_and(|mark| {
                mark.hostname == node.hostname && mark.mount == entry.mount
            });
            prop_assert_eq!(data.kept().is_some(), own && entry.keep);
            let given_up = entry.disk.wipe.is_some() && entry.disk.wipe == disk.serial;
            let maker = disk.data_mark.as_ref().map(|mark| mark.install);
            let of_unfinished = maker.is_some() && inventory.disks.iter().any(|d| d.unfinished_install == maker);
            let is_free = disk.empty || disk.unfinished_install.is_some() || of_unfinished;
            prop_assert!(is_free || given_up || data.kept().is_some());
        }

        let nic = Nic { name: "eth0".to_owned(), mac: node.interfaces[0].mac.unwrap(), carrier: None };
        let planned = plan_install(&PlanInput {
            node: &node,
            secrets: &NodeSecrets::default(),
            nics: &[nic],
            disk: &PlannedDisk::from(chosen.system()),
            data_disks: &chosen.data().iter().map(DataChoice::from).collect::<Vec<_>>(),
            image: None,
            artifacts: None,
            cluster_exists: false,
            ids: &InstallIds::for_plan("lab", &node.hostname, chosen.system().serial()),
        }).unwrap();
        let text = serde_json::to_string(&planned.plan).unwrap();
        let words: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '/').collect();
        for disk in &inventory.disks {
            prop_assert_eq!(words.contains(disk.path.as_str()), paths.contains(disk.path.as_str()), "{}", &disk.path);
        }
        // What is kept is only ever checked, repaired and filled.
        for step in planned.plan.steps().filter(|step| step.writes()) {
            let makes = ["write-data-mark", "erase-data", "write-data-table", "make-data-fs", "finish-data"];
            let shown = serde_json::to_value(step).unwrap();
            if let (true, Some(mount)) = (makes.contains(&step.name()), shown["mount"].as_str()) {
                prop_assert!(!planned.plan.data_disk(mount).unwrap().keep, "{}", shown);
            }
        }
    }
}

//! What holds of every machine, whatever its disks are: the order decides nothing, a disk that may not be taken decides nothing,
//! consent for one disk takes no other, and a plan names no disk but the chosen one.

use super::{catalogue, choose};
use installer::disks::{DiskOverrides, choose_disk};
use installer::inventory::{Disk, HealthStatus, Inventory};
use installer::plan::ids::InstallIds;
use installer::plan::{PlanInput, PlannedDisk, machine_nics, plan_install};
use profiles::node::{DiskSelector, NodeSecrets, Requirements};
use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest};
use std::sync::LazyLock;

/// All disks of the catalogue, each with an identity of its own.
static DISKS: LazyLock<Vec<Disk>> = LazyLock::new(all_disks);

fn all_disks() -> Vec<Disk> {
    let disks = catalogue::machines().into_iter().flat_map(|machine| machine.inventory.disks);
    disks
        .enumerate()
        .map(|(n, disk)| Disk {
            path: format!("/dev/t{n:03}"),
            serial: disk.serial.is_some().then(|| format!("SN{n:03}")),
            wwn: disk.wwn.is_some().then(|| format!("WWN{n:03}")),
            by_path: disk.by_path.is_some().then(|| format!("path-{n:03}")),
            ..disk
        })
        .collect()
}

pub(super) fn machine_with(disks: Vec<Disk>) -> Inventory {
    static BASE: LazyLock<Inventory> = LazyLock::new(|| catalogue::machines().remove(0).inventory);
    Inventory { disks, ..BASE.clone() }
}

/// Up to eight disks of the catalogue.
pub(super) fn some_disks() -> impl Strategy<Value = Vec<Disk>> {
    prop::collection::btree_set(0..DISKS.len(), 0..8)
        .prop_map(|picked| picked.into_iter().map(|n| DISKS[n].clone()).collect())
}

/// A selector that some of the disks may fit, and consent for one of them or for none.
pub(super) fn some_wishes(disks: &[Disk]) -> impl Strategy<Value = DiskSelector> + use<> {
    let serials: Vec<Option<String>> =
        disks.iter().map(|disk| disk.serial.clone()).chain([None, None]).collect();
    let sizes = [None, Some(">= 100GB"), Some("< 1TB"), Some(">= 10GiB, <= 2TB")];
    let kinds = [None, None, Some("ssd"), Some("hdd"), Some("nvme"), Some("virtual")];
    let pick = prop::sample::select(serials.clone());
    (
        pick.clone(),
        pick,
        prop::sample::select(sizes.to_vec()),
        prop::sample::select(kinds.to_vec()),
        any::<bool>(),
    )
        .prop_map(|(serial, wipe, size, kind, by_serial)| DiskSelector {
            serial: serial.filter(|_| by_serial),
            wipe,
            size: size.map(|text| text.parse().unwrap()),
            kind: kind.map(|text| serde_json::from_value(serde_json::json!(text)).unwrap()),
            ..DiskSelector::default()
        })
}

const NEEDS: Requirements = super::NEEDS;

fn chosen(disks: Vec<Disk>, selector: &DiskSelector) -> Result<String, &'static str> {
    let choice = choose_disk(&machine_with(disks), selector, &NEEDS, &DiskOverrides::default());
    choice.map(|target| target.path().to_owned()).map_err(|refusal| refusal.code)
}

proptest! {
    #[test]
    fn the_order_of_the_disks_never_changes_the_choice(
        (disks, shuffled, selector) in some_disks().prop_flat_map(|disks| {
            let wishes = some_wishes(&disks);
            (Just(disks.clone()), Just(disks).prop_shuffle(), wishes)
        }),
    ) {
        prop_assert_eq!(chosen(disks, &selector), chosen(shuffled, &selector));
    }

    #[test]
    fn a_disk_that_may_not_be_taken_never_changes_the_choice(
        (disks, extra, selector) in some_disks().prop_flat_map(|disks| {
            let wishes = some_wishes(&disks);
            (Just(disks), (0..DISKS.len()), wishes)
        }),
    ) {
        // Alone and with nothing given up, it is refused; its path is none of the others'.
        let extra = DISKS[extra].clone();
        let extra = Disk { path: "/dev/extra".to_owned(), serial: Some("EXTRA".to_owned()), wwn: None, ..extra };
        let wide = DiskSelector { transport: selector.transport, ..DiskSelector::default() };
        if chosen(vec![extra.clone()], &wide).is_err() {
            let with = [disks.clone(), vec![extra]].concat();
            let (before, after) = (chosen(disks, &selector), chosen(with, &selector));
            prop_assert_eq!(before.clone().ok(), after.clone().ok(), "{:?} {:?}", before, after);
        }
    }

    #[test]
    fn consent_for_one_disk_never_takes_another(
        (disks, selector) in some_disks().prop_flat_map(|disks| {
            let wishes = some_wishes(&disks);
            (Just(disks), wishes)
        }),
    ) {
        let inventory = machine_with(disks);
        if let Ok(target) = choose_disk(&inventory, &selector, &NEEDS, &DiskOverrides::default()) {
            let disk = target.disk();
            let is_free = disk.install_record.is_none() && (disk.empty || disk.unfinished_install.is_some());
            prop_assert!(is_free || (selector.wipe.is_some() && disk.serial == selector.wipe));
            prop_assert!(!disk.boot_medium && !disk.removable && !disk.read_only && disk.holders.is_empty());
            prop_assert!(disk.health.status != HealthStatus::Failing && disk.transport.as_deref() != Some("usb"));
            prop_assert!(selector.size.as_ref().is_none_or(|size| size.contains(disk.size_bytes)));
            prop_assert!(selector.serial.is_none() || selector.serial == disk.serial);
            prop_assert!(selector.kind.is_none_or(|kind| kind == disk.kind()));
        }
    }
}

#[test]
fn a_plan_names_no_disk_but_the_chosen_one() {
    let text = include_str!("../../../profiles/examples/single.toml");
    let cluster = profiles::load("single.toml", text.as_bytes(), None).cluster.unwrap();
    let node = cluster.resolve("master-1").unwrap();
    let mut planned_for = 0;
    for machine in catalogue::machines() {
        let Ok(target) = choose(&machine.inventory, &machine.words) else { continue };
        let nic = machine_nics(&machine.inventory)
            .into_iter()
            .next()
            .map(|nic| installer::plan::Nic { mac: node.interfaces[0].mac.unwrap_or(nic.mac), ..nic });
        let planned = plan_install(&PlanInput {
            node: &node,
            secrets: &NodeSecrets::default(),
            nics: &nic.into_iter().collect::<Vec<_>>(),
            disk: &PlannedDisk::from(&target),
            data_disks: &[],
            image: None,
            artifacts: None,
            ids: &InstallIds::for_plan("lab", &node.hostname, target.serial()),
            cluster_exists: false,
        })
        .unwrap_or_else(|error| panic!("{}: {error}", machine.name));
        let plan = serde_json::to_string(&planned.plan).unwrap();
        let words: Vec<&str> = plan.split(|c: char| !c.is_ascii_alphanumeric() && c != '/').collect();
        assert!(words.contains(&target.path()), "{}: {plan}", machine.name);
        for other in machine.inventory.disks.iter().filter(|disk| disk.path != target.path()) {
            assert!(!words.contains(&other.path.as_str()), "{}: {} is in the plan", machine.name, other.path);
            let of_other =
                other.serial.as_ref().filter(|serial| Some(*serial) != target.disk().serial.as_ref());
            assert!(
                of_other.is_none_or(|serial| !plan.contains(serial.as_str())),
                "{}: {serial:?}",
                machine.name,
                serial = other.serial
            );
        }
        planned_for += 1;
    }
    assert!(planned_for >= 30, "{planned_for}");
}

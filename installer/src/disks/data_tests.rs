//! Data disks: which one, which never, and what is kept.

use super::{DiskOverrides, choose_data_disks, choose_disk};
use crate::inventory::{Disk, Inventory, Signature, parse_inventory};
use crate::plan::data::DataMark;
use crate::refusal::Refusal;
use profiles::node::NodeConfig;
use uuid::Uuid;

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// `master-1` of cluster `lab` with these lines in its table.
fn node(lines: &str) -> NodeConfig {
    let file = read("../profiles/examples/single.toml");
    let text = file.replacen("hostname = \"master-1\"", &format!("hostname = \"master-1\"\n{lines}"), 1);
    let loaded = profiles::load("single.toml", text.as_bytes(), None);
    loaded.cluster.unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics)).resolve("master-1").unwrap()
}

/// A machine with two empty disks `/dev/sda` and `/dev/sdb` of 447 GiB, serials ending in 5 and 6, and a third like them.
fn machine() -> Inventory {
    let mut inventory = parse_inventory(&read("tests/fixtures/inventory/two-empty-disks.json")).unwrap();
    let mut third = inventory.disks[1].clone();
    third.path = "/dev/sdc".to_owned();
    third.serial = Some("2031A2B3C4D7".to_owned());
    third.wwn = Some("0x500a075127d5c4b5".to_owned());
    third.by_path = Some("pci-0000:00:17.0-ata-3".to_owned());
    inventory.disks.push(third);
    inventory
}

fn disk<'a>(inventory: &'a mut Inventory, path: &str) -> &'a mut Disk {
    inventory.disks.iter_mut().find(|disk| disk.path == path).unwrap()
}

/// Puts data of ours on a disk.
fn put_data(disk: &mut Disk, cluster: &str, hostname: &str, role: &str, mount: &str) {
    disk.empty = false;
    let kind = "gpt".to_owned();
    disk.contents.push(Signature { kind, label: None, place: disk.path.clone() });
    disk.data_mark = Some(DataMark {
        install: Uuid::from_u128(5),
        cluster: cluster.to_owned(),
        hostname: hostname.to_owned(),
        role: role.to_owned(),
        mount: mount.to_owned(),
    });
}

/// What is chosen: `PATH for MOUNT, new|kept`, and the warnings.
fn choose(inventory: &Inventory, lines: &str) -> Result<Vec<String>, String> {
    choose_over(inventory, lines, &DiskOverrides::default())
}

fn choose_over(inventory: &Inventory, lines: &str, overrides: &DiskOverrides) -> Result<Vec<String>, String> {
    let node = node(lines);
    let system = choose_disk(inventory, &node.disk, &node.requirements, overrides)
        .map_err(|e| format!("system: {e}"))?;
    let chosen = choose_data_disks(inventory, &system, &node, overrides)
        .map_err(|refusal| Refusal::from(refusal).to_string())?;
    Ok(chosen
        .iter()
        .flat_map(|data| {
            let what = if data.kept().is_some() { "kept" } else { "new" };
            let line = format!("{} for {}, {what}", data.target().path(), data.mount());
            std::iter::once(line).chain(data.warnings().iter().cloned())
        })
        .collect())
}

const SYSTEM: &str = "disk = { serial = \"2031A2B3C4D5\" }\n";
const RANCHER: &str = "data_disks = [{ mount = \"/var/lib/rancher\" }]";

fn with(data: &str) -> String {
    format!("{SYSTEM}data_disks = [{data}]")
}

/// The cluster name of the example.
fn cluster() -> String {
    node(SYSTEM).cluster.name
}

#[test]
fn never_takes_the_system_disk() {
    let mut inventory = machine();
    inventory.disks.truncate(2);
    assert_eq!(
        choose(&inventory, &format!("{SYSTEM}{RANCHER}")).unwrap(),
        ["/dev/sdb for /var/lib/rancher, new"]
    );
    let same =
        with("{ mount = \"/var/lib/rancher\", disk = { model = \"Micron*\", by_path = \"*-ata-1\" } }");
    assert_eq!(
        choose(&inventory, &same).unwrap_err(),
        "E_DISK_NO_MATCH: data disk for /var/lib/rancher: no disk has by_path \"*-ata-1\" and model \"Micron*\"; \
         correct the selector or attach the disk\n  \
         /dev/sda (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial 2031A2B3C4D5): not taken: it is the system disk\n  \
         /dev/sdb (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial 2031A2B3C4D6): not the disk asked for \
         (by_path \"*-ata-1\" and model \"Micron*\"): its by_path is pci-0000:00:17.0-ata-2"
    );
    inventory.disks.truncate(1);
    assert_eq!(
        choose(&inventory, &format!("{SYSTEM}{RANCHER}")).unwrap_err(),
        "E_DISK_NONE: data disk for /var/lib/rancher: this machine has no further disk; attach one\n  \
         /dev/sda (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial 2031A2B3C4D5): not taken: it is the system disk"
    );
}

#[test]
fn refuses_when_several_disks_fit_and_lists_them() {
    assert_eq!(
        choose(&machine(), &format!("{SYSTEM}{RANCHER}")).unwrap_err(),
        "E_DISK_AMBIGUOUS: data disk for /var/lib/rancher: 2 disks can be taken; name one with disk.serial in the cluster file\n  \
         /dev/sda (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial 2031A2B3C4D5): not taken: it is the system disk\n  \
         /dev/sdb (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial 2031A2B3C4D6): may be taken: empty\n  \
         /dev/sdc (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial 2031A2B3C4D7): may be taken: empty"
    );
}

#[test]
fn no_disk_serves_two_places() {
    let both = with(
        "{ mount = \"/var/lib/a\", disk = { serial = \"2031A2B3C4D6\" } }, { mount = \"/var/lib/b\", disk = { by_path = \"*-ata-2\" } }",
    );
    let text = choose(&machine(), &both).unwrap_err();
    assert!(
        text.starts_with(
            "E_DISK_CLAIMED_TWICE: the data disks for /var/lib/a and /var/lib/b would both be /dev/sdb; \
             make their selectors exclude each other\n"
        ),
        "{text}"
    );
    assert_eq!(text.lines().count(), 4, "every disk is listed: {text}");
    let apart = both.replace("*-ata-2", "*-ata-3");
    assert_eq!(
        choose(&machine(), &apart).unwrap(),
        ["/dev/sdb for /var/lib/a, new", "/dev/sdc for /var/lib/b, new"]
    );
}

#[test]
fn foreign_data_needs_the_name_of_that_very_disk() {
    let mut inventory = machine();
    inventory.disks.truncate(2);
    put_data(disk(&mut inventory, "/dev/sdb"), &cluster(), "worker-9", "worker", "/var/lib/rancher");
    assert_eq!(
        choose(&inventory, &format!("{SYSTEM}{RANCHER}")).unwrap_err(),
        format!(
            "E_DISK_HAS_DATA: data disk for /var/lib/rancher: no disk can be taken: it holds data; to lose that for good set \
             disk.wipe or metalstrap.wipe to the name given below\n  \
             /dev/sda (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial 2031A2B3C4D5): not taken: it is the system disk\n  \
             /dev/sdb (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial 2031A2B3C4D6): holds data: data of worker-9 (worker) of \
             cluster {} for /var/lib/rancher, made by metalstrap; to lose it: wipe = \"2031A2B3C4D6\"",
            cluster()
        )
    );
    let consent =
        |name: &str| with(&format!("{{ mount = \"/var/lib/rancher\", disk = {{ wipe = \"{name}\" }} }}"));
    assert!(choose(&inventory, &consent("2031A2B3C4D5")).unwrap_err().starts_with("E_DISK_WIPE_MISMATCH: "));
    assert_eq!(choose(&inventory, &consent("2031A2B3C4D6")).unwrap(), ["/dev/sdb for /var/lib/rancher, new"]);
    let overrides = DiskOverrides { serial: None, wipe: Some("2031A2B3C4D6".to_owned()), reinstall: None };
    let by_kernel = choose_over(&inventory, &format!("{SYSTEM}{RANCHER}"), &overrides);
    assert_eq!(by_kernel.unwrap(), ["/dev/sdb for /var/lib/rancher, new"]);
}

#[test]
fn own_data_is_kept_before_any_empty_disk_is_taken() {
    let mut inventory = machine();
    put_data(disk(&mut inventory, "/dev/sdc"), &cluster(), "master-1", "master", "/var/lib/rancher");
    let plain = format!("{SYSTEM}{RANCHER}");
    assert_eq!(choose(&inventory, &plain).unwrap(), ["/dev/sdc for /var/lib/rancher, kept"]);
    // A consent that was left in the file after the first install does not lose the data.
    let consent = "{ mount = \"/var/lib/rancher\", disk = { wipe = \"2031A2B3C4D7\" } }";
    assert_eq!(choose(&inventory, &with(consent)).unwrap(), ["/dev/sdc for /var/lib/rancher, kept"]);
    // Only both words together do.
    let anew = "{ mount = \"/var/lib/rancher\", keep = false, disk = { serial = \"2031A2B3C4D7\", wipe = \"2031A2B3C4D7\" } }";
    assert_eq!(choose(&inventory, &with(anew)).unwrap(), ["/dev/sdc for /var/lib/rancher, new"]);
    let half = anew.replace(", wipe = \"2031A2B3C4D7\"", "");
    assert!(choose(&inventory, &with(&half)).unwrap_err().starts_with("E_DISK_HAS_DATA: "));
    // Data of an install that has not ended is not kept: it never was any.
    let sdc = disk(&mut inventory, "/dev/sdc");
    (sdc.data_mark, sdc.unfinished_install) = (None, Some(Uuid::from_u128(5)));
    assert!(choose(&inventory, &plain).unwrap_err().starts_with("E_DISK_AMBIGUOUS: "));
}

#[test]
fn nothing_is_taken_in_the_place_of_own_data() {
    let mut inventory = machine();
    let plain = format!("{SYSTEM}{RANCHER}");
    put_data(disk(&mut inventory, "/dev/sdc"), &cluster(), "master-1", "master", "/var/lib/rancher");
    disk(&mut inventory, "/dev/sdc").read_only = true;
    let text = choose(&inventory, &plain).unwrap_err();
    assert!(
        text.starts_with(
            "E_DISK_READ_ONLY: data disk for /var/lib/rancher: the disk that holds the data of this node cannot be taken: \
             it is read-only; no other is taken in its place\n"
        ),
        "{text}"
    );
    disk(&mut inventory, "/dev/sdc").read_only = false;
    put_data(disk(&mut inventory, "/dev/sdb"), &cluster(), "master-1", "master", "/var/lib/rancher");
    let text = choose(&inventory, &plain).unwrap_err();
    assert!(
        text.starts_with(
            "E_DISK_AMBIGUOUS: data disk for /var/lib/rancher: 2 disks hold data of this node for this place; \
             name the right one with disk.serial in the cluster file\n"
        ),
        "{text}"
    );
    // When the operator names another disk the one with the data is left alone, and that is said.
    let named = "{ mount = \"/var/lib/rancher\", disk = { serial = \"2031A2B3C4D7\" } }";
    assert_eq!(
        choose(&inventory, &with(named)).unwrap(),
        [
            "/dev/sdc for /var/lib/rancher, kept",
            "/dev/sdb (447.1 GiB sata, Micron_5300_MTFDDAK480TDS, serial 2031A2B3C4D6): it holds data of this node for \
             /var/lib/rancher and is not taken"
        ]
    );
    // In which order the kernel has found the disks says nothing.
    let mut fourth = machine().disks[2].clone();
    fourth.path = "/dev/sdd".to_owned();
    fourth.serial = Some("2031A2B3C4D8".to_owned());
    fourth.wwn = None;
    inventory.disks.push(fourth);
    let named = with("{ mount = \"/var/lib/rancher\", disk = { serial = \"2031A2B3C4D8\" } }");
    let said = choose(&inventory, &named).unwrap();
    let paths: Vec<&str> = said.iter().map(|line| &line[..8]).collect();
    assert_eq!(paths, ["/dev/sdd", "/dev/sdb", "/dev/sdc"]);
    inventory.disks.reverse();
    assert_eq!(choose(&inventory, &named).unwrap(), said);
}

#[test]
fn only_the_same_node_role_place_and_cluster_is_own_data() {
    let name = cluster();
    for (cluster, host, role, mount) in [
        ("other", "master-1", "master", "/var/lib/rancher"),
        (&name, "master-2", "master", "/var/lib/rancher"),
        (&name, "master-1", "worker", "/var/lib/rancher"),
        (&name, "master-1", "master", "/var/lib/rancher2"),
    ] {
        let mut inventory = machine();
        inventory.disks.truncate(2);
        put_data(disk(&mut inventory, "/dev/sdb"), cluster, host, role, mount);
        let text = choose(&inventory, &format!("{SYSTEM}{RANCHER}")).unwrap_err();
        assert!(text.starts_with("E_DISK_HAS_DATA: "), "{text}");
    }
}

#[test]
fn own_data_is_never_free_for_the_system() {
    let mut inventory = machine();
    inventory.disks.truncate(2);
    put_data(disk(&mut inventory, "/dev/sdb"), &cluster(), "master-1", "master", "/var/lib/rancher");
    // Without any selector the empty disk is the system's and the other one keeps its data.
    assert_eq!(choose(&inventory, RANCHER).unwrap(), ["/dev/sdb for /var/lib/rancher, kept"]);
    inventory.disks.remove(0);
    assert!(choose(&inventory, RANCHER).unwrap_err().starts_with("system: E_DISK_HAS_DATA: "));
}

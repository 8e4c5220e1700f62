//! Matching, with exact text for every refusal.

use super::{ensure_memory, identify_node};
use crate::exit::ExitCode;
use crate::inventory::{Inventory, parse_inventory};
use profiles::NodeIdentity;
use profiles::node::{Identity, Requirements, Role};

fn fixture(name: &str) -> Inventory {
    let path = format!("{}/tests/fixtures/inventory/{name}.json", env!("CARGO_MANIFEST_DIR"));
    parse_inventory(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn node(hostname: &str, mac: Option<&str>, serial: Option<&str>, uuid: Option<&str>) -> NodeIdentity {
    let identity = Identity {
        macs: mac.iter().map(|mac| mac.parse().unwrap()).collect(),
        serial: serial.map(str::to_owned),
        uuid: uuid.map(|uuid| uuid.parse().unwrap()),
    };
    NodeIdentity { hostname: hostname.to_owned(), role: Role::Worker, identity }
}

fn nodes() -> Vec<NodeIdentity> {
    vec![
        node("a", Some("52:54:00:00:00:11"), None, None),
        node("b", None, Some("7XJK2P3"), None),
        node("c", None, None, Some("00000000-0000-0000-0000-3cecef001001")),
    ]
}

#[test]
fn recognises_a_machine_by_mac_serial_or_uuid() {
    for (machine, hostname, because) in [
        ("qemu-master-1", "a", "port ens3 has the MAC 52:54:00:00:00:11"),
        ("nvme-server", "b", "the machine has the serial 7XJK2P3"),
        ("sata-server", "c", "the machine has the UUID 00000000-0000-0000-0000-3cecef001001"),
    ] {
        let found = identify_node(&nodes(), &fixture(machine), None).unwrap();
        assert_eq!((found.hostname.as_str(), found.because.as_str()), (hostname, because));
    }
}

#[test]
fn the_name_given_by_the_operator_wins_over_the_hardware() {
    let found = identify_node(&nodes(), &fixture("qemu-master-1"), Some("b")).unwrap();
    assert_eq!((found.hostname.as_str(), found.because.as_str()), ("b", "it was named by the operator"));
}

#[test]
fn a_name_that_is_not_in_the_file_is_refused() {
    let refusal = identify_node(&nodes(), &fixture("qemu-master-1"), Some("z\x1b")).unwrap_err();
    assert_eq!(refusal.exit, ExitCode::InvalidInput);
    assert_eq!(
        refusal.to_string(),
        "E_NODE_NONE: the cluster file has no node \"z\\u{1b}\"\n  node a\n  node b\n  node c"
    );
}

#[test]
fn an_unknown_machine_is_refused_with_what_it_has() {
    let refusal = identify_node(&nodes(), &fixture("proxy-dmz"), None).unwrap_err();
    assert_eq!(refusal.exit, ExitCode::InvalidInput);
    assert_eq!(
        refusal.to_string(),
        "E_NODE_NONE: no node of the cluster file has the hardware of this machine; \
         add one of its addresses to the file or start with metalstrap.node=HOSTNAME\n  \
         this machine: MAC 52:54:00:00:00:07 (port ens3)\n  \
         this machine: MAC 52:54:00:00:01:10 (port ens4)\n  \
         this machine: UUID 5d0b3f6e-0c1a-4f5e-9a35-52540000aa11\n  \
         node a: MAC 52:54:00:00:00:11\n  node b: serial 7XJK2P3\n  node c: UUID 00000000-0000-0000-0000-3cecef001001"
    );
}

#[test]
fn two_matching_nodes_are_refused() {
    let mut nodes = nodes();
    nodes.push(node("d", None, None, Some("5d0b3f6e-0c1a-4f5e-9a35-52540000aa11")));
    let refusal = identify_node(&nodes, &fixture("qemu-master-1"), None).unwrap_err();
    assert_eq!(refusal.exit, ExitCode::InvalidInput);
    assert_eq!(
        refusal.to_string(),
        "E_NODE_AMBIGUOUS: this machine matches 2 nodes: a, d; make their identities disjoint or start with metalstrap.node=HOSTNAME\n  \
         this machine: MAC 52:54:00:00:00:11 (port ens3)\n  \
         this machine: UUID 5d0b3f6e-0c1a-4f5e-9a35-52540000aa11\n  \
         node a: port ens3 has the MAC 52:54:00:00:00:11\n  \
         node d: the machine has the UUID 5d0b3f6e-0c1a-4f5e-9a35-52540000aa11"
    );
}

#[test]
fn a_bridge_does_not_identify_a_machine() {
    let mut inventory = fixture("qemu-master-1");
    inventory.nics[0].is_virtual = true;
    assert_eq!(identify_node(&nodes(), &inventory, None).unwrap_err().code, "E_NODE_NONE");
}

#[test]
fn memory_is_held_against_the_need_of_the_node() {
    let needs = |memory_min_mib| Requirements { memory_min_mib, disk_min_mib: 0 };
    assert_eq!(ensure_memory(&fixture("small-memory"), &needs(470)), Ok(()));
    let refusal = ensure_memory(&fixture("small-memory"), &needs(471)).unwrap_err();
    assert_eq!(refusal.exit, ExitCode::UnsupportedHardware);
    assert_eq!(
        refusal.to_string(),
        "E_MEMORY_TOO_SMALL: this machine has 470 MiB of usable memory, this node needs 471 MiB; \
         add memory or lower memory_min_mib"
    );
}

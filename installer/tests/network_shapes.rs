//! Networks of every shape become files of networkd: goldens for each good file of the corpus, and every key held against the
//! tables in the program of Debian 12 itself, which says nothing about keys it does not know but in its log.
//!
//! `METALSTRAP_BLESS=1 cargo test -p installer --test network_shapes` writes the goldens anew; read the difference.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may, and writes only when asked to"
)]

use installer::render::networkd::{Place, files};
use profiles::network::{LinkKind, Network, NicMatch};
use profiles::node::{MacAddr, NodeConfig};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const NETWORKD: &str = "/lib/systemd/systemd-networkd";

/// Keys of `.link` that we write; they are udev's and not in networkd's tables (systemd.link(5) of version 252).
const LINK_KEYS: [&str; 4] = ["Link.MTUBytes", "Link.Name", "Match.PermanentMACAddress", "Match.Type"];

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The last node of a cluster file: the one that the file is about.
fn node(path: &Path) -> NodeConfig {
    let loaded = profiles::load("cluster.toml", &std::fs::read(path).unwrap(), None);
    let cluster = loaded.cluster.unwrap();
    let name = cluster.node_names().last().unwrap().to_owned();
    cluster.resolve(&name).unwrap()
}

/// The network with a MAC for the card that the plan would choose.
fn chosen(mut network: Network) -> Network {
    for link in network.links_mut() {
        if let LinkKind::Physical { nic: nic @ NicMatch::Only } = &mut link.kind {
            *nic = NicMatch::Mac(MacAddr([0x52, 0x54, 0, 0, 0, 0x99]));
        }
    }
    network
}

fn shapes() -> Vec<(String, NodeConfig)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(at("../profiles/tests/corpus/good"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("net_"))
        .collect();
    files.sort();
    let name = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), node(path))).collect()
}

fn text(node: &NodeConfig, place: Place) -> String {
    let network = chosen(node.network.clone());
    let words = network.in_words().join("\n");
    let files = files(&network, place).unwrap();
    let files: String = files.iter().map(|(name, text)| format!("\n==> {name}\n{text}")).collect();
    format!("{words}\n{files}")
}

#[test]
fn every_shape_renders_as_its_golden() {
    let shapes = shapes();
    assert!(shapes.len() >= 8, "{}", shapes.len());
    let mut wrong = vec![];
    for (name, node) in shapes {
        for (place, suffix) in [(Place::Installed, "installed"), (Place::Live, "live")] {
            let path = at("tests/goldens/network").join(format!("{name}.{suffix}.txt"));
            let found = text(&node, place);
            if std::env::var_os("METALSTRAP_BLESS").is_some() {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, &found).unwrap();
            }
            if std::fs::read_to_string(&path).unwrap_or_default() != found {
                wrong.push(path);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// `Section.Key` of every assignment.
fn keys(text: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut keys = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((key, _)) = line.split_once('=') {
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys
}

/// A key is in the tables when it stands there between two zeros.
fn knows(program: &[u8], key: &str) -> bool {
    let wanted = [b"\0", key.as_bytes(), b"\0"].concat();
    program.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn networkd_of_debian_12_has_every_key_in_its_tables() {
    let program = std::fs::read(NETWORKD).unwrap();
    let mut written = BTreeSet::new();
    for (_, node) in shapes() {
        for place in [Place::Installed, Place::Live] {
            for (name, text) in files(&chosen(node.network.clone()), place).unwrap() {
                let found = keys(&text);
                if name.ends_with(".link") {
                    assert!(found.iter().all(|key| LINK_KEYS.contains(&key.as_str())), "{found:?}");
                } else {
                    written.extend(found);
                }
            }
        }
    }
    assert!(written.contains("Bond.LACPTransmitRate") && written.contains("VLAN.Id"), "{written:?}");
    let unknown: Vec<_> = written.iter().filter(|key| !knows(&program, key)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(!knows(&program, "Bond.LacpRate"), "the check can fail");
}

#[test]
fn services_use_the_link_that_carries_the_address() {
    let node = node(&at("../profiles/tests/corpus/good/net_bond_vlan_short.toml"));
    let leg = node.cluster_interface().unwrap();
    assert_eq!((leg.name.as_str(), leg.mac.unwrap().to_string().as_str()), ("bond0.20", "52:54:00:00:00:01"));
    let macs: Vec<_> = node.identity.macs.iter().map(ToString::to_string).collect();
    assert_eq!(macs, ["52:54:00:00:00:01", "52:54:00:00:00:02"]);
    let model = installer::firewall::Model::of(&node).unwrap();
    assert!(model.render().unwrap().contains("iifname != { \"bond0.20\" } accept"));
}

#[test]
fn a_link_that_asks_routers_hears_their_answers_and_no_other_does() {
    let rules = |name: &str| {
        let node = node(&at(&format!("../profiles/tests/corpus/good/{name}.toml")));
        installer::firewall::Model::of(&node).unwrap().render().unwrap()
    };
    let advert =
        "iifname { \"other0\" } icmpv6 type nd-router-advert ip6 hoplimit 255 ip6 saddr fe80::/10 accept";
    assert!(rules("net_other_by_dhcp").contains(advert));
    assert!(!rules("net_routes").contains("nd-router-advert"));
}

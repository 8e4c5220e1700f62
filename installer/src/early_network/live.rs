//! The network arguments in the live system: read early in the boot, before systemd-networkd starts, and written where it looks.
//!
//! Whatever is wrong is said on every console, and the machine keeps what it has without arguments: DHCP on every card.

use super::parse_early_network;
use crate::console::{Lines, render_warning};
use crate::exit::ExitCode;
use crate::inventory::sanitise;
use crate::render::networkd::{LIVE, Place, files};
use profiles::network::{LinkKind, Network, NicMatch};
use profiles::node::MacAddr;
use std::collections::BTreeMap;
use std::time::Duration;
use sysio::command::Cmd;
use sysio::files::{FileError, create_folders, write_atomic};
use sysio::links::{Link, read_links};
use sysio::sysfs::SysRoot;

/// Code of all that is wrong with an argument.
const CODE: &str = "E_NETWORK_ARGUMENT";
/// DHCP on every card; a file of the same name in `/run` takes its place.
const FALLBACK: &str = "80-metalstrap-dhcp.network";
/// A machine with many cards takes this long to name them all.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
const SETTLE_SECS: &str = "--timeout=30";

/// What becomes of the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Files for networkd by name.
    pub files: BTreeMap<String, String>,
    /// What is said, one line each.
    pub lines: Vec<String>,
    /// Everything was understood and found.
    pub whole: bool,
}

/// Reads the arguments of this boot, writes the files, and says what it did.
///
/// # Errors
/// A file cannot be written.
pub fn run(root: &SysRoot, screen: &mut dyn Lines) -> Result<ExitCode, FileError> {
    let line = root.read_raw("/proc/cmdline").unwrap_or_default();
    if parse_early_network(&line) == Ok(None) {
        return Ok(ExitCode::Ok);
    }
    if let Err(error) = Cmd::new("udevadm").args(["settle", SETTLE_SECS]).time_limit(SETTLE_LIMIT).run() {
        tracing::warn!(%error, "waiting for the network cards failed");
    }
    let cards = match read_links() {
        Ok(links) => links.into_values().filter(|link| link.kind.is_none() && link.mac.is_some()).collect(),
        Err(error) => {
            tracing::warn!(%error, "the network cards could not be listed");
            Vec::new()
        }
    };
    let outcome = decide(&line, &cards);
    create_folders(&root.path(LIVE), 0o755)?;
    for (name, text) in &outcome.files {
        write_atomic(&root.path(LIVE).join(name), text.as_bytes(), 0o644)?;
    }
    outcome.lines.iter().for_each(|line| screen.line(line));
    Ok(if outcome.whole { ExitCode::Ok } else { ExitCode::InvalidInput })
}

/// From a command line and the cards of the machine to files and words. Pure.
pub fn decide(line: &str, cards: &[Link]) -> Outcome {
    let mut outcome = Outcome { files: BTreeMap::new(), lines: Vec::new(), whole: true };
    let mut network = match parse_early_network(line) {
        Ok(None) => return outcome,
        Ok(Some(network)) => network,
        Err(errors) => {
            let texts = errors.iter().map(ToString::to_string).collect();
            return fall_back(outcome, texts, cards);
        }
    };
    let problems = match_cards(&mut network, cards);
    let rendered = if problems.iter().any(|problem| problem.fatal) {
        Ok(BTreeMap::new())
    } else {
        files(&network, Place::Live).map_err(|error| error.to_string())
    };
    let mut texts: Vec<String> = problems.into_iter().map(|problem| problem.text).collect();
    match rendered {
        Ok(files) => outcome.files = files,
        Err(why) => texts.push(why),
    }
    if outcome.files.is_empty() || !texts.is_empty() {
        return fall_back(outcome, texts, cards);
    }
    // Only now, when every card that is named is there, nothing else is asked for an address.
    outcome.files.insert(FALLBACK.to_owned(), String::new());
    outcome
        .lines
        .extend(network.in_words().iter().map(|link| format!("metalstrap: network {}", sanitise(link))));
    outcome
}

/// Says what is wrong, and that DHCP on every card stays.
fn fall_back(mut outcome: Outcome, texts: Vec<String>, cards: &[Link]) -> Outcome {
    outcome.whole = false;
    outcome.lines.extend(texts.iter().map(|text| render_warning(&format!("{CODE}: {text}"))));
    let list: Vec<String> = cards.iter().map(card_line).collect();
    let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    outcome.lines.push(render_warning(&format!(
        "the network arguments are not right, so every other card asks by DHCP; the cards of this machine: {list}"
    )));
    outcome
}

fn card_line(card: &Link) -> String {
    let mac = card.permanent_mac.or(card.mac).map(|mac| MacAddr(mac).to_string());
    format!("{} {}", sanitise(&card.name), mac.unwrap_or_default())
}

struct Problem {
    text: String,
    /// No file can be made at all.
    fatal: bool,
}

/// Finds the cards that are meant, and puts the MAC in for the only one.
fn match_cards(network: &mut Network, cards: &[Link]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for link in network.links_mut() {
        let LinkKind::Physical { nic } = &mut link.kind else { continue };
        match nic {
            NicMatch::Any => {}
            NicMatch::Name(name) if cards.iter().any(|card| card.name == *name) => {}
            NicMatch::Name(name) => {
                problems.push(Problem { text: format!("this machine has no card {name}"), fatal: false });
            }
            NicMatch::Mac(mac) if cards.iter().any(|card| has_mac(card, *mac)) => {}
            NicMatch::Mac(mac) => {
                problems.push(Problem {
                    text: format!("this machine has no card with the MAC {mac}"),
                    fatal: false,
                });
            }
            NicMatch::Only => match cards {
                [card] => *nic = NicMatch::Name(card.name.clone()),
                _ => problems.push(Problem {
                    text: format!(
                        "ip= names no interface, and this machine has {} cards: name one",
                        cards.len()
                    ),
                    fatal: true,
                }),
            },
        }
    }
    problems
}

fn has_mac(card: &Link, mac: MacAddr) -> bool {
    card.permanent_mac.or(card.mac) == Some(mac.0)
}

#[cfg(test)]
mod tests {
    use super::{FALLBACK, decide};
    use sysio::links::Link;

    fn card(name: &str, last: u8) -> Link {
        Link { name: name.to_owned(), mac: Some([0x52, 0x54, 0, 0, 0, last]), ..Link::default() }
    }

    fn cards() -> Vec<Link> {
        vec![card("eth0", 1), card("eth1", 2)]
    }

    const TAGGED: &str = "bond=bond0:eth0,eth1:mode=802.3ad,miimon=100 vlan=bond0.20:bond0 ip=bond0.20:dhcp nameserver=10.0.0.53";

    #[test]
    fn a_tagged_bond_is_written_and_the_fallback_is_put_out_of_the_way() {
        let outcome = decide(TAGGED, &cards());
        assert!(outcome.whole);
        let names: Vec<&str> = outcome.files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "15-bond0.20.netdev",
                "15-bond0.netdev",
                "20-bond0.20.network",
                "20-bond0.network",
                "20-eth0.network",
                "20-eth1.network",
                FALLBACK
            ]
        );
        let has = |file: &str, line: &str| {
            assert!(outcome.files[file].lines().any(|l| l == line), "{}", outcome.files[file])
        };
        has("15-bond0.netdev", "Mode=802.3ad");
        has("15-bond0.20.netdev", "Id=20");
        has("20-eth0.network", "Bond=bond0");
        has("20-bond0.network", "VLAN=bond0.20");
        has("20-bond0.20.network", "DHCP=ipv4");
        has("20-bond0.20.network", "DNS=10.0.0.53");
        assert_eq!(outcome.files[FALLBACK], "");
        assert_eq!(outcome.lines[3], "metalstrap: network bond0.20: VLAN 20 on bond0, DHCP, DNS 10.0.0.53");
    }

    #[test]
    fn a_missing_card_is_told_with_those_there_are_and_leaves_dhcp_on_them() {
        let outcome = decide(TAGGED, &cards()[..1]);
        assert!(!outcome.whole && !outcome.files.contains_key(FALLBACK));
        assert!(outcome.files.contains_key("20-eth0.network"), "what is right is still done");
        assert_eq!(
            outcome.lines,
            [
                "metalstrap: warning: E_NETWORK_ARGUMENT: this machine has no card eth1",
                "metalstrap: warning: the network arguments are not right, so every other card asks by DHCP; the cards of this machine: \
                 eth0 52:54:00:00:00:01"
            ]
        );
    }

    #[test]
    fn a_wrong_argument_writes_nothing() {
        let outcome = decide("ip=dchp", &cards());
        assert!(!outcome.whole && outcome.files.is_empty());
        assert!(
            outcome.lines[0]
                .starts_with("metalstrap: warning: E_NETWORK_ARGUMENT: ip=dchp: \"dchp\" is no way"),
            "{:?}",
            outcome.lines
        );
        assert_eq!(decide("quiet", &cards()).lines, Vec::<String>::new());
    }

    #[test]
    fn a_static_address_without_interface_is_that_of_the_only_card() {
        let line = "ip=10.0.0.5::10.0.0.1:22";
        let outcome = decide(line, &cards()[..1]);
        assert!(outcome.whole, "{:?}", outcome.lines);
        assert!(outcome.files["20-only.network"].contains("Name=eth0\n"), "{:?}", outcome.files);
        let outcome = decide(line, &cards());
        assert_eq!(
            outcome.lines[0],
            "metalstrap: warning: E_NETWORK_ARGUMENT: ip= names no interface, and this machine has 2 cards: name one"
        );
        assert!(outcome.files.is_empty());
    }
}

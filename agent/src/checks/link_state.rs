//! `link.state`: every network card of the node config has a carrier. A bond or bridge hides the loss of a card from all else.

use crate::catalogue::{ALL_ROLES, Check, ENDPOINT, Looking, Moment, Wanted, secs};
use crate::context::{Context, read_bounded};
use crate::verdict::Verdict;
use profiles::network::{LinkKind, Network};
use profiles::node::NodeConfig;
use report::State;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// What the kernel answers for the carrier of a card that is switched off (`EINVAL`).
const NOT_UP: i32 = 22;

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "link.state",
    title: "Every network card of the node config has a carrier",
    source: "`/sys/class/net/NAME/carrier` of each card, also those in bonds and bridges",
    limits: "No carrier, switched off or not there, while another card of the same bond or bridge has a carrier: after 25 s warning; a card alone, or all of a bond or bridge: after 25 s warning, after 2 min critical; a carrier that cannot be read: unknown, unless another card is down; a card with a carrier that the switch leaves out of a bond is not seen",
    roles: ALL_ROLES,
    applies,
    interval: secs(10),
    timeout: secs(5),
    patience: ENDPOINT,
    depends_on: &[],
    action: "cable, switch port and transceiver of the named card; ip -br link; cat /proc/net/bonding/NAME; journalctl -k -e | grep -i link",
    subject: "",
    look,
};

/// What was seen of one card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Name on the node.
    pub name: String,
    /// Bond or bridge it is part of.
    pub upper: Option<String>,
    /// Its carrier, or why that could not be read.
    pub signal: Result<Signal, String>,
}

/// The carrier of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// There is one.
    Up,
    /// There is none.
    NoCarrier,
    /// The card is switched off.
    Off,
    /// The machine has no such card.
    Missing,
}

fn applies(node: &NodeConfig) -> Wanted {
    match node.network.nics().count() {
        0 => Wanted::No("the node config names no network card".to_owned()),
        _ => Wanted::Yes(String::new()),
    }
}

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move {
        let (root, network) = (context.root.clone(), context.node.network.clone());
        match context.blocking.run("link.state", move || observe(&root, &network)).await {
            Ok(cards) => judge(&cards),
            Err(hung) => Verdict::unknown("Hung", format!("a network card does not answer: {hung}")),
        }
    })
}

fn observe(root: &Path, network: &Network) -> Vec<Card> {
    let card = |name: &str| Card {
        name: name.to_owned(),
        upper: upper_of(network, name),
        signal: read_signal(&root.join("sys/class/net").join(name)),
    };
    network.nics().map(|(link, _)| card(&link.name)).collect()
}

fn upper_of(network: &Network, name: &str) -> Option<String> {
    let joins = |kind: &LinkKind| matches!(kind, LinkKind::Bond(_) | LinkKind::Bridge { .. });
    network.upper(name).find(|link| joins(&link.kind)).map(|link| link.name.clone())
}

fn read_signal(folder: &Path) -> Result<Signal, String> {
    match read_bounded(&folder.join("carrier")) {
        Ok(text) if text.trim() == "1" => Ok(Signal::Up),
        Ok(_) => Ok(Signal::NoCarrier),
        Err(error) if error.raw_os_error() == Some(NOT_UP) => Ok(Signal::Off),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Signal::Missing),
        Err(error) => Err(error.to_string()),
    }
}

/// All cards: the state of the worst, and every one that is down.
pub fn judge(cards: &[Card]) -> Verdict {
    let mut findings: Vec<(State, String)> = cards.iter().filter_map(|card| judge_one(card, cards)).collect();
    findings.sort_by_key(|(state, _)| rank(*state));
    let text = findings.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; ");
    match findings.first() {
        Some((State::Critical, _)) => Verdict::critical("LinkDown", text),
        Some((State::Warning, _)) => Verdict::warning("MemberDown", text),
        Some(_) => Verdict::unknown("CannotLook", text),
        None => {
            let names: Vec<&str> = cards.iter().map(|card| card.name.as_str()).collect();
            Verdict::ok("Up", format!("carrier on {}", names.join(", ")))
        }
    }
}

/// The gravest first.
fn rank(state: State) -> u8 {
    match state {
        State::Critical => 0,
        State::Warning => 1,
        State::Unknown | State::Ok | State::Disabled => 2,
    }
}

fn judge_one(card: &Card, cards: &[Card]) -> Option<(State, String)> {
    let what = match &card.signal {
        Ok(Signal::Up) => return None,
        Ok(Signal::NoCarrier) => "has no carrier",
        Ok(Signal::Off) => "is switched off",
        Ok(Signal::Missing) => "is not there",
        Err(why) => return Some((State::Unknown, format!("reading the carrier of {}: {why}", card.name))),
    };
    let Some(upper) = &card.upper else {
        return Some((State::Critical, format!("{} {what}", card.name)));
    };
    let carried = cards.iter().any(|other| other.upper == card.upper && other.signal == Ok(Signal::Up));
    let state = if carried { State::Warning } else { State::Critical };
    Some((state, format!("{} of {upper} {what}", card.name)))
}

#[cfg(test)]
mod tests {
    use super::{Card, Signal, judge, observe};
    use crate::verdict::Verdict;
    use profiles::network::Network;

    fn card(name: &str, upper: Option<&str>, signal: Signal) -> Card {
        Card { name: name.to_owned(), upper: upper.map(str::to_owned), signal: Ok(signal) }
    }

    #[test]
    fn a_bond_survives_the_loss_of_a_card_and_a_card_alone_does_not() {
        use Signal::{Missing, NoCarrier, Off, Up};
        let bond = Some("bond0");
        let unreadable = Card { signal: Err("x".to_owned()), ..card("c", None, Up) };
        let table = [
            (vec![card("a", bond, Up), card("b", bond, Up)], Verdict::ok("Up", "carrier on a, b")),
            (
                vec![card("a", bond, Up), card("b", bond, NoCarrier)],
                Verdict::warning("MemberDown", "b of bond0 has no carrier"),
            ),
            (
                vec![card("a", bond, Off), card("b", bond, Missing)],
                Verdict::critical("LinkDown", "a of bond0 is switched off; b of bond0 is not there"),
            ),
            (
                vec![card("a", bond, Up), card("b", Some("bond1"), NoCarrier)],
                Verdict::critical("LinkDown", "b of bond1 has no carrier"),
            ),
            (
                vec![card("a", bond, Up), card("b", bond, NoCarrier), card("c", None, NoCarrier)],
                Verdict::critical("LinkDown", "c has no carrier; b of bond0 has no carrier"),
            ),
            (
                vec![card("a", None, Up), unreadable.clone()],
                Verdict::unknown("CannotLook", "reading the carrier of c: x"),
            ),
            (
                vec![unreadable, card("a", None, NoCarrier)],
                Verdict::critical("LinkDown", "a has no carrier; reading the carrier of c: x"),
            ),
        ];
        for (cards, expected) in table {
            assert_eq!(judge(&cards), expected, "{cards:?}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn reads_the_cards_of_the_node_config_and_no_others() {
        let network: Network = serde_json::from_str(
            r#"[{"name":"a","kind":{"type":"physical","nic":"only"}},
                {"name":"b","kind":{"type":"physical","nic":{"mac":"52:54:00:00:00:02"}}},
                {"name":"c","kind":{"type":"physical","nic":{"mac":"52:54:00:00:00:03"}}},
                {"name":"bond0","kind":{"type":"bond","members":["b","c"],"mode":"active-backup",
                  "lacp_rate":"fast","hash":"layer2","miimon_ms":100}},
                {"name":"bond0.20","kind":{"type":"vlan","id":20,"parent":"bond0"}},
                {"name":"d","kind":{"type":"physical","nic":{"mac":"52:54:00:00:00:04"}}},
                {"name":"br0","kind":{"type":"bridge","members":["d"]}}]"#,
        )
        .unwrap();
        let root = tempfile::tempdir().unwrap();
        for (name, carrier) in [("a", "1\n"), ("b", "0\n"), ("stranger", "0\n"), ("d", "1\n")] {
            let folder = root.path().join("sys/class/net").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("carrier"), carrier).unwrap();
        }
        let expected = [
            card("a", None, Signal::Up),
            card("b", Some("bond0"), Signal::NoCarrier),
            card("c", Some("bond0"), Signal::Missing),
            card("d", Some("br0"), Signal::Up),
        ];
        assert_eq!(observe(root.path(), &network), expected);
    }
}

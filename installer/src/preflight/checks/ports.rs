//! The ports the node needs: are they there, and connected to what they should be?

use crate::exit::ExitCode;
use crate::inventory::{Nic, sanitise};
use crate::plan::{choose_ports, machine_nics};
use crate::preflight::facts::PortFacts;
use crate::preflight::model::{Check, Class, Finding, Input, Judged, NotRun, known};
use crate::refusal::Refusal;
use profiles::node::MacAddr;
use profiles::preflight::{NETWORK_DUPLEX, NETWORK_MTU, NETWORK_PORTS, NETWORK_SAME_MAC, NETWORK_SPEED};

/// What a cluster network should have: an image pull or a snapshot of etcd fills anything slower.
const SPEED_MIN_MBIT: u32 = 1000;

/// A port of the machine that the node needs, and the MTU it is to have.
struct Needed<'a> {
    nic: &'a Nic,
    mtu: Option<u32>,
}

/// The ports the node needs.
fn needed<'a>(input: &Input<'a>) -> Result<Vec<Needed<'a>>, NotRun> {
    let node = input.node()?;
    let macs = choose_ports(node, &machine_nics(input.inventory))
        .map_err(|_| NotRun::new("a port the node needs is not there"))?;
    let of = |(mac, mtu): (MacAddr, Option<u32>)| {
        let nic = input.inventory.ports().find(|nic| nic.mac == Some(mac))?;
        Some(Needed { nic, mtu })
    };
    Ok(macs.into_iter().filter_map(of).collect())
}

/// `network.ports`
pub const PORTS: Check = Check {
    id: NETWORK_PORTS,
    class: Class::Network,
    title: "The machine has every port the node needs",
    source: "permanent MACs of the ports, against the interfaces of the node",
    limits: "a MAC that no port has, or none given and several ports: fails, with all ports",
    why: "the node would come up without its address",
    remedy: "correct `mac` of the node; the ports and their MACs are listed",
    codes: &["E_NIC_NOMATCH"],
    during_install: false,
    judge: |input| {
        Ok(match choose_ports(input.node()?, &machine_nics(input.inventory)) {
            Ok(_) => {
                let names: Vec<String> = needed(input)?
                    .iter()
                    .filter_map(|port| Some(format!("{} {}", port.nic.name, port.nic.mac?)))
                    .collect();
                Finding::pass(names.join(", "))
            }
            Err(error) => Finding::fail(error.refusal()),
        })
    },
};

/// `network.same-mac`
pub const SAME_MAC: Check = Check {
    id: NETWORK_SAME_MAC,
    class: Class::Network,
    title: "No two ports have the same permanent MAC",
    source: "permanent MACs of all ports (netlink)",
    limits: "two ports with the MAC of a port the node needs: fails; of another: warning",
    why: "ports are told apart by their permanent MAC: which of the two gets the address would be chance",
    remedy: "give one of the cards its own MAC with its maker's tool, or take it out",
    codes: &["E_NIC_SAME_MAC"],
    during_install: false,
    judge: same_mac,
};

fn same_mac(input: &Input<'_>) -> Judged {
    let names_of = |mac: MacAddr| -> Vec<&str> {
        input.inventory.ports().filter(|nic| nic.mac == Some(mac)).map(|nic| nic.name.as_str()).collect()
    };
    let shared = |mac: &MacAddr| names_of(*mac).len() > 1;
    let describe = |mac: MacAddr| format!("{} have the MAC {mac}", sanitise(&names_of(mac).join(" and ")));
    if let Some(port) = needed(input)?.iter().filter_map(|port| port.nic.mac).find(shared) {
        let message = format!(
            "{}, and the node needs one of them; give one another MAC or take it out",
            describe(port)
        );
        return Ok(Finding::fail(Refusal::new("E_NIC_SAME_MAC", ExitCode::UnsupportedHardware, message)));
    }
    let other = input.inventory.ports().filter_map(|nic| nic.mac).find(shared);
    Ok(match other {
        Some(mac) => Finding::warn(describe(mac)),
        None => Finding::pass("each has its own"),
    })
}

/// `network.speed`
pub const SPEED: Check = Check {
    id: NETWORK_SPEED,
    class: Class::Network,
    title: "Every port the node needs runs at 1 Gbit/s or more",
    source: "`/sys/class/net/*/speed`",
    limits: "less than 1000 Mbit/s: warning; no speed told: could not run, in a virtual machine it does not apply",
    why: "a bad cable or port falls back to 100 Mbit/s, and the cluster feels it only under load",
    remedy: "change the cable, look at the switch port",
    codes: &[],
    during_install: false,
    judge: |input| {
        let ports = needed(input)?;
        let told: Vec<(&str, u32)> =
            ports.iter().filter_map(|port| Some((port.nic.name.as_str(), port.nic.speed_mbit?))).collect();
        if let [_, ..] = told.as_slice() {
            let text = told
                .iter()
                .map(|(name, speed)| format!("{name} {speed} Mbit/s"))
                .collect::<Vec<_>>()
                .join(", ");
            let slow = told.iter().any(|(_, speed)| *speed < SPEED_MIN_MBIT);
            return Ok(if slow { Finding::warn(text) } else { Finding::pass(text) });
        }
        silent(input, "speed")
    },
};

/// `network.duplex`
pub const DUPLEX: Check = Check {
    id: NETWORK_DUPLEX,
    class: Class::Network,
    title: "No port the node needs runs half duplex",
    source: "`/sys/class/net/*/duplex`",
    limits: "half: warning; nothing told: could not run, in a virtual machine it does not apply",
    why: "half duplex at one end only, after a failed negotiation, loses packets under load and looks like anything else",
    remedy: "let both ends negotiate: a switch port with a fixed speed is the usual cause",
    codes: &[],
    during_install: false,
    judge: |input| {
        let facts = known(&input.facts.ports)?;
        let ports = needed(input)?;
        let told: Vec<(&str, &str)> = ports
            .iter()
            .filter_map(|port| Some((port.nic.name.as_str(), facts.get(&port.nic.name)?.duplex.as_deref()?)))
            .collect();
        if let [_, ..] = told.as_slice() {
            let text =
                told.iter().map(|(name, duplex)| format!("{name} {duplex}")).collect::<Vec<_>>().join(", ");
            let half = told.iter().any(|(_, duplex)| *duplex == "half");
            return Ok(if half { Finding::warn(text) } else { Finding::pass(text) });
        }
        silent(input, "duplex")
    },
};

fn silent(input: &Input<'_>, what: &str) -> Judged {
    if input.is_virtual() {
        return Ok(Finding::not_applicable(format!("virtual ports tell no {what}")));
    }
    Err(NotRun::new(format!("no port the node needs tells its {what}: it is down or has no link")))
}

/// `network.mtu`
pub const MTU: Check = Check {
    id: NETWORK_MTU,
    class: Class::Network,
    title: "Every port takes the MTU it is to have",
    source: "the largest MTU of the driver (netlink), against `mtu` in the cluster file",
    limits: "larger than the driver takes: fails",
    why: "the interface would keep another MTU, and large packets vanish between the nodes",
    remedy: "lower `mtu` of the network to what the port takes",
    codes: &["E_MTU_TOO_LARGE"],
    during_install: false,
    judge: |input| {
        let wanted: Vec<(&Nic, u32)> =
            needed(input)?.iter().filter_map(|port| Some((port.nic, port.mtu?))).collect();
        if wanted.is_empty() {
            return Ok(Finding::not_applicable("the cluster file asks for no MTU"));
        }
        let facts = known(&input.facts.ports)?;
        let max = |nic: &Nic| facts.get(&nic.name).and_then(|port: &PortFacts| port.mtu_max);
        let told: Vec<(&str, u32, u32)> =
            wanted.iter().filter_map(|(nic, mtu)| Some((nic.name.as_str(), *mtu, max(nic)?))).collect();
        if let Some((name, mtu, max)) = told.iter().find(|(_, mtu, max)| mtu > max) {
            let message =
                format!("{name} takes an MTU of {max} at most, the cluster file asks for {mtu}; lower it");
            return Ok(Finding::fail(Refusal::new(
                "E_MTU_TOO_LARGE",
                ExitCode::UnsupportedHardware,
                message,
            )));
        }
        if told.len() < wanted.len() {
            return Err(NotRun::new("a port does not tell the largest MTU it takes"));
        }
        let text: Vec<String> =
            told.iter().map(|(name, mtu, max)| format!("{name} {mtu} of {max}")).collect();
        Ok(Finding::pass(text.join(", ")))
    },
};

//! What the segment says before an address is used: is there a signal, is the address free, who holds the VIPs, do gateway and DNS
//! servers answer, which packets pass. The questions and their meaning are those of [`probe`](crate::probe); here they become
//! checks, each with its own id.

use crate::inventory::sanitise;
use crate::preflight::model::{Check, Class, Finding, Input, Judged, NotRun, known};
use crate::probe::{Answer, Carrier, Judgement, LegFindings, Weight, judge, questions_of};
use crate::refusal::Refusal;
use profiles::preflight::{
    NETWORK_ADDRESS, NETWORK_CARRIER, NETWORK_DNS, NETWORK_GATEWAY, NETWORK_PATH_MTU, NETWORK_VIP,
};
use std::collections::BTreeMap;

/// Codes of the probe for what could not be asked.
const NOT_ASKED: [&str; 2] = ["W_NOT_PROBED", "N_MTU_UNKNOWN"];

/// `network.carrier`
pub const CARRIER: Check = Check {
    id: NETWORK_CARRIER,
    class: Class::Network,
    title: "A cable is in every port the node needs",
    source: "carrier of the port of each leg, after it was switched on; members of a bond",
    limits: "no signal where a node joins the cluster: fails; elsewhere, or one member of a bond: warning; with the ports that have one",
    why: "the cable is often in the port beside: then the node comes up without a network",
    remedy: "put the cable into the port that is named, or name the other port's MAC in the cluster file",
    codes: &["E_NO_CARRIER"],
    during_install: false,
    judge: carrier,
};

fn carrier(input: &Input<'_>) -> Judged {
    let node = input.node()?;
    let legs: Vec<LegFindings> = known(&input.facts.legs)?
        .iter()
        .map(|leg| {
            reduced(leg, |only, leg| {
                only.carrier = leg.carrier.clone();
                only.members = leg.members.clone();
            })
        })
        .collect();
    let linked: Vec<String> = input
        .inventory
        .ports()
        .filter(|nic| nic.carrier == Some(true))
        .map(|nic| sanitise(&nic.name))
        .collect();
    let linked = if linked.is_empty() {
        "no port has a link".to_owned()
    } else {
        format!("a link is on {}", linked.join(", "))
    };
    let mut judged = judge(node, &legs);
    for one in judged.iter_mut().filter(|one| one.code.ends_with("_NO_CARRIER")) {
        one.message = format!("{}; {linked}", one.message);
    }
    verdict(judged, "every leg has a signal")
}

/// `network.address`
pub const ADDRESS: Check = Check {
    id: NETWORK_ADDRESS,
    class: Class::Network,
    title: "Nobody has the addresses of this node",
    source: "ARP and neighbour probes on each leg (RFC 5227, RFC 4862), before the address is used",
    limits: "somebody answers: fails, with the MAC of the other machine",
    why: "two machines with one address reach each other's peers at random",
    remedy: "give the node another address in the cluster file, or take it from the machine with that MAC",
    codes: &["E_ADDRESS_IN_USE"],
    during_install: false,
    judge: |input| {
        if questions_of(input.node()?).iter().all(|leg| leg.own.is_empty()) {
            return Ok(Finding::not_applicable("every address comes by DHCP"));
        }
        ask(input, "nobody answers for them", |only, leg| {
            only.own = leg.own.clone();
            // Proxy ARP is told by the gateway's MAC; a gateway that is silent has a check of its own.
            only.gateways = with_answer(&leg.gateways);
        })
    },
};

/// `network.vip`
pub const VIP: Check = Check {
    id: NETWORK_VIP,
    class: Class::Network,
    title: "No stranger has a virtual address of the cluster",
    source: "probes for the VIPs and for the nodes that may hold them",
    limits: "a stranger has a VIP that this node holds or joins through: fails; another VIP, or the cluster runs already: warning",
    why: "kube-vip and keepalived would fight the other machine for the address",
    remedy: "choose another VIP, or take it from the machine with the MAC that is named",
    codes: &["E_ADDRESS_IN_USE"],
    during_install: false,
    judge: vip,
};

fn vip(input: &Input<'_>) -> Judged {
    if questions_of(input.node()?).iter().all(|leg| leg.watched.is_empty()) {
        return Ok(Finding::not_applicable("no virtual address on the legs of this node"));
    }
    for leg in known(&input.facts.legs)? {
        for answer in leg.watched.values() {
            if let (Carrier::Up, Answer::NotLooked { why }) = (&leg.carrier, answer) {
                return Err(NotRun::new(format!("{}: {why}", leg.leg)));
            }
        }
    }
    ask(input, "nobody, or a node of the cluster, has them", |only, leg| only.watched = leg.watched.clone())
}

/// `network.gateway`
pub const GATEWAY: Check = Check {
    id: NETWORK_GATEWAY,
    class: Class::Network,
    title: "The gateways are there",
    source: "ARP and neighbour probes for the gateway of each leg",
    limits: "silent, or two machines answer: warning",
    why: "nothing outside of the network is reached, time servers and registries before all",
    remedy: "correct `gateway` of the network; is the port of the switch in the right VLAN?",
    codes: &[],
    during_install: false,
    judge: |input| {
        if questions_of(input.node()?).iter().all(|leg| leg.gateways.is_empty()) {
            return Ok(Finding::not_applicable("no leg has a gateway"));
        }
        ask(input, "every gateway answers", |only, leg| only.gateways = leg.gateways.clone())
    },
};

/// `network.dns`
pub const DNS: Check = Check {
    id: NETWORK_DNS,
    class: Class::Network,
    title: "The DNS servers answer",
    source: "one question to each DNS server of each leg",
    limits: "silent, refuses us, or cannot look anything up: warning",
    why: "images, time servers and certificates are named, not numbered",
    remedy: "correct `dns` of the network, or let the server answer this network",
    codes: &[],
    during_install: false,
    judge: |input| {
        if questions_of(input.node()?).iter().all(|leg| leg.dns.is_empty()) {
            return Ok(Finding::not_applicable("no leg has a DNS server"));
        }
        ask(input, "every DNS server answers", |only, leg| only.dns = leg.dns.clone())
    },
};

/// `network.path-mtu`
pub const PATH_MTU: Check = Check {
    id: NETWORK_PATH_MTU,
    class: Class::Network,
    title: "Packets of the wanted size reach the gateway in one piece",
    source: "echo requests that must not be fragmented, of the MTU of each leg",
    limits: "only smaller ones are answered: warning; the gateway answers no ping: could not run",
    why: "small packets pass and large ones vanish: logins work, images never arrive",
    remedy: "set `mtu` of the network to what passes, or let the switches pass more",
    codes: &[],
    during_install: false,
    judge: |input| {
        if questions_of(input.node()?).iter().all(|leg| leg.gateways.is_empty()) {
            return Ok(Finding::not_applicable("no leg has a gateway"));
        }
        ask(input, "packets of the wanted size pass", |only, leg| only.mtu = leg.mtu.clone())
    },
};

/// The part of the findings that one check is about.
fn reduced(leg: &LegFindings, keep: fn(&mut LegFindings, &LegFindings)) -> LegFindings {
    let mut only = LegFindings {
        leg: leg.leg.clone(),
        device: leg.device.clone(),
        carrier: Carrier::Up,
        members: BTreeMap::new(),
        own: BTreeMap::new(),
        watched: BTreeMap::new(),
        gateways: BTreeMap::new(),
        dns: BTreeMap::new(),
        mtu: BTreeMap::new(),
    };
    keep(&mut only, leg);
    only
}

/// Those that answered, once: what else there is to say of them is said by another check.
fn with_answer<K: Clone + Ord>(answers: &BTreeMap<K, Answer>) -> BTreeMap<K, Answer> {
    let one = |answer: &&Answer| matches!(answer, Answer::By { macs } if macs.len() == 1);
    answers
        .iter()
        .filter(|(_, answer)| one(answer))
        .map(|(key, answer)| (key.clone(), answer.clone()))
        .collect()
}

/// Judges one part of what was found on the legs with a signal. A leg without one was not asked.
fn ask(input: &Input<'_>, good: &str, keep: fn(&mut LegFindings, &LegFindings)) -> Judged {
    let legs = known(&input.facts.legs)?;
    let (asked, not_asked): (Vec<&LegFindings>, Vec<&LegFindings>) =
        legs.iter().partition(|leg| leg.carrier == Carrier::Up);
    let asked: Vec<LegFindings> = asked.into_iter().map(|leg| reduced(leg, keep)).collect();
    let finding = verdict(judge(input.node()?, &asked), good)?;
    match not_asked.first() {
        Some(leg) if finding.refusal.is_none() => Err(NotRun::new(match &leg.carrier {
            Carrier::NotLooked { why } => why.clone(),
            Carrier::Up | Carrier::Down => format!("{} has no signal", leg.leg),
        })),
        _ => Ok(finding),
    }
}

/// The worst of the judgements, with all of its weight.
fn verdict(judged: Vec<Judgement>, good: &str) -> Judged {
    let mut refusals = judged.iter().filter_map(Judgement::refusal);
    if let Some(first) = refusals.next() {
        return Ok(Finding::fail(first.with_details(refusals.map(|also: Refusal| also.message))));
    }
    let of = |wanted: &dyn Fn(&Judgement) -> bool| -> Option<String> {
        let messages: Vec<&str> = judged.iter().filter(|j| wanted(j)).map(|j| j.message.as_str()).collect();
        (!messages.is_empty()).then(|| messages.join("; "))
    };
    let not_asked = |one: &Judgement| NOT_ASKED.contains(&one.code);
    if let Some(warnings) = of(&|one| one.weight == Weight::Warn && !not_asked(one)) {
        return Ok(Finding::warn(warnings));
    }
    if let Some(why) = of(&not_asked) {
        return Err(NotRun(why));
    }
    Ok(Finding::pass(of(&|one| one.weight == Weight::Note).unwrap_or_else(|| good.to_owned())))
}

//! All the questions of one leg, in order: first who is there, then, if the address of the node is free, what the gateway and the
//! DNS servers say to it.

use super::questions::LegQuestions;
use super::talk::{Pair, Us, Wire, ask_dns, call_roll, measure_mtu};
use super::{Answer, Carrier, DnsAnswer, LegFindings, MtuAnswer};
use profiles::node::MacAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Who said to have an address.
type Roll = BTreeMap<IpAddr, BTreeSet<MacAddr>>;

/// Asks everything about one leg over the wire of its interface. Takes some five seconds, longer when somebody is silent.
pub fn ask_leg(questions: &LegQuestions, wire: &mut dyn Wire, us: &Us) -> LegFindings {
    let roll = match call_roll(wire, us, &questions.all_on_link()) {
        Ok(roll) => roll,
        Err(why) => return LegFindings::not_looked(questions, Carrier::Up, &why),
    };
    let mut findings = LegFindings::not_looked(questions, Carrier::Up, "not asked");
    for answers in [&mut findings.own, &mut findings.watched, &mut findings.gateways] {
        for (address, answer) in answers.iter_mut() {
            *answer = answer_of(&roll, *address);
        }
    }
    for (gateway, answer) in &mut findings.mtu {
        *answer = ask_mtu(questions, wire, us, &roll, *gateway);
    }
    for (server, answer) in &mut findings.dns {
        *answer = ask_server(questions, wire, us, &roll, *server);
    }
    findings
}

fn answer_of(roll: &Roll, address: IpAddr) -> Answer {
    match roll.get(&address) {
        Some(macs) => Answer::By { macs: macs.clone() },
        None => Answer::Silent,
    }
}

fn ask_mtu(
    questions: &LegQuestions,
    wire: &mut dyn Wire,
    us: &Us,
    roll: &Roll,
    gateway: IpAddr,
) -> MtuAnswer {
    let not_looked = |why: String| MtuAnswer::NotLooked { why };
    let pair = match pair_with(questions, roll, gateway, gateway) {
        Ok(pair) => pair,
        Err(why) => return not_looked(why),
    };
    measure_mtu(wire, us, pair, questions.mtu_bytes).unwrap_or_else(not_looked)
}

fn ask_server(
    questions: &LegQuestions,
    wire: &mut dyn Wire,
    us: &Us,
    roll: &Roll,
    server: IpAddr,
) -> DnsAnswer {
    let not_looked = |why: String| DnsAnswer::NotLooked { why };
    let hop = if questions.is_on_link(server) {
        Some(server)
    } else {
        questions.gateways.iter().copied().find(|gateway| gateway.is_ipv4() == server.is_ipv4())
    };
    let Some(hop) = hop else {
        return not_looked(format!("{server} is not in the network of this leg, which has no gateway"));
    };
    if hop == server && !roll.contains_key(&server) {
        return DnsAnswer::Silent;
    }
    match pair_with(questions, roll, server, hop) {
        Ok(pair) => ask_dns(wire, us, pair).unwrap_or_else(not_looked),
        Err(why) => not_looked(why),
    }
}

/// Our address, the other's, and the Ethernet address of the next hop, when our address may be used at all.
fn pair_with(questions: &LegQuestions, roll: &Roll, other: IpAddr, hop: IpAddr) -> Result<Pair, String> {
    let own = questions.own_addresses().find(|own| own.is_ipv4() == other.is_ipv4());
    let own = own.ok_or_else(|| "this leg has no address of its family".to_owned())?;
    if roll.contains_key(&own) {
        return Err(format!("the address {own} of this node is taken"));
    }
    let via = roll.get(&hop).and_then(|macs| macs.first());
    let via = *via.ok_or_else(|| format!("the gateway {hop} is silent"))?;
    Ok(Pair { own, other, via })
}

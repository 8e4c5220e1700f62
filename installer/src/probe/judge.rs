//! What the answers mean for this node: refusal, warning or a remark. Pure.
//!
//! A refusal is only for what an install cannot be meant to survive: somebody else has an address of this node, or the VIP that it
//! will hold or join through, or a node that joins is not connected. A gateway or DNS server that is silent is a warning: an install
//! needs neither.

use super::questions::{WatchedRole, joins, questions_of};
use super::{Answer, Carrier, DnsAnswer, LegFindings, LegQuestions, MtuAnswer};
use crate::exit::ExitCode;
use crate::refusal::Refusal;
use profiles::node::{MacAddr, NodeConfig, ProxyPlacement, Role, RoleConfig};
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// DNS response codes that are no use to us.
const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;

/// How much a judgement weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Good to know.
    Note,
    /// The install goes on; the operator should look at it.
    Warn,
    /// The install must not go on.
    Refuse,
}

/// One thing that was found, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// Stable code.
    pub code: &'static str,
    /// How much it weighs.
    pub weight: Weight,
    /// Leg it is about.
    pub leg: String,
    /// One sentence: what was found and what to do.
    pub message: String,
}

impl Judgement {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<Refusal> {
        (self.weight == Weight::Refuse)
            .then(|| Refusal::new(self.code, ExitCode::Environment, self.message.clone()))
    }
}

/// Judges what was found about the legs of a node.
pub fn judge(node: &NodeConfig, findings: &[LegFindings]) -> Vec<Judgement> {
    let mut judge = Judge { node, leg: String::new(), found: Vec::new() };
    for questions in questions_of(node) {
        if let Some(leg) = findings.iter().find(|leg| leg.leg == questions.leg) {
            judge.leg.clone_from(&leg.leg);
            judge.judge_leg(&questions, leg);
        }
    }
    judge.found
}

/// True when a master of this cluster holds the API VIP: the cluster runs, and nobody may form it a second time.
pub fn runs_already(node: &NodeConfig, findings: &[LegFindings]) -> bool {
    questions_of(node).iter().filter(|q| q.is_cluster).any(|questions| {
        let Some(leg) = findings.iter().find(|leg| leg.leg == questions.leg) else { return false };
        let holders = macs_of(questions, leg, WatchedRole::ApiVip);
        let masters = macs_of(questions, leg, WatchedRole::Master);
        !holders.is_empty() && holders.is_subset(&masters)
    })
}

/// All Ethernet addresses that answered for the addresses of a kind.
fn macs_of(questions: &LegQuestions, leg: &LegFindings, role: WatchedRole) -> BTreeSet<MacAddr> {
    let addresses = questions.watched.iter().filter(|w| w.role == role).map(|w| w.address);
    addresses.filter_map(|address| leg.watched.get(&address)).flat_map(Answer::macs).collect()
}

struct Judge<'a> {
    node: &'a NodeConfig,
    leg: String,
    found: Vec<Judgement>,
}

impl Judge<'_> {
    fn say(&mut self, weight: Weight, code: &'static str, message: String) {
        self.found.push(Judgement { code, weight, leg: self.leg.clone(), message });
    }

    fn judge_leg(&mut self, questions: &LegQuestions, leg: &LegFindings) {
        self.judge_carrier(questions, leg);
        if leg.carrier == Carrier::Down {
            return;
        }
        for (address, answer) in &leg.own {
            self.judge_own(*address, answer, leg);
        }
        for watched in &questions.watched {
            if let Some(answer) = leg.watched.get(&watched.address) {
                match watched.role {
                    WatchedRole::ApiVip | WatchedRole::ProxyVip => {
                        self.judge_vip(watched.role, watched.address, answer, questions, leg);
                    }
                    WatchedRole::Master | WatchedRole::InternalProxy => {}
                }
            }
        }
        for (gateway, answer) in &leg.gateways {
            self.judge_gateway(*gateway, answer);
        }
        for (server, answer) in &leg.dns {
            self.judge_dns(*server, answer);
        }
        for (gateway, answer) in &leg.mtu {
            self.judge_mtu(*gateway, answer);
        }
    }

    fn judge_carrier(&mut self, questions: &LegQuestions, leg: &LegFindings) {
        let name = &leg.leg;
        let device = leg.device.as_deref().unwrap_or("its interface");
        match &leg.carrier {
            Carrier::Up => {}
            Carrier::Down if questions.is_cluster && joins(self.node) => self.say(
                Weight::Refuse,
                "E_NO_CARRIER",
                format!(
                    "{name} ({device}) has no signal, and this node joins the cluster through it; plug the cable in, or switch \
                     the port of the switch on"
                ),
            ),
            Carrier::Down => self.say(
                Weight::Warn,
                "W_NO_CARRIER",
                format!(
                    "{name} ({device}) has no signal: nothing was asked there; plug the cable in before the node is needed"
                ),
            ),
            Carrier::NotLooked { why } => {
                self.say(Weight::Warn, "W_NOT_PROBED", format!("{name} could not be looked at: {why}"));
            }
        }
        let down: Vec<&str> = leg
            .members
            .iter()
            .filter(|(_, carrier)| **carrier == Carrier::Down)
            .map(|(n, _)| n.as_str())
            .collect();
        if leg.carrier == Carrier::Up && !down.is_empty() {
            let (down, of) = (down.join(", "), leg.members.len());
            self.say(
                Weight::Warn,
                "W_BOND_DEGRADED",
                format!("{name} has no signal at {down}, one of its {of} cards: it runs, and the next cable fault cuts it off"),
            );
        }
    }

    fn judge_own(&mut self, address: IpAddr, answer: &Answer, leg: &LegFindings) {
        let name = &leg.leg;
        match answer {
            Answer::Silent => {}
            Answer::NotLooked { why } => self.say(
                Weight::Warn,
                "W_NOT_PROBED",
                format!("whether somebody else has {address} could not be found out at {name}: {why}"),
            ),
            Answer::By { macs } => {
                let gateway =
                    leg.gateways.iter().find(|(_, answer)| answer.macs().any(|mac| macs.contains(&mac)));
                let remedy = match gateway {
                    Some((gateway, _)) => format!(
                        "it is the machine with the gateway {gateway}: it has a second address, or answers for others (proxy ARP), \
                         which must be switched off"
                    ),
                    None => {
                        "give this node another address in the cluster file, or take it from that machine"
                            .to_owned()
                    }
                };
                self.say(
                    Weight::Refuse,
                    "E_ADDRESS_IN_USE",
                    format!(
                        "{address}, which this node shall have at {name}, is in use by {}; {remedy}",
                        list(macs)
                    ),
                );
            }
        }
    }

    fn judge_vip(
        &mut self,
        role: WatchedRole,
        address: IpAddr,
        answer: &Answer,
        questions: &LegQuestions,
        leg: &LegFindings,
    ) {
        let (what, owner) = match role {
            WatchedRole::ApiVip => ("the API VIP", WatchedRole::Master),
            _ => ("the VIP of the proxies", WatchedRole::InternalProxy),
        };
        let Answer::By { macs } = answer else { return };
        let known = macs_of(questions, leg, owner);
        let strangers: BTreeSet<MacAddr> = macs.difference(&known).copied().collect();
        if !strangers.is_empty() {
            let (weight, code) = if self.needs_vip(role) {
                (Weight::Refuse, "E_ADDRESS_IN_USE")
            } else {
                (Weight::Warn, "W_ADDRESS_IN_USE")
            };
            let nodes = if owner == WatchedRole::Master { "master" } else { "internal proxy" };
            let message = format!(
                "{address}, {what}, is in use by {}, which is no {nodes} of this cluster; choose another VIP in the cluster file, or \
                 take it from that machine",
                list(&strangers)
            );
            return self.say(weight, code, message);
        }
        let holder = questions.watched.iter().find(|w| {
            w.role == owner
                && leg.watched.get(&w.address).is_some_and(|a| a.macs().any(|mac| macs.contains(&mac)))
        });
        let holder = holder.and_then(|w| w.hostname.clone()).unwrap_or_default();
        let forms = matches!(self.node.role, RoleConfig::Master { forms_cluster: true });
        if role == WatchedRole::ApiVip && forms {
            let message = format!(
                "{address}, {what}, is held by {holder}: the cluster runs already, so this master joins it and forms no other"
            );
            self.say(Weight::Warn, "W_CLUSTER_EXISTS", message);
        } else {
            self.say(Weight::Note, "N_VIP_HELD", format!("{address}, {what}, is held by {holder}"));
        }
    }

    /// A VIP that this node will hold, or joins through. With another one it can live until somebody has looked.
    fn needs_vip(&self, role: WatchedRole) -> bool {
        match (&self.node.role, role) {
            (RoleConfig::Proxy(proxy), WatchedRole::ProxyVip) => proxy.placement == ProxyPlacement::Internal,
            (_, WatchedRole::ApiVip) => self.node.role.role() != Role::Proxy,
            _ => false,
        }
    }

    fn judge_gateway(&mut self, gateway: IpAddr, answer: &Answer) {
        let leg = self.leg.clone();
        match answer {
            Answer::By { macs } if macs.len() == 1 => {}
            Answer::By { macs } => self.say(
                Weight::Warn,
                "W_GATEWAY_TWICE",
                format!("{} machines answer for the gateway {gateway} of {leg}: {}", macs.len(), list(macs)),
            ),
            Answer::Silent => self.say(
                Weight::Warn,
                "W_GATEWAY_SILENT",
                format!(
                    "the gateway {gateway} of {leg} does not answer: nothing outside of that network will be reached; check gateway, \
                     VLAN and cable"
                ),
            ),
            Answer::NotLooked { why } => {
                self.say(Weight::Warn, "W_NOT_PROBED", format!("the gateway {gateway} could not be asked: {why}"));
            }
        }
    }

    fn judge_dns(&mut self, server: IpAddr, answer: &DnsAnswer) {
        let leg = self.leg.clone();
        match answer {
            DnsAnswer::Answered { rcode: REFUSED } => self.say(
                Weight::Warn,
                "W_DNS_REFUSES",
                format!("the DNS server {server} of {leg} refuses our question; let it serve this network"),
            ),
            DnsAnswer::Answered { rcode: SERVFAIL } => self.say(
                Weight::Warn,
                "W_DNS_FAILS",
                format!("the DNS server {server} of {leg} answers, but cannot look anything up"),
            ),
            DnsAnswer::Answered { .. } => {}
            DnsAnswer::Silent => self.say(
                Weight::Warn,
                "W_DNS_SILENT",
                format!("the DNS server {server} of {leg} does not answer: names will not be resolved; check its address"),
            ),
            DnsAnswer::NotLooked { why } => {
                self.say(Weight::Warn, "W_NOT_PROBED", format!("the DNS server {server} could not be asked: {why}"));
            }
        }
    }

    fn judge_mtu(&mut self, gateway: IpAddr, answer: &MtuAnswer) {
        let leg = self.leg.clone();
        match answer {
            MtuAnswer::Fits { .. } => {}
            MtuAnswer::Smaller { wanted, fits } => self.say(
                Weight::Warn,
                "W_MTU_TOO_LARGE",
                format!(
                    "packets of {wanted} bytes do not reach the gateway {gateway} of {leg}, those of {fits} do; set mtu_bytes = {fits} for \
                     the leg, or let the switch pass larger ones"
                ),
            ),
            MtuAnswer::NoEcho => self.say(
                Weight::Note,
                "N_MTU_UNKNOWN",
                format!("the gateway {gateway} of {leg} answers no ping: which packets pass is not known"),
            ),
            MtuAnswer::NotLooked { why } => self.say(
                Weight::Note,
                "N_MTU_UNKNOWN",
                format!("which packets reach the gateway {gateway} of {leg} is not known: {why}"),
            ),
        }
    }
}

fn list(macs: &BTreeSet<MacAddr>) -> String {
    macs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

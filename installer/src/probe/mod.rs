//! Looking at the network before it is used: is there a signal, has somebody the address already, who holds the VIPs, do the
//! gateway and the DNS servers answer, which packets pass.
//!
//! Nothing here needs an address on the interface: the probes are frames made by hand. [`questions_of`] says what is asked for a
//! node (pure), [`ask_leg`] asks it over a [`Wire`] (a packet socket, or a test's), [`judge`] says what the answers mean for
//! the node (pure), and [`look`] does all of it on this machine.

mod ask;
mod frames;
mod judge;
mod live;
mod questions;
mod talk;
#[cfg(test)]
mod tests;

pub use ask::ask_leg;
pub use frames::{Heard, parse_frame, render_answer, render_dns_query, render_echo, render_probe};
pub use judge::{Judgement, Weight, judge, runs_already};
pub use live::{Machine, SocketWire, look};
pub use questions::{LegQuestions, Watched, WatchedRole, questions_of};
pub use talk::{Us, Wire};

use profiles::node::MacAddr;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Signal from the other end of a cable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "carrier", rename_all = "kebab-case")]
pub enum Carrier {
    /// There is one.
    Up,
    /// There is none.
    Down,
    /// It could not be found out.
    NotLooked {
        /// Why.
        why: String,
    },
}

/// Who answers for an address on the segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// Other machines: their Ethernet addresses, at least one.
    By {
        /// Sorted.
        macs: BTreeSet<MacAddr>,
    },
    /// Nobody, although it was asked several times.
    Silent,
    /// It could not be asked. That is never "nobody".
    NotLooked {
        /// Why.
        why: String,
    },
}

impl Answer {
    /// The Ethernet addresses that answered.
    pub fn macs(&self) -> impl Iterator<Item = MacAddr> {
        let macs = match self {
            Self::By { macs } => Some(macs),
            _ => None,
        };
        macs.into_iter().flatten().copied()
    }
}

/// What became of a question to a DNS server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum DnsAnswer {
    /// It answered; 0 means without error, 5 that it refuses us.
    Answered {
        /// Response code.
        rcode: u8,
    },
    /// No answer, although it was asked several times.
    Silent,
    /// It could not be asked.
    NotLooked {
        /// Why.
        why: String,
    },
}

/// Which packets reach the gateway in one piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum MtuAnswer {
    /// Those that are wanted.
    Fits {
        /// Their size in bytes, with the IP header.
        bytes: u16,
    },
    /// Only smaller ones.
    Smaller {
        /// What was wanted.
        wanted: u16,
        /// The largest that was answered.
        fits: u16,
    },
    /// The gateway answers no echo requests, not even small ones: nothing can be said.
    NoEcho,
    /// It could not be asked.
    NotLooked {
        /// Why.
        why: String,
    },
}

/// What was found out about one leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LegFindings {
    /// Name of the leg on the installed node.
    pub leg: String,
    /// Interface of the machine that stands for it now.
    pub device: Option<String>,
    /// Signal of that interface.
    pub carrier: Carrier,
    /// Signal of each card below it, of a bond.
    pub members: BTreeMap<String, Carrier>,
    /// Who else has the addresses of this node.
    pub own: BTreeMap<IpAddr, Answer>,
    /// Who has the VIPs, and the addresses of the nodes that may hold them.
    pub watched: BTreeMap<IpAddr, Answer>,
    /// Who has the addresses of the gateways.
    pub gateways: BTreeMap<IpAddr, Answer>,
    /// By server.
    pub dns: BTreeMap<IpAddr, DnsAnswer>,
    /// By gateway.
    pub mtu: BTreeMap<IpAddr, MtuAnswer>,
}

impl LegFindings {
    /// Findings of a leg at which nothing could be asked, and why.
    pub fn not_looked(questions: &LegQuestions, carrier: Carrier, why: &str) -> Self {
        let all = |addresses: &mut dyn Iterator<Item = IpAddr>| -> BTreeMap<IpAddr, Answer> {
            addresses.map(|a| (a, Answer::NotLooked { why: why.to_owned() })).collect()
        };
        Self {
            leg: questions.leg.clone(),
            device: None,
            carrier,
            members: BTreeMap::new(),
            own: all(&mut questions.own_addresses()),
            watched: all(&mut questions.watched.iter().map(|w| w.address)),
            gateways: all(&mut questions.gateways.iter().copied()),
            dns: questions.dns.iter().map(|a| (*a, DnsAnswer::NotLooked { why: why.to_owned() })).collect(),
            mtu: questions
                .gateways
                .iter()
                .map(|a| (*a, MtuAnswer::NotLooked { why: why.to_owned() }))
                .collect(),
        }
    }
}

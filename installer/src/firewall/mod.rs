//! The firewall of one node as a model: which flows may pass, between whom and why, derived from role, container network
//! and what the operator added. In: [`profiles::node::NodeConfig`]. Out: the text of `/etc/metalstrap/firewall.nft`
//! ([`Model::render`]) and, independently of that text, an answer for any packet ([`Model::evaluate`]). Pure.
//!
//! What does not belong here: loading rules, reading the kernel's table ([`crate::cli`] and `sysio` do).

mod builtin;
mod egress;
mod evaluate;
pub mod explain;
mod groups;
mod model;
mod operator;
mod resolve;
mod routing;
mod rules;

pub use evaluate::{Chain, Packet, PacketKind, Verdict};
pub use model::{Egress, Flow, Group, Leg, LegFacts, Model, NodeKind, Origin, PodNetwork, Service, Target};
pub use routing::Routes;
pub use rules::{DROP_COUNTERS, counter_of, egress_counter_of};

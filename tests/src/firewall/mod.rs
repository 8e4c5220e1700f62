//! The packet proof of the host firewall: real packets between network namespaces against the rules the installer
//! writes, judged by a table made by hand.
//!
//! In: the rule file of each kind of node. Out: verdicts, cell by cell, and the rules that no packet can tell. Nothing
//! here knows how the rules are made. Needs root; leaves nothing behind, as namespaces end with the process.

pub mod craft;
pub mod kube_proxy;
pub mod listen;
pub mod matrix;
pub mod mutate;
pub mod nodes;
pub mod observe;
pub mod plan;
pub mod probe;
pub mod random;
pub mod reload;
pub mod space;
pub mod speed;
pub mod sweep;
pub mod topology;
pub mod tricks;
pub mod variants;

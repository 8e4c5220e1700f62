//! The one crate that touches the system: commands, files, mounts, block devices, consoles, HTTP, D-Bus, clocks.
//!
//! Everything here is a thin, honest wrapper with a good error; decisions live above it. No `unsafe` but one
//! read of `adjtimex` and two calls of a packet socket for which nix has no safe form: what else would need it (re-reading a
//! partition table, loading a kernel) is done by the Debian tool for it.
// This is the crate that the other crates' lints point to.
#![allow(clippy::disallowed_methods)]

pub mod addresses;
pub mod agent_http;
pub mod block;
pub mod clock;
pub mod command;
pub mod consoles;
pub mod files;
pub mod filesystem;
pub mod http;
pub mod kernel_line;
pub mod links;
pub mod mounts;
pub mod nft;
pub mod packets;
pub mod power;
pub mod probe;
pub mod sntp;
pub mod sysfs;
pub mod typed;
pub mod units;

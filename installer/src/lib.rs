//! The `metalstrap` command: inventory, plan, render (pure); apply and verify (effects); the command line.
// Tests make files and folders to look at; the code itself is linted in the build without them.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod apply;
pub mod cli;
pub mod codes;
pub mod config_source;
pub mod console;
pub mod disks;
pub mod early_network;
pub mod exit;
pub mod firewall;
pub mod handover;
pub mod identify;
pub mod install;
pub mod inventory;
pub mod medium;
pub mod plan;
pub mod preflight;
pub mod probe;
pub mod reconfigure;
pub mod record;
pub mod refusal;
pub mod render;
pub mod settle;
pub mod support;
pub mod verify;

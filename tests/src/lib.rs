//! Test support: a QEMU harness and the scenarios that boot real images in it.
//!
//! In: the files an image build has made. Out: durations, or an error with evidence in `target/vm/NAME/`.
//! No packet leaves: every guest network is QEMU's own with `restrict=on`. What is pure (splitting lines, judging
//! them, QMP messages, argument lists, HTTP answers) has unit tests here; the scenarios are run by `cargo xtask test`.

// This crate starts QEMU, writes scratch files and measures time; nothing of it runs on a node.
#![allow(clippy::disallowed_methods)]

pub mod accel;
pub mod canary;
pub mod cluster;
pub mod command;
pub mod firewall;
pub mod health;
pub mod httpd;
pub mod machine;
pub mod media;
pub mod phases;
pub mod qmp;
pub mod scenarios;
pub mod serial;
pub mod signs;
pub mod ssh;
pub mod wire;

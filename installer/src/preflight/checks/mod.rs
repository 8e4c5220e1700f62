//! The checks: one entry each, with its judge. Pure; thresholds are constants beside the judge, with their source.

pub mod api;
pub mod clock;
pub mod cpu;
pub mod disk_age;
pub mod disk_choice;
pub mod disk_speed;
pub mod firewall;
pub mod firmware;
pub mod hardware;
pub mod image;
pub mod kernel;
pub mod links;
pub mod medium;
pub mod memory;
pub mod nodes;
pub mod ntp;
pub mod ports;
pub mod segment;

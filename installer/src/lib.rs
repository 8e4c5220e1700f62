//! The `metalstrap` command: inventory, plan, render (pure); apply and verify (effects); the command line.

pub mod cli;
pub mod exit;
pub mod refusal;
pub mod render;

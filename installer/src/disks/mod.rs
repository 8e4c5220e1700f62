//! Which disk may be written to. Pure: an inventory and the operator's words in, one [`TargetDisk`] or a refusal out.
//!
//! The rule: exactly one eligible empty disk (or one with an unfinished install of ours), or the disk the operator names. Contents
//! are only given up with `wipe = "<serial>"` for that very disk. Nothing else in the program can make a [`TargetDisk`].

mod choose;
mod refusal;
#[cfg(test)]
mod tests;
mod verdict;

pub use choose::{DiskOverrides, TargetDisk, choose_disk};
pub use refusal::DiskRefusal;
pub use verdict::{DiskVerdict, Obstacle, judge_disks, render_verdicts};

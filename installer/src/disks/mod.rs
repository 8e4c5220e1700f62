//! Which disk may be written to. Pure: an inventory and the operator's words in, one [`TargetDisk`] or a refusal out.
//!
//! The rule: exactly one disk is left that fits everything the operator says of it, can be written, is used by nobody, does not
//! fail, and is empty (or holds an unfinished install of ours). Contents are only given up with `wipe = "<serial>"` for that very
//! disk: the serial number; for a disk with none of its own the WWN, for a disk with neither its whole link in `/dev/disk/by-path`
//! (a place, so the weakest of names: used only where there is no other). Nothing else in the program can make a [`TargetDisk`].

mod choose;
mod data;
#[cfg(test)]
mod data_tests;
mod held;
mod refusal;
#[cfg(test)]
mod tests;
mod verdict;
mod wishes;

pub use choose::{DiskOverrides, TargetDisk, choose_disk};
pub use data::{DataTarget, NodeDisks, choose_data_disks, choose_disks, judge_data_disk};
pub use held::{ensure_same_disk, ensure_unchanged};
pub use refusal::DiskRefusal;
pub use verdict::{DiskVerdict, Obstacle, judge_disks, render_verdicts};

//! Which node of the cluster is this machine? Pure: identities and an inventory in, a host name or a refusal out.

mod memory;
mod node;
#[cfg(test)]
mod tests;

pub use memory::ensure_memory;
pub use node::{Identified, identify_node};

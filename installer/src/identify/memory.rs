//! Does the machine have the memory its role needs?

use crate::exit::ExitCode;
use crate::inventory::Inventory;
use crate::refusal::Refusal;
use profiles::node::Requirements;

/// Holds the memory of the machine against what the role needs.
///
/// # Errors
/// `E_MEMORY_TOO_SMALL` with what was measured and what is needed.
pub fn ensure_memory(inventory: &Inventory, requirements: &Requirements) -> Result<(), Refusal> {
    let (has, needs) = (inventory.memory_mib, requirements.memory_min_mib);
    if has >= needs {
        return Ok(());
    }
    let message = format!(
        "this machine has {has} MiB of usable memory, this node needs {needs} MiB; add memory or lower memory_min_mib"
    );
    Err(Refusal::new("E_MEMORY_TOO_SMALL", ExitCode::UnsupportedHardware, message))
}

//! Is the disk that was chosen still the one that is there?

use crate::exit::ExitCode;
use crate::refusal::Refusal;

/// Holds the kernel's number of the disk that is there now against that of the disk that was chosen: the same path and the same
/// size are no proof. Where the inventory has no number there is nothing to compare.
///
/// # Errors
/// `E_DISK_CHANGED`.
pub fn ensure_same_disk(path: &str, chosen: Option<u64>, now: Option<u64>) -> Result<(), Refusal> {
    if chosen.is_none() || chosen == now {
        return Ok(());
    }
    let message = format!(
        "{path} is another disk than the one that was chosen: it went away and came back, or was swapped"
    );
    Err(Refusal::new("E_DISK_CHANGED", ExitCode::Environment, message))
}

/// Holds size and logical sector size of a disk now against those it was chosen by.
///
/// # Errors
/// `E_DISK_CHANGED` with both.
pub fn ensure_unchanged(path: &str, chosen: (u64, u64), now: (u64, u64)) -> Result<(), Refusal> {
    if chosen == now {
        return Ok(());
    }
    let message = format!(
        "{path} has {} bytes in sectors of {}, the plan was made for {} bytes in sectors of {}",
        now.0, now.1, chosen.0, chosen.1
    );
    Err(Refusal::new("E_DISK_CHANGED", ExitCode::Environment, message))
}

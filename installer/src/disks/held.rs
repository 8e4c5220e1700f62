//! Is the disk that was chosen still the one that is there?

use crate::exit::ExitCode;
use crate::refusal::Refusal;

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

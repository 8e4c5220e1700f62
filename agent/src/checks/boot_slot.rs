//! `boot.slot`: which root slot the node booted from.

use crate::catalogue::{ALL_ROLES, AT_ONCE, Check, Looking, Moment, always, secs};
use crate::context::Context;
use crate::facts::kernel_argument;
use crate::verdict::Verdict;
use std::sync::Arc;

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "boot.slot",
    title: "The node booted from a root slot",
    source: "`metalstrap.slotname=` on the kernel's command line",
    limits: "No slot named: unknown; another name than a or b: warning",
    roles: ALL_ROLES,
    applies: always,
    interval: secs(300),
    timeout: secs(2),
    patience: AT_ONCE,
    depends_on: &[],
    action: "cat /proc/cmdline; the node was not started by the boot loader of its own disk",
    subject: "",
    look,
};

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move { judge(&context.read("/proc/cmdline").await) })
}

/// The kernel's command line.
pub fn judge(cmdline: &Result<String, String>) -> Verdict {
    let cmdline = match cmdline {
        Ok(cmdline) => cmdline,
        Err(why) => return Verdict::unknown("CannotLook", why.clone()),
    };
    match kernel_argument(cmdline, "metalstrap.slotname").as_deref() {
        Some(slot @ ("a" | "b")) => Verdict::ok("Slot", format!("booted from slot {slot}")),
        Some(other) => Verdict::warning("UnknownSlot", format!("booted from a slot called {other}")),
        None => Verdict::unknown("NoSlot", "the kernel's command line names no slot"),
    }
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::verdict::Verdict;

    #[test]
    fn knows_two_slots() {
        let table = [
            (Ok("ro metalstrap.slotname=b"), Verdict::ok("Slot", "booted from slot b")),
            (Ok("metalstrap.slotname=c"), Verdict::warning("UnknownSlot", "booted from a slot called c")),
            (Ok("quiet"), Verdict::unknown("NoSlot", "the kernel's command line names no slot")),
            (Err("no"), Verdict::unknown("CannotLook", "no")),
        ];
        for (observed, expected) in table {
            assert_eq!(judge(&observed.map(str::to_owned).map_err(str::to_owned)), expected);
        }
    }
}

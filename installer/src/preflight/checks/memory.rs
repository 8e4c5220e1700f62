//! Memory.

use crate::exit::ExitCode;
use crate::identify::ensure_memory;
use crate::preflight::model::{Check, Class, Finding, Input, Judged, NotRun, known};
use crate::refusal::Refusal;
use profiles::preflight::{MEMORY_ERRORS, MEMORY_SIZE};

/// Corrected errors from which on a module is suspect; a lone one is a cosmic ray (mcelog pages at 10 in a day).
const CORRECTED_WARN: u64 = 10;

/// `memory.size`
pub const SIZE: Check = Check {
    id: MEMORY_SIZE,
    class: Class::Hardware,
    title: "There is the memory the role needs",
    source: "`MemTotal` in `/proc/meminfo`, against `memory_min_mib` of the node",
    limits: "less than `memory_min_mib`: fails",
    why: "Kubernetes would be killed for lack of memory, at a moment of its own choosing",
    remedy: "add memory, or lower `memory_min_mib` of the node or its profile",
    codes: &["E_MEMORY_TOO_SMALL"],
    during_install: false,
    judge: |input| {
        let needs = &input.node()?.requirements;
        Ok(match ensure_memory(input.inventory, needs) {
            Ok(()) => Finding::pass(format!(
                "{} MiB, {} are needed",
                input.inventory.memory_mib, needs.memory_min_mib
            )),
            Err(refusal) => Finding::fail(refusal),
        })
    },
};

/// `memory.errors`
pub const ERRORS: Check = Check {
    id: MEMORY_ERRORS,
    class: Class::Hardware,
    title: "The memory makes no errors",
    source: "`/sys/devices/system/edac/mc/*/{ce_count,ue_count}`, since boot",
    limits: "an uncorrected error: fails; 10 corrected ones: warning; no driver for the memory controller: could not run",
    why: "what an install copies through broken memory is broken on the disk",
    remedy: "find the module (`grep . /sys/devices/system/edac/mc/mc*/dimm*/dimm_ce_count`) and replace it",
    codes: &["E_MEMORY_ERRORS"],
    during_install: false,
    judge: errors,
};

fn errors(input: &Input<'_>) -> Judged {
    if input.is_virtual() {
        return Ok(Finding::not_applicable("a virtual machine has no memory controller"));
    }
    let controllers = known(&input.facts.memory_controllers)?;
    if controllers.is_empty() {
        return Err(NotRun::new("no driver tells of memory errors on this machine (EDAC)"));
    }
    let bad: Vec<String> = controllers
        .iter()
        .filter(|c| c.uncorrected > 0 || c.corrected >= CORRECTED_WARN)
        .map(|c| format!("{}: {} corrected, {} uncorrected errors", c.name, c.corrected, c.uncorrected))
        .collect();
    if controllers.iter().any(|c| c.uncorrected > 0) {
        let message = format!("the memory makes errors that cannot be corrected ({})", bad.join("; "));
        return Ok(Finding::fail(Refusal::new("E_MEMORY_ERRORS", ExitCode::UnsupportedHardware, message)));
    }
    Ok(if bad.is_empty() { Finding::pass("no errors to speak of") } else { Finding::warn(bad.join("; ")) })
}

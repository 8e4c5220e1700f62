//! The image: does it have everything an install calls, copies and enables?

use crate::exit::ExitCode;
use crate::plan::layout::MIB;
use crate::preflight::model::{Check, Class, Finding, NotRun, known};
use crate::refusal::Refusal;
use profiles::preflight::{IMAGE_LOADERS, IMAGE_SCRATCH, IMAGE_TOOLS, IMAGE_UNITS};

/// Room beside the largest file that passes through memory.
const SCRATCH_SLACK_BYTES: u64 = 16 * MIB;

/// `image.units`
pub const UNITS: Check = Check {
    id: IMAGE_UNITS,
    class: Class::Artefacts,
    title: "The image has every unit the node enables",
    source: "unit folders of the image and the rendered units",
    limits: "one missing: fails",
    why: "the node would start without the service and nobody would miss it before it is needed",
    remedy: "boot a medium that was built by the same version of metalstrap",
    codes: &["E_UNIT_MISSING"],
    during_install: false,
    judge: |input| Ok(judge_units(known(&input.facts.units_missing)?)),
};

/// The verdict over units that the image lacks.
pub fn judge_units(missing: &[String]) -> Finding {
    if missing.is_empty() {
        return Finding::pass("all there");
    }
    let message = format!("the image lacks the units {}", missing.join(", "));
    Finding::fail(Refusal::new("E_UNIT_MISSING", ExitCode::Environment, message))
}

/// `image.loaders`
pub const LOADERS: Check = Check {
    id: IMAGE_LOADERS,
    class: Class::Artefacts,
    title: "The image has the boot loaders for both firmwares",
    source: "shim, GRUB and MokManager for UEFI; GRUB's boot image and modules for BIOS",
    limits: "one missing: fails",
    why: "they are written last: without this check their lack would show when the disk is already erased",
    remedy: "boot a medium that was built by the same version of metalstrap",
    codes: &["E_ARTEFACT_MISSING"],
    during_install: false,
    judge: |input| {
        Ok(match known(&input.facts.loaders_missing)?.as_slice() {
            [] => Finding::pass("all there"),
            missing => {
                let message = format!("the image lacks {}", missing.join(", "));
                Finding::fail(Refusal::new("E_ARTEFACT_MISSING", ExitCode::Download, message))
            }
        })
    },
};

/// `image.tools`
pub const TOOLS: Check = Check {
    id: IMAGE_TOOLS,
    class: Class::Artefacts,
    title: "Every program an install calls is there",
    source: "`PATH` of the live system",
    limits: "one missing: fails",
    why: "an install that finds out after it has erased the disk leaves nothing that starts",
    remedy: "boot a live medium of metalstrap, where all of them are",
    codes: &["E_TOOL_MISSING"],
    during_install: false,
    judge: |input| {
        Ok(match known(&input.facts.tools_missing)?.as_slice() {
            [] => Finding::pass("all there"),
            missing => {
                let message = format!("the live system lacks the programs {}", missing.join(", "));
                Finding::fail(Refusal::new("E_TOOL_MISSING", ExitCode::Environment, message))
            }
        })
    },
};

/// `image.scratch`
pub const SCRATCH: Check = Check {
    id: IMAGE_SCRATCH,
    class: Class::Artefacts,
    title: "There is room in memory for files on their way",
    source: "free bytes of `/run`, against the larger of kernel and initrd and 16 MiB",
    limits: "less: warning",
    why: "the read-back of kernel and initrd passes through `/run`; when that is full, the install fails after it was as good as done",
    remedy: "add memory, or boot from a medium on a stick instead of PXE, which keeps the image in memory",
    codes: &[],
    during_install: false,
    judge: |input| {
        let free = *known(&input.facts.scratch_bytes)?;
        let files = &input.medium()?.image.files;
        let largest =
            ["vmlinuz", "initrd"].iter().filter_map(|name| files.get(*name)).map(|file| file.length).max();
        let largest = largest.ok_or_else(|| NotRun::new("image.json names neither kernel nor initrd"))?;
        let needed = largest + SCRATCH_SLACK_BYTES;
        let text = format!("{} MiB free, {} MiB are needed", free / MIB, needed.div_ceil(MIB));
        Ok(if free < needed { Finding::warn(text) } else { Finding::pass(text) })
    },
};

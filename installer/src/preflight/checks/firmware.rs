//! Firmware: can it start what is installed, and is the machine the one it is taken for?

use crate::exit::ExitCode;
use crate::inventory::Firmware;
use crate::preflight::model::{Check, Class, Finding, Input, Judged, NotRun, known};
use crate::refusal::Refusal;
use profiles::preflight::{FIRMWARE_IDENTITY, FIRMWARE_LOADER, FIRMWARE_SECURE_BOOT};

/// Sectors a BIOS can read.
const BIOS_SECTOR_BYTES: u64 = 512;
/// Width of the firmware that the signed loader is made for.
const LOADER_BITS: u32 = 64;

/// `firmware.loader`
pub const LOADER: Check = Check {
    id: FIRMWARE_LOADER,
    class: Class::Hardware,
    title: "The firmware can start the installed disk",
    source: "`/sys/firmware/efi`, `fw_platform_size`, the sectors of the chosen disk",
    limits: "BIOS and a disk with 4096-byte sectors, or 32-bit UEFI: fails",
    why: "the install would end well and the machine would never start from its disk",
    remedy: "switch the firmware to (64-bit) UEFI and boot the medium that way; leave the check out if you switch afterwards",
    codes: &["E_FIRMWARE_LOADER"],
    during_install: false,
    judge: loader,
};

fn loader(input: &Input<'_>) -> Judged {
    let refuse =
        |why: &str| Ok(Finding::fail(Refusal::new("E_FIRMWARE_LOADER", ExitCode::UnsupportedHardware, why)));
    if input.inventory.firmware == Firmware::Bios {
        let disk = input.disk()?.disk();
        if disk.logical_sector_bytes != BIOS_SECTOR_BYTES {
            return refuse(
                "this machine was started by BIOS, which cannot start a disk with 4096-byte sectors; boot by UEFI",
            );
        }
        return Ok(Finding::pass("BIOS, and a disk with 512-byte sectors"));
    }
    match *known(&input.facts.efi_bits)? {
        Some(LOADER_BITS) => Ok(Finding::pass("64-bit UEFI")),
        Some(_) => {
            refuse("the firmware is 32-bit UEFI, the boot loader is made for 64-bit UEFI and for BIOS")
        }
        None => Err(NotRun::new("the kernel does not tell the width of the firmware")),
    }
}

/// `firmware.secure-boot`
pub const SECURE_BOOT: Check = Check {
    id: FIRMWARE_SECURE_BOOT,
    class: Class::Hardware,
    title: "Secure Boot does what it says",
    source: "EFI variable `SecureBoot`; `/sys/kernel/security/lockdown`",
    limits: "on, and the kernel is not locked down: warning; under BIOS it does not apply",
    why: "a kernel that is not locked down under Secure Boot was not started by the signed chain, or hands out what the chain protects",
    remedy: "boot the medium by its own loader (shim and GRUB), not by a loader of a foreign disk",
    codes: &[],
    during_install: false,
    judge: |input| {
        if input.inventory.firmware == Firmware::Bios {
            return Ok(Finding::not_applicable("started by BIOS"));
        }
        match input.inventory.secure_boot {
            None => Err(NotRun::new("the variable SecureBoot cannot be read")),
            Some(false) => Ok(Finding::pass("off")),
            Some(true) => Ok(match known(&input.facts.lockdown)?.as_deref() {
                Some(level) if level != "none" => {
                    Finding::pass(format!("on, the kernel is locked down ({level})"))
                }
                _ => Finding::warn("on, but the kernel is not locked down"),
            }),
        }
    },
};

/// `firmware.identity`
pub const IDENTITY: Check = Check {
    id: FIRMWARE_IDENTITY,
    class: Class::Hardware,
    title: "Everything the cluster file says of the machine is true of it",
    source: "DMI serial number and UUID, permanent MACs, against the node's entry",
    limits: "one identity fits and another does not: warning",
    why: "a network card or mainboard that moved to another machine makes that machine a node it was not meant to be",
    remedy: "look whether this is the machine you mean; then correct `mac`, `serial` or `uuid` of the node",
    codes: &[],
    during_install: false,
    judge: identity,
};

fn identity(input: &Input<'_>) -> Judged {
    let (node, dmi) = (input.node()?, &input.inventory.dmi);
    let wanted = &node.identity;
    let mut misfits = Vec::new();
    let mut fits = 0;
    if let Some(serial) = &wanted.serial {
        match dmi.serial.as_deref().map(str::trim) {
            Some(has) if has == serial.trim() => fits += 1,
            has => misfits.push(format!("serial {serial} (the machine has {})", has.unwrap_or("none"))),
        }
    }
    if let Some(uuid) = wanted.uuid {
        match dmi.uuid {
            Some(has) if has == uuid => fits += 1,
            has => {
                let has = has.map_or("none".to_owned(), |has| has.to_string());
                misfits.push(format!("UUID {uuid} (the machine has {has})"));
            }
        }
    }
    for mac in &wanted.macs {
        if input.inventory.ports().any(|nic| nic.mac == Some(*mac)) {
            fits += 1;
        } else {
            misfits.push(format!("MAC {mac} (no port has it)"));
        }
    }
    Ok(if misfits.is_empty() {
        Finding::pass(format!("{fits} of {fits} identities fit"))
    } else {
        Finding::warn(format!("{fits} fit, but not {}", misfits.join(", ")))
    })
}

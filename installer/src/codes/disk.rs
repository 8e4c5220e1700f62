//! Codes of the disk contract (docs/design/0004).

use super::CodeInfo;

pub(super) const CODES: &[CodeInfo] = &[
    CodeInfo {
        code: "E_DISK_NONE",
        meaning: "The machine has no disk.",
        cause: "no disk is attached, or its controller has no driver in the live system",
        action: "attach a disk; if there is one, send a support bundle: it lists the controllers",
    },
    CodeInfo {
        code: "E_DISK_NO_MATCH",
        meaning: "No disk is the one that was asked for.",
        cause: "the selector in the cluster file or metalstrap.disk names another disk, or the disk is missing",
        action: "compare the selector with the disks listed above",
    },
    CodeInfo {
        code: "E_DISK_AMBIGUOUS",
        meaning: "Several disks could be taken.",
        cause: "the machine has more than one eligible disk and nothing says which one is meant",
        action: "name one with disk.serial in the cluster file or metalstrap.disk=SERIAL",
    },
    CodeInfo {
        code: "E_DISK_CLAIMED_TWICE",
        meaning: "One disk would serve two of the node's mount points.",
        cause: "the selectors of two data disks fit the same disk",
        action: "make the selectors exclude each other, best by disk.serial",
    },
    CodeInfo {
        code: "E_DATA_DISK_DAMAGED",
        meaning: "A data disk that is to be kept is not what its mark says.",
        cause: "its partition table or file system was changed or damaged after the install that made it",
        action: "repair it with e2fsck -f, or give up what is on it with keep = false and disk.wipe",
    },
    CodeInfo {
        code: "E_DISK_HAS_DATA",
        meaning: "The disk holds something, and nobody has given it up.",
        cause: "the disk was used before; metalstrap never takes a disk with data by itself",
        action: "to lose what is on it for good set disk.wipe or metalstrap.wipe to the name given above",
    },
    CodeInfo {
        code: "E_DISK_WIPE_MISMATCH",
        meaning: "Consent was given for another disk than this one.",
        cause: "the serial number in wipe is misspelt, of another machine, or borne by two disks",
        action: "give the exact name shown above for the disk",
    },
    CodeInfo {
        code: "E_DISK_BUSY",
        meaning: "The disk is in use.",
        cause: "something of it is mounted, used as swap, or part of LVM, mdraid, multipath, ZFS or device mapper",
        action: "stop what holds it (named above), or detach the disk from that user",
    },
    CodeInfo {
        code: "E_DISK_BOOT_MEDIUM",
        meaning: "The only disk is the medium of the live system or of the configuration.",
        cause: "the stick is the only disk, or the selector names the stick",
        action: "attach the disk to install to, or name it",
    },
    CodeInfo {
        code: "E_DISK_REMOVABLE",
        meaning: "The disk is removable.",
        cause: "only a USB or removable disk is there; the disk for the system is missing or has no driver",
        action: "attach a fixed disk; for a fixed disk on USB say transport = \"usb\" in the selector",
    },
    CodeInfo {
        code: "E_DISK_READ_ONLY",
        meaning: "The disk cannot be written to.",
        cause: "a write protection switch or setting, or a drive that protects itself before it fails",
        action: "take the protection off or replace the disk",
    },
    CodeInfo {
        code: "E_DISK_FAILING",
        meaning: "The disk says that it fails.",
        cause: "SMART, NVMe health or the end of an eMMC's life",
        action: "replace the disk",
    },
    CodeInfo {
        code: "E_DISK_MULTIPATH",
        meaning: "The disk is reached by several paths.",
        cause: "a storage network or dual-ported enclosure; metalstrap does not join paths",
        action: "leave one path connected, or name another disk",
    },
    CodeInfo {
        code: "E_DISK_SECTOR_SIZE",
        meaning: "The disk has sectors of a size that is not supported.",
        cause: "a disk formatted with 520 or 528 bytes for a storage array",
        action: "format it to 512 or 4096 bytes (sg_format, nvme format) or take another disk",
    },
    CodeInfo {
        code: "E_SECTOR_SIZE",
        meaning: "The plan was asked for a disk whose sector size is not supported.",
        cause: "a disk formatted with 520 or 528 bytes for a storage array",
        action: "format it to 512 or 4096 bytes (sg_format, nvme format) or take another disk",
    },
    CodeInfo {
        code: "E_DISK_TOO_SMALL",
        meaning: "The disk is too small for the node.",
        cause: "the role needs more room than the disk has",
        action: "attach a larger disk or name another one",
    },
    CodeInfo {
        code: "E_DISK_CHANGED",
        meaning: "The disk is no longer the one that was chosen.",
        cause: "disks were plugged or unplugged, or a controller reset, between the choice and the first write",
        action: "try again: the disk is then chosen anew",
    },
    CodeInfo {
        code: "E_DISK_IO",
        meaning: "Reading or writing the disk, or a tool that does it, failed.",
        cause: "a failing disk, cable or controller",
        action: "try again once; if it comes back, replace disk or cable: the message above names the device",
    },
];

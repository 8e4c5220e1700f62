//! Codes of planning and of carrying the plan out.

use super::CodeInfo;

pub(super) const CODES: &[CodeInfo] = &[
    CodeInfo {
        code: "E_RENDER",
        meaning: "A file of the node cannot be rendered.",
        cause: "a setting whose parts do not go together, which the message above names",
        action: "correct the setting; `metalstrap plan FILE --node HOSTNAME` shows the same on any computer",
    },
    CodeInfo {
        code: "E_UNIT_MISSING",
        meaning: "The image lacks a unit that the node enables.",
        cause: "an image that was built by another version or without a package",
        action: "build the image anew with this version",
    },
    CodeInfo {
        code: "E_BOOT_CODE",
        meaning: "The BIOS boot code cannot be made.",
        cause: "GRUB's files in the live system are of another form or size",
        action: "build the image anew; report it with a support bundle if it comes back",
    },
    CodeInfo {
        code: "E_VERIFY_READBACK",
        meaning: "The disk does not give back what was written.",
        cause: "a failing disk, a counterfeit one that has less room than it says, or bad memory",
        action: "try again once; if it comes back, replace the disk",
    },
];

//! Codes of the machine, the medium, and what else is around an install.

use super::CodeInfo;

pub(super) const CODES: &[CodeInfo] = &[
    CodeInfo {
        code: "E_INVENTORY",
        meaning: "The machine could not be looked at.",
        cause: "lsblk or another tool of the live system failed, or the program does not run as root",
        action: "run it as root; in the live system send a support bundle",
    },
    CodeInfo {
        code: "E_MEMORY_TOO_SMALL",
        meaning: "The machine has too little memory for the role.",
        cause: "a memory module is missing, or the role needs more than this machine has",
        action: "add memory, or give the machine another role",
    },
    CodeInfo {
        code: "E_NIC_NOMATCH",
        meaning: "An interface of the node has no counterpart in this machine.",
        cause: "a MAC in the cluster file is of another card, or a card is missing or has no driver",
        action: "correct the MAC: the interfaces of this machine are listed above",
    },
    CodeInfo {
        code: "E_INSTALLED_SYSTEM",
        meaning: "This is an installed system, not a live one.",
        cause: "the unattended install was started by hand on a node",
        action: "start the machine from the medium to install it again",
    },
    CodeInfo {
        code: "E_INSTALLED_TWICE",
        meaning: "Two disks carry an installed system of this very node.",
        cause: "a disk was copied, or an old disk of the node was put back",
        action: "detach all but the right one of the disks listed above",
    },
    CodeInfo {
        code: "E_HANDOVER",
        meaning: "The system installed on the disk cannot be started from here.",
        cause: "its kernel cannot be read, or Secure Boot forbids starting another kernel",
        action: "remove the medium and start the machine from its disk",
    },
    CodeInfo {
        code: "E_MEDIUM",
        meaning: "The live medium does not describe itself as it should.",
        cause: "a medium that was not written completely, or made by another version",
        action: "write the medium again, or build it anew with `cargo xtask image`",
    },
    CodeInfo {
        code: "E_MEDIUM_IO",
        meaning: "The live medium cannot be read to its end.",
        cause: "a bad stick, disc or cable, or a network server that went away",
        action: "try again; if it comes back, write the image to another stick",
    },
    CodeInfo {
        code: "E_ARTEFACT_MISSING",
        meaning: "A file that the install needs is not on the medium or in the image.",
        cause: "a medium that was not written completely, or an image built without it",
        action: "write the medium again, or build it anew with `cargo xtask image`",
    },
    CodeInfo {
        code: "E_ARTEFACT_LENGTH",
        meaning: "A file of the medium has another length than it should.",
        cause: "a medium that was not written completely",
        action: "write the medium again and let the writing tool verify it",
    },
    CodeInfo {
        code: "E_ARTEFACT_HASH",
        meaning: "A file of the medium has other contents than it should.",
        cause: "a bad stick, bad memory, or a file that was replaced",
        action: "write the medium again; if it comes back on this machine only, test its memory",
    },
    CodeInfo {
        code: "E_IMAGE_TOO_LARGE",
        meaning: "The root image does not fit into a root slot.",
        cause: "an image built with more packages or artefacts than a slot has room for",
        action: "leave something out of images/packages and build the image anew",
    },
    CodeInfo {
        code: "E_SUPPORT_MEDIUM",
        meaning: "The support bundle cannot be written to a medium.",
        cause: "no FAT volume labelled METALSTRAP is plugged in, several are, or it is full or write-protected",
        action: "plug in one FAT volume labelled METALSTRAP with some free room, or use --to DIR or --to URL",
    },
    CodeInfo {
        code: "E_SUPPORT_UPLOAD",
        meaning: "The support bundle cannot be sent to its URL.",
        cause: "the server is not reachable or takes neither PUT nor POST at that address",
        action: "check the URL and the server, or use --to DIR or --to medium",
    },
    CodeInfo {
        code: "E_SUPPORT_LEAK",
        meaning: "A secret was still in the finished support bundle, which was therefore not written.",
        cause: "a form of a secret that the redaction does not know; a bug of metalstrap",
        action: "report it with the name of the file given above, without the secret",
    },
    CodeInfo {
        code: "E_NETWORK_SETUP",
        meaning: "The network that was entered at the console cannot be set up.",
        cause: "no cable, a switch port that is closed or wants another VLAN, or no DHCP server",
        action: "look at the port with i, then type c again with another port, VLAN or a static address",
    },
];

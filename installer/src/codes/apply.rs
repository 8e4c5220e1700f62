//! Codes of `metalstrap apply` on an installed node.

use super::CodeInfo;

pub(super) const CODES: &[CodeInfo] = &[
    CodeInfo {
        code: "E_NOT_INSTALLED",
        meaning: "This machine is no installed node.",
        cause: "the command was started on another computer or in the live system, or not as root",
        action: "run it as root on the node",
    },
    CodeInfo {
        code: "E_APPLY_NODE",
        meaning: "The cluster file has no node with the host name of this one.",
        cause: "the file of another cluster, or the node was renamed in it",
        action: "use the file of this cluster; to rename a node install it again",
    },
    CodeInfo {
        code: "E_APPLY_FIXED",
        meaning: "The cluster file changes what an installed node cannot change.",
        cause: "a name, role, range, VIP or disk that is built into the disk, the certificates or the database",
        action: "take the changes listed above back, or install the node again",
    },
    CodeInfo {
        code: "E_APPLY_PENDING",
        meaning: "Another change is on trial, is being taken back, or was cut off.",
        cause: "`metalstrap apply --try` was started before, and its time is not over or just now over; or a plain apply did not come to its end",
        action: "run `metalstrap apply --confirm` or `metalstrap apply --revert`, or wait until it goes back by itself",
    },
    CodeInfo {
        code: "E_APPLY_NONE",
        meaning: "No change is on trial.",
        cause: "its time was over and it went back by itself, or it was confirmed before",
        action: "look at it with `metalstrap apply --dry-run FILE` and try again with more time",
    },
    CodeInfo {
        code: "E_APPLY_RULES",
        meaning: "nft does not take the packet filter rules of the new file.",
        cause: "the command does not run as root, or a flow cannot be put into rules on this kernel",
        action: "run it as root; `metalstrap firewall show --rules --cluster FILE --node NAME` shows the rules",
    },
    CodeInfo {
        code: "E_APPLY_FAILED",
        meaning: "A unit could not be told about its new files.",
        cause: "the unit does not start with them, or systemd does not answer",
        action: "read `systemctl status` and `journalctl -u` of the unit named above",
    },
    CodeInfo {
        code: "E_APPLY_IO",
        meaning: "A file of the node could not be read or written.",
        cause: "the disk is full, read-only or failing, or the command does not run as root",
        action: "look at `df` and `dmesg`; a change that was begun is finished or taken back by the next boot",
    },
];

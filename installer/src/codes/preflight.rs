//! Codes of preflight checks that no other part of the program has. What a check looks at stands in
//! docs/reference/preflight-checks.md.

use super::CodeInfo;

pub(super) const CODES: &[CodeInfo] = &[
    CodeInfo {
        code: "E_MEMORY_ERRORS",
        meaning: "The memory makes errors that cannot be corrected.",
        cause: "a memory module is broken or badly seated",
        action: "find the module by the counters below /sys/devices/system/edac/mc and replace it",
    },
    CodeInfo {
        code: "E_FIRMWARE_LOADER",
        meaning: "The firmware of this machine cannot start what would be installed.",
        cause: "the machine was started by BIOS and the disk has 4096-byte sectors, or the UEFI has 32 bits",
        action: "boot the medium by 64-bit UEFI; if you switch afterwards, leave out firmware.loader",
    },
    CodeInfo {
        code: "E_STATE_TOO_SMALL",
        meaning: "The state partition would have no room for the artefacts of the image.",
        cause: "the disk is just large enough for the two root slots",
        action: "take a larger disk",
    },
    CodeInfo {
        code: "E_NIC_SAME_MAC",
        meaning: "Two ports have the same permanent MAC and the node needs one of them.",
        cause: "a card whose memory was never written, or was copied",
        action: "give one of them a MAC of its own with its maker's tool, or take it out",
    },
    CodeInfo {
        code: "E_MTU_TOO_LARGE",
        meaning: "The cluster file asks for a larger MTU than the port takes.",
        cause: "jumbo frames on a card or virtual port that has none",
        action: "lower mtu of the network in the cluster file",
    },
    CodeInfo {
        code: "E_CLOCK_PAST",
        meaning: "The clock of the machine is before the build of the image.",
        cause: "the battery of the board is empty, or the firmware was never set",
        action: "set the clock (date -s, hwclock -w), or let the machine reach a time server; then try again",
    },
    CodeInfo {
        code: "E_CLOCK_FUTURE",
        meaning: "The clock of the machine is more than ten years after the build of the image.",
        cause: "the clock was set by hand to a wrong year, or the image is very old",
        action: "set the clock (date -s, hwclock -w), or build a new image",
    },
    CodeInfo {
        code: "E_TIME_ZONE",
        meaning: "The image does not know the time zone of the cluster.",
        cause: "a misspelt name in cluster.timezone",
        action: "correct it; timedatectl list-timezones shows all names",
    },
    CodeInfo {
        code: "E_CLUSTER_EXISTS",
        meaning: "The machine is to form a cluster, and one answers at its address already.",
        cause: "a master is replaced while the others run, or two clusters were given one address",
        action: "to replace a master list it behind another one in the cluster file; to begin anew switch the old masters off first",
    },
    CodeInfo {
        code: "E_VIP_NOT_OURS",
        meaning: "Behind the address of the API stands another cluster than that of the token.",
        cause: "somebody else has the address, or secrets.toml is of another cluster",
        action: "find out who has the address (ip neigh), or put the right token into secrets.toml",
    },
    CodeInfo {
        code: "E_TOOL_MISSING",
        meaning: "The live system lacks a program that an install calls.",
        cause: "the program runs outside of a live medium of metalstrap",
        action: "boot the medium and run the install there",
    },
    CodeInfo {
        code: "E_KERNEL_MODULE",
        meaning: "The kernel lacks a module that the node loads at boot.",
        cause: "kernel_modules of the profile names a module that Debian's kernel does not have",
        action: "take it out of the profile, or put it into the image first",
    },
    CodeInfo {
        code: "E_KERNEL_FILE_SYSTEM",
        meaning: "The kernel cannot mount what would be installed.",
        cause: "another kernel than that of a live medium of metalstrap is running",
        action: "boot the medium and run the install there",
    },
    CodeInfo {
        code: "E_CGROUPS",
        meaning: "The kernel lacks a cgroup controller that the kubelet needs.",
        cause: "cgroup_disable= or systemd.unified_cgroup_hierarchy=0 on the kernel's command line",
        action: "take it away and boot again",
    },
    CodeInfo {
        code: "E_FIREWALL_RULES",
        meaning: "The kernel does not take the firewall of this node.",
        cause: "another kernel than that of a live medium, or a bug in the rules",
        action: "boot the medium; if it is one, report the message with a support bundle",
    },
];

//! Codes of the configuration, of who this machine is, and of what the operator asked for.

use super::CodeInfo;

pub(super) const CODES: &[CodeInfo] = &[
    CodeInfo {
        code: "E_ARGUMENT",
        meaning: "A kernel argument `metalstrap.*` or an answer at the console has a value that cannot be meant.",
        cause: "a typing error in the boot menu, in boot.cfg on the stick, or in the iPXE variable `extra`",
        action: "correct the argument named above and start the machine again",
    },
    CodeInfo {
        code: "E_CONFIG_NONE",
        meaning: "No cluster file was found anywhere.",
        cause: "the stick with the cluster file is not plugged in or has another label, or the URL names a file the server does not have",
        action: "plug in a volume labelled METALSTRAP with cluster.toml, or type c to enter network and URL; the machine goes on by itself when it finds one",
    },
    CodeInfo {
        code: "E_CONFIG_AMBIGUOUS",
        meaning: "Several volumes with the same label have a cluster file.",
        cause: "two configuration sticks are plugged in, or an old one was forgotten",
        action: "remove all but one of the volumes listed above",
    },
    CodeInfo {
        code: "E_CONFIG_UNREADABLE",
        meaning: "A configuration medium or file is there and cannot be read.",
        cause: "a damaged stick, a file system that is not supported (FAT is the safe choice), or a file that may not be read",
        action: "make the stick anew with FAT, or use another one",
    },
    CodeInfo {
        code: "E_CONFIG_FETCH",
        meaning: "The cluster file could not be fetched from its URL.",
        cause: "the network or the server is not up yet, or address, VLAN, DNS or URL is wrong",
        action: "check cable, VLAN and server; type c to enter network and URL; it is tried again by itself",
    },
    CodeInfo {
        code: "E_CONFIG_PLACEHOLDER",
        meaning: "The URL of the cluster file has a placeholder that is unknown or has no value on this machine.",
        cause: "a misspelt placeholder, or a machine whose firmware has no serial number or UUID",
        action: "use ${mac}, ${serial}, ${uuid} or ${hostname}, and one this machine has a value for",
    },
    CodeInfo {
        code: "E_CONFIG_INVALID",
        meaning: "The cluster file cannot be used.",
        cause: "the file has errors, each listed above with line and column",
        action: "correct them; `metalstrap check FILE` shows the same on any computer",
    },
    CodeInfo {
        code: "E_NODE_NONE",
        meaning: "No node of the cluster file is this machine.",
        cause: "the machine's MAC, serial number or UUID is not in the file, or metalstrap.node names a node that is not there",
        action: "put one of the identities listed above into the node's entry, or start with metalstrap.node=HOSTNAME",
    },
    CodeInfo {
        code: "E_NODE_AMBIGUOUS",
        meaning: "This machine is several nodes of the cluster file at once.",
        cause: "an identity was copied from one node to another, or two nodes are known by different identities of one machine",
        action: "make the identities of the nodes listed above disjoint, or start with metalstrap.node=HOSTNAME",
    },
    CodeInfo {
        code: "E_NODE_RESOLVE",
        meaning: "The node cannot be resolved from the cluster file.",
        cause: "a node and the profile of its role contradict each other",
        action: "run `metalstrap check FILE`; report it with a support bundle if that finds nothing",
    },
    CodeInfo {
        code: "E_TOKEN_MISSING",
        meaning: "This node needs a token to join and has none.",
        cause: "secrets.toml is not beside the cluster file, or lacks the token",
        action: "put secrets.toml (metalstrap init makes one) beside the cluster file",
    },
    CodeInfo {
        code: "E_NOT_CONFIRMED",
        meaning: "Nobody confirmed the install, or the change of an installed node.",
        cause: "the question was answered with something other than y, or there is no terminal to ask on",
        action: "run it again in a terminal and answer y, or give --yes",
    },
    CodeInfo {
        code: "E_RESUME",
        meaning: "There is no unfinished install on the disk that could be resumed.",
        cause: "the disk that is chosen carries no unfinished mark: nothing was begun there, or it came to its end",
        action: "install without --resume",
    },
];

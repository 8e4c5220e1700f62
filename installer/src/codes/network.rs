//! Codes of the network around the machine: what the probes found before an address was used.

use super::CodeInfo;

pub(super) const CODES: &[CodeInfo] = &[
    CodeInfo {
        code: "E_NETWORK_ARGUMENT",
        meaning: "A kernel argument for the network of the live system cannot be meant, or names a card that is not there.",
        cause: "a typing error, a syntax dracut does not have, or a card that is called differently on this machine",
        action: "correct the argument: the right form and the cards of the machine are shown with it; until then every other card asks by DHCP",
    },
    CodeInfo {
        code: "E_ADDRESS_IN_USE",
        meaning: "Another machine answers for an address of this node, or for a VIP of the cluster.",
        cause: "an address given twice, an old machine that still runs, or a DHCP server whose pool is not kept out of the cluster file",
        action: "find the machine by the MAC named above (the address table of the switch shows its port), or change the address in the cluster file",
    },
    CodeInfo {
        code: "E_NO_CARRIER",
        meaning: "A leg that this node joins the cluster through has no signal.",
        cause: "the cable is not plugged in, is in another port, or the port of the switch is off",
        action: "plug the cable in and start the machine again",
    },
];

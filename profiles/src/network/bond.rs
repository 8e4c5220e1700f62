//! Bonds: several cards as one, and the words of the kernel's driver for how.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How often the driver looks for a carrier, in milliseconds. Its own default, 0, never looks: a pulled cable goes unnoticed.
const MIIMON_MS: u16 = 100;

/// Several cards as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bond {
    /// Names of its cards.
    pub members: Vec<String>,
    /// How they share the work.
    pub mode: BondMode,
    /// How often the switch is asked for LACP packets; of 802.3ad only.
    pub lacp_rate: LacpRate,
    /// What chooses the card of a packet; of 802.3ad, balance-xor and balance-tlb only.
    pub hash: TransmitHash,
    /// How often the carrier of the members is looked at.
    pub miimon_ms: u16,
    /// Members that must be up before the bond is; of 802.3ad only. 0 is as good as 1.
    #[serde(default)]
    pub min_links: u8,
    /// The member that is used whenever it can be; of active-backup only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
}

impl Bond {
    /// A bond with what suits most switches: LACP packets every second, all of address and port choosing the card, and a
    /// carrier looked at ten times a second.
    pub fn new(members: Vec<String>, mode: BondMode) -> Self {
        Self {
            members,
            mode,
            lacp_rate: LacpRate::Fast,
            hash: TransmitHash::Layer3And4,
            miimon_ms: MIIMON_MS,
            min_links: 0,
            primary: None,
        }
    }
}

/// Why a text is not one of the bonding driver's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of {0}")]
pub struct BondWordError(pub String);

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident $text:literal $number:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As the driver, networkd and the cluster file spell it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = BondWordError;

            /// Takes the word, or the number the driver has for it.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text | $number => Ok(Self::$variant),)*
                    _ => Err(BondWordError([$($text),*].join(", "))),
                }
            }
        }
    };
}

words! {
    /// How the members of a bond share the work.
    BondMode {
        /// All in turn, packet by packet.
        BalanceRr "balance-rr" "0",
        /// One works, the others wait. Needs nothing of the switch.
        ActiveBackup "active-backup" "1",
        /// A hash chooses; the switch must be told (static link aggregation).
        BalanceXor "balance-xor" "2",
        /// Every packet on every member.
        Broadcast "broadcast" "3",
        /// LACP; the switch must speak it.
        Lacp "802.3ad" "4",
        /// Sending is shared, one receives. Needs nothing of the switch.
        BalanceTlb "balance-tlb" "5",
        /// Sending and receiving are shared by ARP.
        BalanceAlb "balance-alb" "6",
    }
}

words! {
    /// How often the switch is asked for LACP packets.
    LacpRate {
        /// Every 30 seconds: a dead link is noticed after 90.
        Slow "slow" "0",
        /// Every second: a dead link is noticed after 3.
        Fast "fast" "1",
    }
}

words! {
    /// What chooses the card of a packet.
    TransmitHash {
        /// MACs.
        Layer2 "layer2" "0",
        /// Addresses and ports.
        Layer3And4 "layer3+4" "1",
        /// MACs and addresses.
        Layer2And3 "layer2+3" "2",
        /// MACs and addresses, of what is inside a tunnel.
        Encap2And3 "encap2+3" "3",
        /// Addresses and ports, of what is inside a tunnel.
        Encap3And4 "encap3+4" "4",
    }
}

#[cfg(test)]
mod tests {
    use super::{BondMode, LacpRate, TransmitHash};

    #[test]
    fn reads_words_and_the_numbers_of_the_driver() {
        for mode in BondMode::ALL {
            assert_eq!(mode.as_str().parse::<BondMode>().unwrap(), *mode);
        }
        assert_eq!("4".parse::<BondMode>().unwrap(), BondMode::Lacp);
        assert_eq!("1".parse::<LacpRate>().unwrap(), LacpRate::Fast);
        assert_eq!("layer2+3".parse::<TransmitHash>().unwrap(), TransmitHash::Layer2And3);
        assert_eq!("on".parse::<LacpRate>().unwrap_err().to_string(), "not one of slow, fast");
    }
}

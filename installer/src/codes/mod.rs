//! Every code a refusal or failure can carry, with what it means, why it probably happened and what to do next. The console, the
//! outcome file, the command line and `docs/reference/error-codes.md` all speak from here; a test walks the source for a code
//! that is missing. Codes of the cluster file are those of [`profiles::Code`]. Pure.

mod apply;
mod around;
mod config;
mod disk;
mod network;
mod page;
mod preflight;
mod retry;
mod write;

pub use page::render_codes_page;
pub use retry::{Retry, may_pass};

/// What is known about one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeInfo {
    /// The code.
    pub code: &'static str,
    /// What it says, in one sentence.
    pub meaning: &'static str,
    /// Why it mostly happens.
    pub cause: &'static str,
    /// What to do next.
    pub action: &'static str,
}

/// A group of codes: its heading on the reference page and its codes.
type Group = (&'static str, &'static [CodeInfo]);

/// All codes of this program, by group.
const GROUPS: [Group; 7] = [
    ("Configuration and identity", config::CODES),
    ("Disks", disk::CODES),
    ("Machine, medium and surroundings", around::CODES),
    ("Network", network::CODES),
    ("Preflight", preflight::CODES),
    ("Installing", write::CODES),
    ("Changing an installed node", apply::CODES),
];

/// Why a cluster file cannot be used, for every code of [`profiles::Code`].
const FILE_ACTION: &str =
    "correct the file at the line and column given; `metalstrap check FILE` shows everything at once";

/// Probable cause and next action of one refusal or failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Why it probably happened.
    pub cause: &'static str,
    /// What to do next.
    pub action: &'static str,
}

/// Every code that is no code of the cluster file.
pub fn all() -> impl Iterator<Item = &'static CodeInfo> {
    GROUPS.iter().flat_map(|(_, codes)| codes.iter())
}

/// What is known about a code.
pub fn find(code: &str) -> Option<&'static CodeInfo> {
    all().find(|info| info.code == code)
}

/// Cause and action for a code, made more exact by what the message tells. A code that nobody knows gets the honest answer.
pub fn advise(code: &str, message: &str) -> Advice {
    let advice = match find(code) {
        Some(info) => Advice { cause: info.cause, action: info.action },
        None => match profiles::Code::ALL.iter().find(|known| known.as_str() == code) {
            Some(known) => Advice { cause: known.meaning(), action: FILE_ACTION },
            None => Advice {
                cause: "not known",
                action: "write a support bundle (metalstrap support) and report it with the message above",
            },
        },
    };
    Advice { cause: telling(code, message).unwrap_or(advice.cause), ..advice }
}

/// Texts of the system that say more than the code does: where they count, the text, and the cause.
const TELLING: [(&[&str], &str, &str); 15] = [
    (
        NETWORK,
        "dns error",
        "the name in the URL cannot be resolved: no DNS server, or it does not know the name",
    ),
    (
        NETWORK,
        "failed to lookup",
        "the name in the URL cannot be resolved: no DNS server, or it does not know the name",
    ),
    (NETWORK, "Connection refused", "the server is up, but nothing listens on that port"),
    (NETWORK, "No route to host", "the address is not reachable from here: wrong network, VLAN or cable"),
    (
        NETWORK,
        "Network is unreachable",
        "this machine has no address or no gateway: no DHCP server, no cable, or a port that needs a VLAN",
    ),
    (
        NETWORK,
        "certificate",
        "the certificate of the server is not trusted here, not for this name, or the clock is wrong",
    ),
    (NETWORK, "timed out", "no answer in time: a firewall, a wrong address, or a network that is not up yet"),
    (NETWORK, "answered 401", "the server wants a user name and password or a token"),
    (NETWORK, "answered 403", "the server does not let this machine read that file"),
    (NETWORK, "answered 5", "the server is in trouble"),
    (
        DEVICE,
        "os error 5)",
        "the device reports a read or write error: it is failing, or its cable or controller is",
    ),
    (DEVICE, "os error 28)", "a file system is full"),
    (
        DEVICE,
        "os error 30)",
        "the device or file system turned read-only, as drives do that are about to fail",
    ),
    (DEVICE, "os error 19)", "the device went away: a loose cable, or a controller that reset it"),
    (DEVICE, "did not end within", "the device answers far too slowly, as a failing one does"),
];

/// Codes of what comes over the network.
const NETWORK: &[&str] = &["E_CONFIG_FETCH", "E_SUPPORT_UPLOAD"];
/// Codes of what is read from or written to a device.
const DEVICE: &[&str] = &["E_DISK_IO", "E_MEDIUM_IO", "E_MEDIUM", "E_CONFIG_UNREADABLE", "E_SUPPORT_MEDIUM"];

fn telling(code: &str, message: &str) -> Option<&'static str> {
    let fits = |(codes, text, _): &&(&[&str], &str, &str)| codes.contains(&code) && message.contains(text);
    TELLING.iter().find(fits).map(|(_, _, cause)| *cause)
}

#[cfg(test)]
mod tests {
    use super::{advise, all, find};
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_there_once_and_says_something() {
        let mut seen = BTreeSet::new();
        for info in all() {
            assert!(seen.insert(info.code), "{} twice", info.code);
            assert!(
                profiles::Code::ALL.iter().all(|c| c.as_str() != info.code),
                "{} is one of profiles",
                info.code
            );
            assert!(info.meaning.ends_with('.'), "{}", info.code);
            for text in [info.cause, info.action] {
                assert!(text.len() > 15 && !text.ends_with('.'), "{}: {text}", info.code);
            }
        }
    }

    #[test]
    fn what_the_system_says_makes_the_cause_more_exact() {
        let advice = advise("E_CONFIG_FETCH", "fetching http://x/c.toml: Connection refused (os error 111)");
        assert_eq!(advice.cause, "the server is up, but nothing listens on that port");
        assert_eq!(
            advise("E_CONFIG_FETCH", "fetching http://x").cause,
            find("E_CONFIG_FETCH").unwrap().cause
        );
        // A name may hold any word; only errors of the network are looked into for such a word.
        assert_eq!(advise("E_NODE_NONE", "certificate").cause, find("E_NODE_NONE").unwrap().cause);
    }

    #[test]
    fn codes_of_the_cluster_file_and_unknown_ones_have_an_answer_too() {
        let advice = advise("E_MASTERS_NONE", "");
        assert_eq!(advice.cause, "A cluster without a master.");
        assert!(advice.action.contains("metalstrap check"));
        assert_eq!(advise("E_NEVER_HEARD_OF", "").cause, "not known");
    }
}

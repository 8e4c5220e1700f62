//! Order and soundness of links: every link after those it stands on, no name twice, no ring.

use super::{Link, LinkKind};
use std::collections::{BTreeMap, BTreeSet};

/// Longest name the kernel takes for a link (`IFNAMSIZ` less the closing zero).
pub const NAME_BYTES_MAX: usize = 15;

/// Why links are not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// A name that no link can have.
    #[error(
        "`{0}` cannot be the name of a network interface (1 to 15 of a-z, A-Z, 0-9, `.`, `-` and `_`, a letter or digit first)"
    )]
    Name(String),
    /// Two links with one name.
    #[error("two network interfaces are called `{0}`")]
    NameTwice(String),
    /// A link that stands on nothing there is.
    #[error("`{upper}` stands on `{lower}`, which is not there")]
    NoLower {
        /// The link.
        upper: String,
        /// What it names.
        lower: String,
    },
    /// A bond or bridge without members.
    #[error("`{0}` has no members")]
    NoMembers(String),
    /// A member of two links, or twice of one.
    #[error("`{member}` is a member of `{first}` already and cannot be one of `{second}`")]
    MemberTwice {
        /// The member.
        member: String,
        /// Whose it is.
        first: String,
        /// Who wants it too.
        second: String,
    },
    /// A VLAN tag that does not exist.
    #[error("{id} is not a VLAN (1 to 4094)")]
    VlanId {
        /// The tag.
        id: u16,
    },
    /// A ring of links.
    #[error("`{0}` stands, in the end, on itself")]
    Ring(String),
}

/// A name the kernel, networkd and the firewall all take as it is.
pub fn is_link_name(text: &str) -> bool {
    let sign = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(sign)
        && !text.bytes().all(|b| b.is_ascii_digit())
        && !["all", "bonding_masters", "default", "lo"].contains(&text)
}

/// The links, lower ones first.
pub(super) fn ordered(links: Vec<Link>) -> Result<Vec<Link>, NetworkError> {
    sound(&links)?;
    let mut placed: BTreeSet<String> = BTreeSet::new();
    let mut waiting = links;
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let ready = |link: &Link| link.lower().iter().all(|lower| placed.contains(*lower));
        let Some(next) = waiting.iter().position(ready) else {
            return Err(NetworkError::Ring(waiting.remove(0).name));
        };
        let link = waiting.remove(next);
        placed.insert(link.name.clone());
        ordered.push(link);
    }
    Ok(ordered)
}

fn sound(links: &[Link]) -> Result<(), NetworkError> {
    let mut names = BTreeSet::new();
    for link in links {
        if !is_link_name(&link.name) {
            return Err(NetworkError::Name(link.name.clone()));
        }
        if !names.insert(link.name.as_str()) {
            return Err(NetworkError::NameTwice(link.name.clone()));
        }
    }
    let mut masters: BTreeMap<&str, &str> = BTreeMap::new();
    for link in links {
        for lower in link.lower() {
            if !names.contains(lower) {
                return Err(NetworkError::NoLower { upper: link.name.clone(), lower: lower.to_owned() });
            }
        }
        let members = match &link.kind {
            LinkKind::Physical { .. } => continue,
            LinkKind::Vlan { id: 1..=4094, .. } => continue,
            LinkKind::Vlan { id, .. } => return Err(NetworkError::VlanId { id: *id }),
            LinkKind::Bond(bond) => &bond.members,
            LinkKind::Bridge { members, .. } => members,
        };
        if members.is_empty() {
            return Err(NetworkError::NoMembers(link.name.clone()));
        }
        for member in members {
            if let Some(first) = masters.insert(member, &link.name) {
                return Err(NetworkError::MemberTwice {
                    member: member.clone(),
                    first: first.to_owned(),
                    second: link.name.clone(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Bond, BondMode, Link, LinkKind, Network};
    use super::is_link_name;

    fn vlan(name: &str, id: u16, parent: &str) -> Link {
        Link::new(name, LinkKind::Vlan { id, parent: parent.to_owned() })
    }

    fn bond(name: &str, members: &[&str]) -> Link {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        Link::new(name, LinkKind::Bond(Bond::new(members, BondMode::Lacp)))
    }

    fn bridge(name: &str, members: &[&str]) -> Link {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        Link::new(name, LinkKind::Bridge { members, stp: false })
    }

    fn nic(name: &str, last: u8) -> Link {
        Link::nic(name, crate::node::MacAddr([2, 0, 0, 0, 0, last]))
    }

    fn refused(links: Vec<Link>) -> String {
        Network::new(links).unwrap_err().to_string()
    }

    #[test]
    fn puts_lower_links_first() {
        let links = vec![
            bridge("br0", &["bond0.20"]),
            vlan("bond0.20", 20, "bond0"),
            bond("bond0", &["nic0", "nic1"]),
            nic("nic0", 1),
            nic("nic1", 2),
        ];
        let network = Network::new(links).unwrap();
        let names: Vec<_> = network.links().iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["nic0", "nic1", "bond0", "bond0.20", "br0"]);
        assert_eq!(network.mac_of("br0").unwrap().to_string(), "02:00:00:00:00:01");
        let below: Vec<_> = network.nics_below("br0").iter().map(|link| link.name.as_str()).collect();
        assert_eq!(below, ["nic0", "nic1"]);
    }

    #[test]
    fn refuses_what_cannot_be_built() {
        assert_eq!(refused(vec![nic("a", 1), nic("a", 2)]), "two network interfaces are called `a`");
        assert_eq!(refused(vec![vlan("a.1", 1, "a")]), "`a.1` stands on `a`, which is not there");
        assert_eq!(refused(vec![bond("bond0", &[])]), "`bond0` has no members");
        assert_eq!(refused(vec![nic("a", 1), vlan("v", 4095, "a")]), "4095 is not a VLAN (1 to 4094)");
        let twice = vec![nic("a", 1), bond("b", &["a"]), bridge("c", &["a"])];
        assert_eq!(refused(twice), "`a` is a member of `b` already and cannot be one of `c`");
        let ring = vec![bridge("b", &["v"]), vlan("v", 2, "b")];
        assert_eq!(refused(ring), "`b` stands, in the end, on itself");
    }

    #[test]
    fn knows_names_the_kernel_takes() {
        for name in ["eth0", "bond0.4094", "a23456789012345", "0a"] {
            assert!(is_link_name(name), "{name}");
        }
        for name in ["", "a234567890123456", "a b", "a/b", ".a", "-a", "lo", "all", "12", "a:b", "ä"] {
            assert!(!is_link_name(name), "{name}");
        }
    }
}

//! MTUs of links that stand on each other: a link below must carry what the one above sends.

use super::{Link, Network};
use std::collections::BTreeMap;

/// MTU of an Ethernet link that nobody has set.
pub const MTU_ETHERNET: u16 = 1500;

impl Network {
    /// Says every MTU that follows from another one: a link below one with a larger MTU gets that one; a link above one whose
    /// MTU is set keeps Ethernet's, as the kernel would otherwise give it whatever the lower one has at that moment.
    #[must_use]
    pub fn with_room_for_mtu(mut self) -> Self {
        let set: BTreeMap<String, u16> =
            self.links.iter().filter_map(|link| Some((link.name.clone(), link.mtu_bytes?))).collect();
        let mut room: BTreeMap<String, u16> = BTreeMap::new();
        for link in self.links.iter_mut().rev() {
            if let Some(needed) = room.get(&link.name).filter(|_| !set.contains_key(&link.name)) {
                link.mtu_bytes = Some(*needed);
            }
            let Some(mtu) = link.mtu_bytes.filter(|mtu| *mtu > MTU_ETHERNET) else { continue };
            for lower in lower_names(link) {
                let most = room.entry(lower).or_insert(mtu);
                *most = mtu.max(*most);
            }
        }
        let mut known: BTreeMap<String, u16> = BTreeMap::new();
        for link in &mut self.links {
            let below = lower_names(link).into_iter().filter_map(|lower| known.get(&lower).copied()).min();
            if let (None, Some(below)) = (link.mtu_bytes, below) {
                link.mtu_bytes = Some(MTU_ETHERNET.min(below));
            }
            if let Some(mtu) = link.mtu_bytes {
                known.insert(link.name.clone(), mtu);
            }
        }
        self
    }
}

fn lower_names(link: &Link) -> Vec<String> {
    link.lower().into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Bond, BondMode, Link, LinkKind, Network};
    use crate::node::MacAddr;

    fn mtus(bond: Option<u16>, first: Option<u16>, second: Option<u16>) -> Vec<Option<u16>> {
        let members = vec!["nic0".to_owned()];
        let mut links = vec![
            Link::nic("nic0", MacAddr([2, 0, 0, 0, 0, 1])),
            Link::new("bond0", LinkKind::Bond(Bond::new(members, BondMode::Lacp))),
            Link::new("bond0.1", LinkKind::Vlan { id: 1, parent: "bond0".to_owned() }),
            Link::new("bond0.2", LinkKind::Vlan { id: 2, parent: "bond0".to_owned() }),
        ];
        for (link, mtu) in links.iter_mut().skip(1).zip([bond, first, second]) {
            link.mtu_bytes = mtu;
        }
        let network = Network::new(links).unwrap().with_room_for_mtu();
        network.links().iter().map(|link| link.mtu_bytes).collect()
    }

    #[test]
    fn nobody_says_anything_nothing_is_said() {
        assert_eq!(mtus(None, None, None), [None; 4]);
    }

    #[test]
    fn makes_room_below_and_leaves_the_neighbour_alone() {
        assert_eq!(mtus(None, None, Some(9000)), [Some(9000), Some(9000), Some(1500), Some(9000)]);
        assert_eq!(mtus(Some(9000), None, None), [Some(9000), Some(9000), Some(1500), Some(1500)]);
        assert_eq!(mtus(None, Some(1400), None), [None, None, Some(1400), None]);
    }
}

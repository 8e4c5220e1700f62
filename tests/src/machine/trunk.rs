//! Several cards of a machine behind a switch, in the place of the one card on QEMU's network. Pure.

/// Cards behind a [`super::Switch`], whose uplink is the machine's network. Each cable is the loopback port on which QEMU takes
/// frames, and the one it sends them to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trunk {
    /// Cable from the network to the switch.
    pub uplink: (u16, u16),
    /// Ethernet addresses with the cables to the switch. For QEMU the cards are `card0`, `card1` and so on.
    pub cards: Vec<(String, (u16, u16))>,
}

impl Trunk {
    /// The arguments after those of the network. Linux bundles only cards that tell speed and duplex, which virtio else does not.
    pub(super) fn arguments(&self) -> Vec<(&'static str, String)> {
        let mut list = vec![
            ("-netdev", format!("{},id=uplink", cable(self.uplink))),
            ("-netdev", "hubport,id=hub0,hubid=0,netdev=net0".to_owned()),
            ("-netdev", "hubport,id=hub1,hubid=0,netdev=uplink".to_owned()),
        ];
        for (number, (mac, ends)) in self.cards.iter().enumerate() {
            list.push(("-netdev", format!("{},id=port{number}", cable(*ends))));
            list.push((
                "-device",
                format!(
                    "virtio-net-pci,id=card{number},netdev=port{number},mac={mac},speed=1000,duplex=full"
                ),
            ));
        }
        list
    }
}

fn cable((own, other): (u16, u16)) -> String {
    format!("socket,udp=127.0.0.1:{other},localaddr=127.0.0.1:{own}")
}

#[cfg(test)]
mod tests {
    use super::Trunk;

    #[test]
    fn puts_the_network_on_one_hub_with_the_uplink_and_each_card_on_its_cable() {
        let trunk = Trunk { uplink: (1, 2), cards: vec![("52:54:00:00:00:11".to_owned(), (3, 4))] };
        let texts: Vec<String> = trunk.arguments().into_iter().map(|(o, v)| format!("{o} {v}")).collect();
        assert_eq!(
            texts,
            [
                "-netdev socket,udp=127.0.0.1:2,localaddr=127.0.0.1:1,id=uplink",
                "-netdev hubport,id=hub0,hubid=0,netdev=net0",
                "-netdev hubport,id=hub1,hubid=0,netdev=uplink",
                "-netdev socket,udp=127.0.0.1:4,localaddr=127.0.0.1:3,id=port0",
                "-device virtio-net-pci,id=card0,netdev=port0,mac=52:54:00:00:00:11,speed=1000,duplex=full"
            ]
        );
    }
}

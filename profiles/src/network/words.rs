//! A link in words, for people: the plan, the console, the support bundle.

use super::{Bond, BondMode, Link, LinkKind, Network, NicMatch};
use std::fmt;

impl Network {
    /// One line for each link, lower ones first.
    pub fn in_words(&self) -> Vec<String> {
        self.links.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for NicMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "card {mac}"),
            Self::Name(name) => write!(f, "card now called {name}"),
            Self::Only => f.write_str("the only card"),
            Self::Any => f.write_str("any card"),
        }
    }
}

impl fmt::Display for Bond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bond of {} ({}", self.members.join(" and "), self.mode)?;
        if self.mode == BondMode::Lacp {
            write!(f, ", LACP packets {}", self.lacp_rate)?;
        }
        if self.mode.hashes() {
            write!(f, ", by {}", self.hash)?;
        }
        if let Some(primary) = &self.primary {
            write!(f, ", {primary} first")?;
        }
        f.write_str(")")
    }
}

impl BondMode {
    /// A hash chooses the member.
    pub fn hashes(self) -> bool {
        matches!(self, Self::Lacp | Self::BalanceXor | Self::BalanceTlb)
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Physical { nic } => nic.fmt(f),
            Self::Bond(bond) => bond.fmt(f),
            Self::Vlan { id, parent } => write!(f, "VLAN {id} on {parent}"),
            Self::Bridge { members, stp } => {
                let stp = if *stp { ", spanning tree" } else { "" };
                write!(f, "bridge of {}{stp}", members.join(" and "))
            }
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.kind)?;
        if let Some(mtu) = self.mtu_bytes {
            write!(f, ", MTU {mtu}")?;
        }
        for address in &self.addresses {
            write!(f, ", {address}")?;
        }
        if self.dhcp4 {
            f.write_str(", DHCP")?;
        }
        if self.auto6 {
            f.write_str(", IPv6 from the routers")?;
        }
        for gateway in self.gateways() {
            write!(f, ", gateway {gateway}")?;
        }
        for route in &self.routes {
            write!(f, ", {} ", route.to)?;
            match route.via {
                Some(via) => write!(f, "via {via}")?,
                None => f.write_str("directly")?,
            }
            if let Some(metric) = route.metric {
                write!(f, " (metric {metric})")?;
            }
        }
        if !self.dns.is_empty() {
            let dns: Vec<String> = self.dns.iter().map(ToString::to_string).collect();
            write!(f, ", DNS {}", dns.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bond, BondMode, Link, LinkKind, Network, NicMatch, Route};

    #[test]
    fn tells_a_link_in_one_line() {
        let mut bond = Link::new(
            "bond0",
            LinkKind::Bond(Bond::new(vec!["nic0".to_owned(), "nic1".to_owned()], BondMode::Lacp)),
        );
        bond.mtu_bytes = Some(9000);
        let mut vlan = Link::new("bond0.20", LinkKind::Vlan { id: 20, parent: "bond0".to_owned() });
        vlan.addresses = vec!["10.0.0.11/22".parse().unwrap(), "fd00::11/64".parse().unwrap()];
        vlan.gateway = Some("10.0.0.1".parse().unwrap());
        vlan.dns = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        vlan.routes = vec![Route {
            to: "10.50.0.0/16".parse().unwrap(),
            via: Some("10.0.0.254".parse().unwrap()),
            metric: Some(50),
        }];
        let mut other = Link::new("nic1", LinkKind::Physical { nic: NicMatch::Name("eth1".to_owned()) });
        other.dhcp4 = true;
        other.auto6 = true;
        let nic0 = Link::new("nic0", LinkKind::Physical { nic: NicMatch::Only });
        assert_eq!(
            Network::new(vec![nic0, other, bond, vlan]).unwrap().in_words(),
            [
                "nic0: the only card",
                "nic1: card now called eth1, DHCP, IPv6 from the routers",
                "bond0: bond of nic0 and nic1 (802.3ad, LACP packets fast, by layer3+4), MTU 9000",
                "bond0.20: VLAN 20 on bond0, 10.0.0.11/22, fd00::11/64, gateway 10.0.0.1, 10.50.0.0/16 via 10.0.0.254 (metric 50), \
                 DNS 10.0.0.1 fd00::1",
            ]
        );
    }

    #[test]
    fn comes_back_from_json_as_it_went() {
        let bond =
            Bond { primary: Some("a".to_owned()), ..Bond::new(vec!["a".to_owned()], BondMode::ActiveBackup) };
        let links = vec![
            Link::new("a", LinkKind::Physical { nic: NicMatch::Any }),
            Link::new("b", LinkKind::Bond(bond)),
            Link::new("v", LinkKind::Vlan { id: 5, parent: "b".to_owned() }),
            Link::new("br", LinkKind::Bridge { members: vec!["v".to_owned()], stp: true }),
        ];
        let network = Network::new(links).unwrap();
        let json = serde_json::to_string(&network).unwrap();
        assert_eq!(serde_json::from_str::<Network>(&json).unwrap(), network, "{json}");
    }
}

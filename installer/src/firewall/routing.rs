//! Which of its interfaces a node answers an address by: what the kernel's reverse-path check asks.

use super::model::Leg;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use profiles::network::{Link, Network};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const EVERYWHERE: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));
const EVERYWHERE6: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0));

/// The static routes of a node: networks of its addresses, routes of the cluster file, default gateways. What DHCP or a routing protocol
/// adds is not known here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(Vec<(IpNet, Leg)>);

impl Routes {
    /// The routes of a network; `leg_of` tells what a link is to the firewall.
    pub(super) fn of(network: &Network, leg_of: impl Fn(&str) -> Leg) -> Self {
        let routes = network.links().iter().flat_map(|link| {
            let leg = leg_of(&link.name);
            destinations(link).into_iter().map(move |to| (to, leg))
        });
        Self(routes.collect())
    }

    /// Where the most specific route to an address leads; of equal ones the first.
    pub(super) fn way_to(&self, address: IpAddr) -> Option<Leg> {
        let fitting = self.0.iter().filter(|(to, _)| to.contains(&address));
        let best = fitting.reduce(
            |best, other| {
                if other.0.prefix_len() > best.0.prefix_len() { other } else { best }
            },
        );
        best.map(|(_, leg)| *leg)
    }
}

fn destinations(link: &Link) -> Vec<IpNet> {
    let on_link = link.addresses.iter().map(IpNet::trunc);
    let further = link.routes.iter().map(|route| route.to);
    let default = link.gateway.map(|_| EVERYWHERE).into_iter().chain(link.gateway6.map(|_| EVERYWHERE6));
    on_link.chain(further).chain(default).collect()
}

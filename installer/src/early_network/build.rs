//! From single arguments to one [`Network`]: who stands on whom, who gets which address.

use super::address::{Auto, IpArgument, RouteArgument};
use super::{ArgumentError, forms};
use ipnet::IpNet;
use profiles::network::{Link, LinkKind, Network, NicMatch, Route};
use std::net::IpAddr;

/// Link that stands for every card nothing else names. Its file must sort behind those of all others.
const EVERY_CARD: &str = "zz-any";
/// Link that stands for the only card of the machine.
const ONLY_CARD: &str = "only";

/// Collects arguments.
#[derive(Default)]
pub(super) struct Builder {
    links: Vec<Link>,
    addresses: Vec<IpArgument>,
    dns: Vec<IpAddr>,
    routes: Vec<RouteArgument>,
    /// Interfaces that an `ip=` names: one for all others is not about them.
    named: Vec<String>,
}

impl Builder {
    pub(super) fn add_card(&mut self, card: Link) -> Result<(), String> {
        let same = |link: &Link| matches!((&link.kind, &card.kind), (LinkKind::Physical { nic: a }, LinkKind::Physical { nic: b }) if a == b);
        if let Some(other) = self.links.iter().find(|link| same(link)) {
            return Err(format!("the card is called {} already", other.name));
        }
        self.add_link(card)
    }

    pub(super) fn add_link(&mut self, link: Link) -> Result<(), String> {
        if self.links.iter().any(|other| other.name == link.name) {
            return Err(format!("there is another interface {}", link.name));
        }
        self.links.push(link);
        Ok(())
    }

    pub(super) fn add_address(&mut self, argument: IpArgument) -> Result<(), String> {
        let same = |other: &&IpArgument| {
            other.interface == argument.interface
                && match (other.address, argument.address) {
                    (Some(a), Some(b)) => a.addr().is_ipv4() == b.addr().is_ipv4(),
                    (None, None) => other.auto == argument.auto,
                    _ => false,
                }
        };
        if self.addresses.iter().any(|other| same(&other)) {
            let name = argument.interface.as_deref().unwrap_or("the card");
            return Err(format!("{name} has an address of this family already"));
        }
        self.addresses.push(argument);
        Ok(())
    }

    pub(super) fn add_dns(&mut self, server: IpAddr) {
        self.dns.push(server);
    }

    pub(super) fn add_route(&mut self, route: RouteArgument) {
        self.routes.push(route);
    }

    /// The network, or `None` when nothing was said that is not so without arguments: PXE menus have `ip=dhcp` as a matter of course.
    pub(super) fn finish(mut self) -> Result<Option<Network>, ArgumentError> {
        let plain = |argument: &IpArgument| {
            let unset = argument.mtu_bytes.is_none() && argument.dns.is_empty();
            argument.interface.is_none() && argument.auto.dhcp4 && unset
        };
        let bare = self.links.is_empty() && self.dns.is_empty() && self.routes.is_empty();
        if bare && self.addresses.iter().all(plain) {
            return Ok(None);
        }
        self.add_cards_below();
        // A name for a card, a bond or a DNS server alone says nothing about who gets an address.
        if self.addresses.is_empty() {
            self.addresses.push(everywhere());
        }
        self.named = self.addresses.iter().filter_map(|argument| argument.interface.clone()).collect();
        for argument in std::mem::take(&mut self.addresses) {
            for name in self.targets(&argument) {
                if let Some(link) = self.links.iter_mut().find(|link| link.name == name) {
                    give(link, &argument);
                }
            }
        }
        for link in self.links.iter_mut().filter(|link| link.is_addressed()) {
            link.dns.extend(self.dns.iter().copied());
        }
        for route in std::mem::take(&mut self.routes) {
            self.place_route(&route)?;
        }
        let wrong = |error: profiles::network::NetworkError| ArgumentError {
            argument: "the network arguments".to_owned(),
            reason: error.to_string(),
            form: "links that stand on one another without a gap or a ring",
        };
        Network::new(self.links).map(Some).map_err(wrong)
    }

    /// Cards that are only named as part of something, or by an address.
    fn add_cards_below(&mut self) {
        let below = self.links.iter().flat_map(Link::lower).map(str::to_owned);
        let named: Vec<String> =
            below.chain(self.addresses.iter().filter_map(|a| a.interface.clone())).collect();
        for name in named {
            if !self.links.iter().any(|link| link.name == name) {
                let nic = NicMatch::Name(name.clone());
                self.links.push(Link::new(name, LinkKind::Physical { nic }));
            }
        }
    }

    /// Names of the links an `ip=` is about. Without an interface: the topmost of the bonds, VLANs and bridges; else every card, or the
    /// only one when the address is static.
    fn targets(&mut self, argument: &IpArgument) -> Vec<String> {
        if let Some(name) = &argument.interface {
            return vec![name.clone()];
        }
        let made = self.links.iter().filter(|link| !matches!(link.kind, LinkKind::Physical { .. }));
        let is_top =
            |link: &&Link| !self.links.iter().any(|other| other.lower().contains(&link.name.as_str()));
        let top: Vec<String> = made.filter(is_top).map(|link| link.name.clone()).collect();
        if !top.is_empty() {
            // An `ip=` of its own says more than the one for all.
            return top.into_iter().filter(|name| !self.named.contains(name)).collect();
        }
        let (name, nic) = match argument.address {
            Some(_) => (ONLY_CARD, NicMatch::Only),
            None => (EVERY_CARD, NicMatch::Any),
        };
        let others =
            self.links.iter().filter(|link| argument.address.is_none() && !self.named.contains(&link.name));
        let mut names: Vec<String> = others.map(|link| link.name.clone()).collect();
        if !self.links.iter().any(|link| link.name == name) {
            self.links.push(Link::new(name, LinkKind::Physical { nic }));
        }
        names.retain(|other| other != name);
        names.push(name.to_owned());
        names
    }

    fn place_route(&mut self, argument: &RouteArgument) -> Result<(), ArgumentError> {
        let wrong = |reason: String| ArgumentError {
            argument: format!("rd.route={}:{}", argument.to, argument.via),
            reason,
            form: forms::ROUTE,
        };
        let name = match &argument.interface {
            Some(name) => name.clone(),
            None => self.link_for(argument.via).ok_or_else(|| {
                wrong(format!("no interface has the gateway {} in its network: name one", argument.via))
            })?,
        };
        let link = self.links.iter_mut().find(|link| link.name == name);
        let link = link.ok_or_else(|| wrong(format!("the interface {name} has no ip=")))?;
        link.routes.push(Route { to: argument.to, via: Some(argument.via), metric: None });
        Ok(())
    }

    /// The link whose network holds a gateway; the only one with an address, when that is not known.
    fn link_for(&self, via: IpAddr) -> Option<String> {
        let addressed: Vec<&Link> = self.links.iter().filter(|link| link.is_addressed()).collect();
        let by_network =
            addressed.iter().find(|link| link.addresses.iter().any(|net: &IpNet| net.contains(&via)));
        by_network
            .or(if addressed.len() == 1 { addressed.first() } else { None })
            .map(|link| link.name.clone())
    }
}

fn everywhere() -> IpArgument {
    IpArgument { auto: Auto { dhcp4: true, auto6: true }, ..IpArgument::default() }
}

fn give(link: &mut Link, argument: &IpArgument) {
    link.dhcp4 |= argument.auto.dhcp4;
    link.auto6 |= argument.auto.auto6;
    link.addresses.extend(argument.address);
    link.mtu_bytes = argument.mtu_bytes.or(link.mtu_bytes);
    link.dns.extend(argument.dns.iter().copied());
    match argument.gateway {
        Some(IpAddr::V4(gateway)) => link.gateway = Some(gateway),
        Some(IpAddr::V6(gateway)) => link.gateway6 = Some(gateway),
        None => {}
    }
}

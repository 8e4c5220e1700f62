//! `ip=`, `nameserver=` and `rd.route=`: the value of one argument becomes a type. Errors are the reason, without the argument.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use profiles::network::is_link_name;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Smallest and largest MTU of an Ethernet link.
const MTU_BYTES: std::ops::RangeInclusive<u16> = 576..=9216;

/// How a link gets its addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Auto {
    pub(super) dhcp4: bool,
    pub(super) auto6: bool,
}

/// One `ip=`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct IpArgument {
    /// `None`: every card, or the topmost links that are given.
    pub(super) interface: Option<String>,
    pub(super) auto: Auto,
    pub(super) address: Option<IpNet>,
    pub(super) gateway: Option<IpAddr>,
    pub(super) dns: Vec<IpAddr>,
    pub(super) mtu_bytes: Option<u16>,
}

/// One `rd.route=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RouteArgument {
    pub(super) to: IpNet,
    pub(super) via: IpAddr,
    pub(super) interface: Option<String>,
}

/// Reads the value of `ip=`.
pub(super) fn parse(value: &str) -> Result<IpArgument, String> {
    let fields = split_fields(value)?;
    if let [client, _, _, _, _, ..] = fields.as_slice()
        && !client.is_empty()
        && client.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return Err(format!("\"{client}\" is no address (one of IPv6 stands in brackets)"));
    }
    match fields.as_slice() {
        [""] => Err("it has no value".to_owned()),
        [method] => Ok(IpArgument { auto: automatic(method)?, ..IpArgument::default() }),
        // An address has no letters but in brackets, a name of an interface has at least one.
        [interface, method, rest @ ..]
            if rest.len() <= 2 && parse_address(interface).is_err() && !interface.is_empty() =>
        {
            let (mtu_bytes, dns) = parse_rest(rest)?;
            Ok(IpArgument {
                interface: Some(link_name(interface)?),
                auto: automatic(method)?,
                mtu_bytes,
                dns,
                ..IpArgument::default()
            })
        }
        [client, _peer, gateway, mask, _host, rest @ ..] => parse_long(client, gateway, mask, rest),
        // What the firmware's PXE loader appends: the card is the only one there is.
        [client, _peer, gateway, mask] => parse_long(client, gateway, mask, &[]),
        _ => Err(format!("it has {} fields", fields.len())),
    }
}

fn parse_long(client: &str, gateway: &str, mask: &str, rest: &[&str]) -> Result<IpArgument, String> {
    let (interface, method, tail) = match rest {
        [] => ("", "none", &[][..]),
        [interface] => (*interface, if client.is_empty() { "dhcp" } else { "none" }, &[][..]),
        [interface, method, tail @ ..] => (*interface, *method, tail),
    };
    let (mtu_bytes, dns) = parse_rest(tail)?;
    let interface = if interface.is_empty() { None } else { Some(link_name(interface)?) };
    let gateway = if gateway.is_empty() { None } else { Some(parse_address(gateway)?) };
    if !matches!(method, "" | "none" | "off" | "static") {
        // The address is a wish for the DHCP server, which we do not pass on.
        return Ok(IpArgument {
            interface,
            auto: automatic(method)?,
            mtu_bytes,
            dns,
            ..IpArgument::default()
        });
    }
    if client.is_empty() {
        return Err("it has neither an address nor a way to get one".to_owned());
    }
    let address = with_mask(parse_address(client)?, mask)?;
    if let Some(gateway) = gateway {
        let is_link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if !address.contains(&gateway) && !is_link_local {
            return Err(format!("the gateway {gateway} is not in the network {}", address.trunc()));
        }
        if gateway == address.addr() {
            return Err(format!("the gateway {gateway} is the address itself"));
        }
    }
    Ok(IpArgument { interface, auto: Auto::default(), address: Some(address), gateway, dns, mtu_bytes })
}

/// What follows the method: `[MTU][:MAC]` or `[DNS1][:DNS2]`.
fn parse_rest(fields: &[&str]) -> Result<(Option<u16>, Vec<IpAddr>), String> {
    let Some((first, others)) = fields.split_first() else { return Ok((None, Vec::new())) };
    if !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit()) {
        if others.iter().any(|field| !field.is_empty()) {
            return Err("a card keeps its own MAC: nothing may follow the MTU".to_owned());
        }
        return Ok((Some(parse_mtu(first)?), Vec::new()));
    }
    if fields.len() > 2 {
        return Err(format!("nothing may follow the two DNS servers, found \"{}\"", fields[2..].join(":")));
    }
    let servers = fields.iter().filter(|field| !field.is_empty());
    Ok((None, servers.map(|field| parse_address(field)).collect::<Result<_, _>>()?))
}

pub(super) fn parse_mtu(text: &str) -> Result<u16, String> {
    let mtu = text.parse::<u16>().ok().filter(|mtu| MTU_BYTES.contains(mtu));
    mtu.ok_or_else(|| format!("\"{text}\" is no MTU ({} to {})", MTU_BYTES.start(), MTU_BYTES.end()))
}

fn automatic(method: &str) -> Result<Auto, String> {
    match method {
        "dhcp" | "on" | "single-dhcp" => Ok(Auto { dhcp4: true, auto6: false }),
        "any" => Ok(Auto { dhcp4: true, auto6: true }),
        "dhcp6" | "auto6" | "either6" => Ok(Auto { dhcp4: false, auto6: true }),
        "none" | "off" | "static" => Err(format!("\"{method}\" needs an address before it")),
        "ibft" | "link6" => Err(format!("\"{method}\" is not supported")),
        other => Err(format!("\"{other}\" is no way to get an address (dhcp, dhcp6, auto6, any)")),
    }
}

/// Reads the value of `nameserver=`.
pub(super) fn parse_server(value: &str) -> Result<IpAddr, String> {
    // Without fields after it brackets are not needed.
    value.parse().or_else(|_| parse_address(value))
}

/// Reads the value of `rd.route=`.
pub(super) fn parse_route(value: &str) -> Result<RouteArgument, String> {
    let fields = split_fields(value)?;
    let (to, via, interface) = match fields.as_slice() {
        [to, via] => (to, via, None),
        [to, via, interface] => (to, via, Some(link_name(interface)?)),
        _ => return Err(format!("it has {} fields", fields.len())),
    };
    // The prefix length stands inside of the brackets or behind them.
    let (network, bits) = match to.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => inner.rsplit_once('/'),
        None => to.rsplit_once('/'),
    }
    .ok_or_else(|| format!("\"{to}\" is no network (ADDRESS/BITS)"))?;
    let network = parse_server(network)?;
    let to = with_mask(network, bits)?.trunc();
    let via = parse_address(via)?;
    if to.addr().is_ipv4() != via.is_ipv4() {
        return Err(format!("the network {to} and the gateway {via} are not of one family"));
    }
    Ok(RouteArgument { to, via, interface })
}

/// Fields between colons; colons in brackets belong to an IPv6 address.
pub(super) fn split_fields(value: &str) -> Result<Vec<&str>, String> {
    let (mut fields, mut start, mut depth) = (Vec::new(), 0, 0u8);
    for (at, c) in value.char_indices() {
        match c {
            '[' if depth == 0 => depth = 1,
            ']' if depth == 1 => depth = 0,
            '[' | ']' => return Err("its brackets do not match".to_owned()),
            ':' if depth == 0 => {
                fields.push(&value[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if depth != 0 {
        return Err("its brackets do not match".to_owned());
    }
    fields.push(&value[start..]);
    Ok(fields)
}

fn parse_address(field: &str) -> Result<IpAddr, String> {
    let wrong = || format!("\"{field}\" is no address");
    let address: IpAddr = match field.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => IpAddr::V6(inner.parse::<Ipv6Addr>().map_err(|_| wrong())?),
        None => IpAddr::V4(field.parse::<Ipv4Addr>().map_err(|_| wrong())?),
    };
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(format!("{address} is no address of a machine"));
    }
    Ok(address)
}

/// An address with its netmask: `255.255.252.0` or a number of bits.
fn with_mask(address: IpAddr, mask: &str) -> Result<IpNet, String> {
    let wrong = || format!("\"{mask}\" is no netmask of {address}");
    if mask.is_empty() {
        return Err(format!("the address {address} has no netmask"));
    }
    match address {
        IpAddr::V4(address) => {
            let net = match mask.parse::<u8>() {
                Ok(bits) => Ipv4Net::new(address, bits).map_err(|_| wrong())?,
                Err(_) => {
                    let mask: Ipv4Addr = mask.parse().map_err(|_| wrong())?;
                    Ipv4Net::with_netmask(address, mask).map_err(|_| wrong())?
                }
            };
            Ok(IpNet::V4(net))
        }
        IpAddr::V6(address) => {
            let bits = mask.parse::<u8>().map_err(|_| wrong())?;
            Ok(IpNet::V6(Ipv6Net::new(address, bits).map_err(|_| wrong())?))
        }
    }
}

/// A name an interface can have.
pub(super) fn link_name(text: &str) -> Result<String, String> {
    if is_link_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{text}\" is no name of an interface"))
    }
}

//! `ifname=`, `vlan=`, `bond=` and `bridge=`: the value of one argument becomes a link. Errors are the reason, without the argument.

use super::address::{link_name, parse_mtu};
use profiles::network::{Bond, BondMode, Link, LinkKind};
use profiles::node::MacAddr;

/// The bonding options that are understood.
const BOND_OPTIONS: &str = "mode, miimon, lacp_rate, xmit_hash_policy, min_links, primary";

/// Reads the value of `ifname=`.
pub(super) fn parse_ifname(value: &str) -> Result<Link, String> {
    let (name, mac) = value.split_once(':').ok_or_else(|| "it has no MAC".to_owned())?;
    let parsed: MacAddr = mac.parse().map_err(|error| format!("\"{mac}\": {error}"))?;
    if parsed.0[0] & 1 != 0 || parsed.0 == [0; 6] {
        return Err(format!("{parsed} is no MAC of a card"));
    }
    Ok(Link::nic(link_name(name)?, parsed))
}

/// Reads the value of `vlan=`.
pub(super) fn parse_vlan(value: &str) -> Result<Link, String> {
    let (name, parent) =
        value.split_once(':').ok_or_else(|| "it names no interface below the VLAN".to_owned())?;
    let tag = match name.rsplit_once('.') {
        Some((_, tag)) => tag,
        None => name.strip_prefix("vlan").unwrap_or_default(),
    };
    let digits = !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_digit());
    let id = tag.parse::<u16>().ok().filter(|id| digits && (1..=4094).contains(id));
    let id = id.ok_or_else(|| {
        format!("\"{name}\" does not end in a VLAN tag (1 to 4094), as vlan20 and eth0.20 do")
    })?;
    Ok(Link::new(link_name(name)?, LinkKind::Vlan { id, parent: link_name(parent)? }))
}

/// Reads the value of `bridge=`.
pub(super) fn parse_bridge(value: &str) -> Result<Link, String> {
    let (name, members) = value.split_once(':').ok_or_else(|| "it names no interfaces".to_owned())?;
    Ok(Link::new(link_name(name)?, LinkKind::Bridge { members: names(members)?, stp: false }))
}

/// Reads the value of `bond=`.
pub(super) fn parse_bond(value: &str) -> Result<Link, String> {
    let fields: Vec<&str> = value.split(':').collect();
    let (name, members, options, mtu) = match fields.as_slice() {
        [name, members] => (name, members, "", ""),
        [name, members, options] => (name, members, *options, ""),
        [name, members, options, mtu] => (name, members, *options, *mtu),
        [_] => return Err("it names no interfaces".to_owned()),
        _ => return Err(format!("it has {} fields", fields.len())),
    };
    let mut bond = Bond::new(names(members)?, BondMode::BalanceRr);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        take_option(&mut bond, option)?;
    }
    if let Some(primary) = &bond.primary
        && !bond.members.contains(primary)
    {
        return Err(format!("the primary \"{primary}\" is no member"));
    }
    let mut link = Link::new(link_name(name)?, LinkKind::Bond(bond));
    if !mtu.is_empty() {
        link.mtu_bytes = Some(parse_mtu(mtu)?);
    }
    Ok(link)
}

fn take_option(bond: &mut Bond, option: &str) -> Result<(), String> {
    let (key, value) =
        option.split_once('=').ok_or_else(|| format!("the option \"{option}\" has no value"))?;
    let wrong = |error: &dyn std::fmt::Display| format!("{key} has the value \"{value}\", which is {error}");
    let number = |text: &str| text.parse::<u16>().map_err(|_| wrong(&"no number"));
    match key {
        "mode" => bond.mode = value.parse().map_err(|e| wrong(&e))?,
        "lacp_rate" => bond.lacp_rate = value.parse().map_err(|e| wrong(&e))?,
        "xmit_hash_policy" => bond.hash = value.parse().map_err(|e| wrong(&e))?,
        "miimon" => {
            bond.miimon_ms = number(value)?;
            if bond.miimon_ms == 0 {
                return Err("miimon=0 would never notice a pulled cable".to_owned());
            }
        }
        "min_links" => bond.min_links = u8::try_from(number(value)?).map_err(|_| wrong(&"too many"))?,
        "primary" => bond.primary = Some(link_name(value)?),
        _ => return Err(format!("the option \"{key}\" is not understood ({BOND_OPTIONS})")),
    }
    Ok(())
}

fn names(list: &str) -> Result<Vec<String>, String> {
    list.split(',').map(link_name).collect()
}

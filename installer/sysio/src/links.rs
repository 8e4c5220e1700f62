//! Network interfaces of the current network namespace, from a netlink dump. Read-only but for [`set_up`] and [`set_mtu`].

use crate::addresses::AddressesError;
use crate::command::{Cmd, CommandError};
use futures::TryStreamExt;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use std::collections::BTreeMap;

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Name.
    pub name: String,
    /// Address it sends from.
    pub mac: Option<[u8; 6]>,
    /// Burnt-in address.
    pub permanent_mac: Option<[u8; 6]>,
    /// Largest packet it sends.
    pub mtu_bytes: u32,
    /// Largest value its driver takes for that; `None` when it does not say.
    pub mtu_max_bytes: Option<u32>,
    /// Switched on.
    pub up: bool,
    /// Switched on, and with a signal from the other end.
    pub carrier: bool,
    /// Bond or bridge it is part of.
    pub master: Option<String>,
    /// Interface below it, of a VLAN.
    pub lower: Option<String>,
    /// `bond`, `vlan`, `bridge`, …; `None` for hardware.
    pub kind: Option<String>,
}

/// All interfaces by name. Blocks; must not be called inside a tokio runtime.
///
/// # Errors
/// When netlink cannot be opened or does not answer.
pub fn read_links() -> Result<BTreeMap<String, Link>, AddressesError> {
    let messages = read_messages()?;
    let names: BTreeMap<u32, String> =
        messages.iter().filter_map(|m| Some((m.header.index, name_of(m)?))).collect();
    let links = messages.iter().filter_map(|message| link_from(message, &names));
    Ok(links.map(|link| (link.name.clone(), link)).collect())
}

/// Burnt-in Ethernet addresses by interface name, of the current network namespace; interfaces that have none are left out.
/// Blocks; must not be called inside a tokio runtime.
///
/// # Errors
/// When netlink cannot be opened or does not answer.
pub fn read_permanent_addresses() -> Result<BTreeMap<String, [u8; 6]>, AddressesError> {
    let links = read_links()?.into_values();
    Ok(links.filter_map(|link| Some((link.name, link.permanent_mac?))).collect())
}

/// Switches an interface on. It gets no address by that.
///
/// # Errors
/// When `ip` fails.
pub fn set_up(name: &str) -> Result<(), CommandError> {
    Cmd::new("ip").args(["link", "set", "dev", name, "up"]).run().map(drop)
}

/// Sets the largest packet an interface sends. Some cards lose their signal for seconds by it.
///
/// # Errors
/// When `ip` fails: the driver does not take the value.
pub fn set_mtu(name: &str, mtu_bytes: u32) -> Result<(), CommandError> {
    Cmd::new("ip").args(["link", "set", "dev", name, "mtu", &mtu_bytes.to_string()]).run().map(drop)
}

fn read_messages() -> Result<Vec<LinkMessage>, AddressesError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AddressesError::Socket)?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(AddressesError::Socket)?;
        let driver = tokio::spawn(connection);
        let found = handle.link().get().execute().try_collect().await;
        driver.abort();
        found.map_err(|source| AddressesError::Dump { what: "interfaces", source })
    })
}

fn name_of(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn link_from(message: &LinkMessage, names: &BTreeMap<u32, String>) -> Option<Link> {
    let flags = message.header.flags;
    let mut link = Link {
        name: name_of(message)?,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            LinkAttribute::PermAddress(bytes) => {
                link.permanent_mac = <[u8; 6]>::try_from(bytes.as_slice()).ok();
            }
            LinkAttribute::Mtu(bytes) => link.mtu_bytes = *bytes,
            LinkAttribute::MaxMtu(bytes) => link.mtu_max_bytes = Some(*bytes).filter(|max| *max > 0),
            LinkAttribute::Controller(index) => link.master = names.get(index).cloned(),
            LinkAttribute::Link(index) => link.lower = names.get(index).cloned(),
            LinkAttribute::LinkInfo(parts) => link.kind = kind_of(parts),
            _ => {}
        }
    }
    Some(link)
}

fn kind_of(parts: &[LinkInfo]) -> Option<String> {
    parts.iter().find_map(|part| match part {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::{read_links, read_permanent_addresses};

    #[test]
    fn answers_and_leaves_out_the_loopback() {
        assert!(!read_permanent_addresses().unwrap().contains_key("lo"));
    }

    #[test]
    fn the_loopback_is_there_and_is_nobodys_part() {
        let links = read_links().unwrap();
        let lo = &links["lo"];
        assert_eq!((lo.master.as_deref(), lo.lower.as_deref(), lo.kind.as_deref()), (None, None, None));
        assert!(lo.mtu_bytes >= 1500, "{lo:?}");
    }
}

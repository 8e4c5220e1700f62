//! Addresses of the network interfaces, from a netlink dump. Read-only.

use futures::TryStreamExt;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One address on one interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// Name of the interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Prefix length in bits.
    pub prefix_len: u8,
}

/// Why the addresses could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AddressesError {
    /// No netlink socket.
    #[error("opening a netlink socket")]
    Socket(#[source] std::io::Error),
    /// The kernel refused the dump or broke it off.
    #[error("reading {what} over netlink")]
    Dump {
        /// What was read.
        what: &'static str,
        /// What netlink says.
        #[source]
        source: rtnetlink::Error,
    },
}

/// All addresses of all interfaces of the current network namespace, sorted. Must run inside a tokio runtime.
///
/// # Errors
/// When netlink cannot be opened or does not answer.
pub async fn read_addresses() -> Result<Vec<InterfaceAddress>, AddressesError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(AddressesError::Socket)?;
    let driver = tokio::spawn(connection);
    let found = dump(&handle).await;
    driver.abort();
    found
}

async fn dump(handle: &rtnetlink::Handle) -> Result<Vec<InterfaceAddress>, AddressesError> {
    let mut names = BTreeMap::new();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await.map_err(failed("interfaces"))? {
        let name = link.attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        });
        if let Some(name) = name {
            names.insert(link.header.index, name);
        }
    }
    let mut found = Vec::new();
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await.map_err(failed("addresses"))? {
        let Some(interface) = names.get(&message.header.index) else { continue };
        if let Some(address) = own_address(&message.attributes) {
            found.push(InterfaceAddress {
                interface: interface.clone(),
                address,
                prefix_len: message.header.prefix_len,
            });
        }
    }
    found.sort();
    Ok(found)
}

/// `IFA_LOCAL` is ours and `IFA_ADDRESS` the other end of a point-to-point link; IPv6 sends only the latter.
fn own_address(attributes: &[AddressAttribute]) -> Option<IpAddr> {
    let local = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

fn failed(what: &'static str) -> impl Fn(rtnetlink::Error) -> AddressesError {
    move |source| AddressesError::Dump { what, source }
}

#[cfg(test)]
mod tests {
    use super::{InterfaceAddress, own_address, read_addresses};
    use rtnetlink::packet_route::address::AddressAttribute;
    use std::net::{IpAddr, Ipv4Addr};

    #[tokio::test]
    async fn finds_the_loopback_address_and_no_other_network() {
        let found = read_addresses().await.unwrap();
        let loopback = InterfaceAddress {
            interface: "lo".to_owned(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            prefix_len: 8,
        };
        assert!(found.contains(&loopback), "{found:?}");
        assert!(!found.iter().any(|a| a.address == IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77))), "{found:?}");
    }

    #[test]
    fn takes_our_end_of_a_point_to_point_link() {
        let (ours, theirs) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let attributes = [AddressAttribute::Address(theirs), AddressAttribute::Local(ours)];
        assert_eq!(own_address(&attributes), Some(ours));
        assert_eq!(own_address(&attributes[..1]), Some(theirs));
    }
}

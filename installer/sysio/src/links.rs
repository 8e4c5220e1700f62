//! Permanent addresses of the network interfaces, from a netlink dump. Read-only.

use crate::addresses::AddressesError;
use futures::TryStreamExt;
use rtnetlink::packet_route::link::LinkAttribute;
use std::collections::BTreeMap;

/// Burnt-in Ethernet addresses by interface name, of the current network namespace; interfaces that have none are left out.
/// Blocks; must not be called inside a tokio runtime.
///
/// # Errors
/// When netlink cannot be opened or does not answer.
pub fn read_permanent_addresses() -> Result<BTreeMap<String, [u8; 6]>, AddressesError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AddressesError::Socket)?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(AddressesError::Socket)?;
        let driver = tokio::spawn(connection);
        let found = dump(&handle).await;
        driver.abort();
        found
    })
}

async fn dump(handle: &rtnetlink::Handle) -> Result<BTreeMap<String, [u8; 6]>, AddressesError> {
    let mut found = BTreeMap::new();
    let mut links = handle.link().get().execute();
    let failed = |source| AddressesError::Dump { what: "interfaces", source };
    while let Some(link) = links.try_next().await.map_err(failed)? {
        let (mut name, mut permanent) = (None, None);
        for attribute in link.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text),
                LinkAttribute::PermAddress(bytes) => permanent = <[u8; 6]>::try_from(bytes).ok(),
                _ => {}
            }
        }
        if let (Some(name), Some(permanent)) = (name, permanent) {
            found.insert(name, permanent);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::read_permanent_addresses;

    #[test]
    fn answers_and_leaves_out_the_loopback() {
        assert!(!read_permanent_addresses().unwrap().contains_key("lo"));
    }
}

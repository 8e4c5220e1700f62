//! Interfaces and addresses of this machine: reading, and holding a virtual address.

use anyhow::{Context, Result};
use futures::TryStreamExt;
use std::net::{IpAddr, Ipv4Addr};

/// Every address with the name of its interface.
///
/// # Errors
/// The kernel does not list its interfaces.
pub fn addresses() -> Result<Vec<(String, IpAddr)>> {
    let list = nix::ifaddrs::getifaddrs().context("listing the interfaces")?;
    Ok(list
        .filter_map(|entry| {
            let address = entry.address?;
            let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                (None, Some(v6)) => IpAddr::V6(v6.ip()),
                (None, None) => return None,
            };
            Some((entry.interface_name, ip))
        })
        .collect())
}

/// The index of an interface, if it exists.
pub fn index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// True when the address is on the interface now.
pub fn holds(interface: &str, address: Ipv4Addr) -> bool {
    addresses().is_ok_and(|all| all.iter().any(|(name, a)| name == interface && *a == IpAddr::V4(address)))
}

/// Adds the address as /32 and tells the neighbours. Adding it twice is no error.
///
/// # Errors
/// No such interface, or no right to change it.
pub async fn add(interface: &str, address: Ipv4Addr) -> Result<()> {
    let index = index(interface).with_context(|| format!("interface {interface} does not exist"))?;
    let (connection, handle, _) = rtnetlink::new_connection().context("opening netlink")?;
    let task = tokio::spawn(connection);
    let result = handle.address().add(index, IpAddr::V4(address), 32).replace().execute().await;
    task.abort();
    result.with_context(|| format!("adding {address}/32 to {interface}"))?;
    announce(interface, address).await;
    Ok(())
}

/// Removes the address. A missing one is no error.
///
/// # Errors
/// No right to change the interface.
pub async fn remove(interface: &str, address: Ipv4Addr) -> Result<()> {
    let Some(index) = index(interface) else { return Ok(()) };
    let (connection, handle, _) = rtnetlink::new_connection().context("opening netlink")?;
    let task = tokio::spawn(connection);
    let mut found = handle
        .address()
        .get()
        .set_link_index_filter(index)
        .set_prefix_length_filter(32)
        .set_address_filter(IpAddr::V4(address))
        .execute();
    let mut result = Ok(());
    while let Ok(Some(message)) = found.try_next().await {
        result = handle.address().del(message).execute().await;
    }
    task.abort();
    result.with_context(|| format!("removing {address}/32 from {interface}"))
}

/// Gratuitous ARP, best effort: raw packet sockets need unsafe code, so a tool of the image sends it.
async fn announce(interface: &str, address: Ipv4Addr) {
    let target = address.to_string();
    for program in [vec!["arping"], vec!["busybox", "arping"]] {
        let Some((name, first)) = program.split_first() else { continue };
        let status = tokio::process::Command::new(name)
            .args(first)
            .args(["-c", "2", "-w", "2", "-U", "-I", interface, &target])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn();
        if let Ok(mut child) = status {
            tokio::spawn(async move { child.wait().await });
            return;
        }
    }
    crate::log(format!("no arping here: {address} on {interface} is not announced"));
}

//! The network of a machine: QEMU's own, closed to the outside.

use anyhow::{Context, Result};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

/// Address of the node under test in the cluster network: the first master of the examples.
pub const AGENT_GUEST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);

/// Port of the SSH server of a node.
const SSH_PORT: u16 = 22;

/// Address at which a guest reaches the folders of [`Network::web`].
pub const WEB_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// A network card on a closed network 10.0.0.0/22: gateway 10.0.0.1, DHCP from 10.0.0.200.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Ethernet address.
    pub mac: String,
    /// Loopback port of the host that leads to the health agent of [`AGENT_GUEST_ADDRESS`].
    pub agent_port: Option<u16>,
    /// Loopback port of the host that leads to its SSH server.
    pub ssh_port: Option<u16>,
    /// Folders that [`WEB_ADDRESS`] serves over HTTP; the first that has a file wins.
    pub web: Vec<PathBuf>,
    /// Program and first argument that serve one HTTP request: `[PROGRAM, ARGUMENT]`, the folders follow.
    pub web_server: Vec<PathBuf>,
    /// TFTP folder and boot file offered by DHCP.
    pub netboot: Option<(PathBuf, String)>,
    /// Instead of QEMU's own network a cable: the loopback port on which QEMU takes frames, and the one it sends them to
    /// (see [`crate::wire`]).
    pub cable: Option<(u16, u16)>,
    /// Place in the firmware's boot order.
    pub boot_order: Option<u8>,
}

impl Network {
    /// A card with this Ethernet address and nothing else.
    pub fn new(mac: &str) -> Self {
        Self { mac: mac.to_owned(), ..Self::default() }
    }

    /// The value of `-netdev`.
    pub(super) fn netdev(&self) -> String {
        if let Some((own, other)) = self.cable {
            return format!("socket,id=net0,udp=127.0.0.1:{other},localaddr=127.0.0.1:{own}");
        }
        let mut text = "user,id=net0,restrict=on,ipv6=off,net=10.0.0.0/22,host=10.0.0.1,dns=10.0.0.3,dhcpstart=10.0.0.200"
            .to_owned();
        for (port, guest_port) in [(self.agent_port, report::AGENT_PORT), (self.ssh_port, SSH_PORT)] {
            let Some(port) = port else { continue };
            text.push_str(&format!(",hostfwd=tcp:127.0.0.1:{port}-{AGENT_GUEST_ADDRESS}:{guest_port}"));
        }
        if let Some((folder, file)) = &self.netboot {
            text.push_str(&format!(
                ",tftp={},bootfile={}",
                escape(&folder.display().to_string()),
                escape(file)
            ));
        }
        if !self.web.is_empty() {
            let words: Vec<String> = self
                .web_server
                .iter()
                .chain(&self.web)
                .map(|path| quote(&path.display().to_string()))
                .collect();
            text.push_str(&format!(",guestfwd=tcp:{WEB_ADDRESS}:80-cmd:{}", escape(&words.join(" "))));
        }
        text
    }
}

/// A loopback port that nobody uses at this moment.
///
/// # Errors
/// The host gives none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("asking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// QEMU separates options by commas; one that belongs to a value is doubled.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

/// QEMU splits a command as a shell does.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::{Network, free_port};
    use std::path::PathBuf;

    #[test]
    fn is_closed_even_without_options() {
        assert_eq!(
            Network::new("52:54:00:00:00:11").netdev(),
            "user,id=net0,restrict=on,ipv6=off,net=10.0.0.0/22,host=10.0.0.1,dns=10.0.0.3,dhcpstart=10.0.0.200"
        );
    }

    #[test]
    fn a_cable_stays_on_loopback() {
        let network = Network { cable: Some((4001, 4002)), ..Network::new("52:54:00:00:00:11") };
        assert_eq!(network.netdev(), "socket,id=net0,udp=127.0.0.1:4002,localaddr=127.0.0.1:4001");
    }

    #[test]
    fn leads_to_the_agent_and_serves_folders_with_odd_names() {
        let network = Network {
            agent_port: Some(4000),
            ssh_port: Some(4022),
            web: vec![PathBuf::from("/a b"), PathBuf::from("/c,d")],
            web_server: vec![PathBuf::from("/x/xtask"), PathBuf::from("serve-folder")],
            netboot: Some((PathBuf::from("/tftp"), "boot.ipxe".to_owned())),
            ..Network::new("52:54:00:00:00:11")
        };
        let text = network.netdev();
        assert!(text.contains(",hostfwd=tcp:127.0.0.1:4000-10.0.0.11:9940,"), "{text}");
        assert!(text.contains(",hostfwd=tcp:127.0.0.1:4022-10.0.0.11:22,"), "{text}");
        assert!(text.contains(",tftp=/tftp,bootfile=boot.ipxe,"), "{text}");
        assert!(
            text.ends_with(",guestfwd=tcp:10.0.0.100:80-cmd:'/x/xtask' 'serve-folder' '/a b' '/c,,d'"),
            "{text}"
        );
    }

    #[test]
    fn finds_a_port() {
        assert_ne!(free_port().unwrap(), 0);
    }
}

//! Ethernet frames on one interface, without an address on it: what a probe needs before an address may be used.
//!
//! Needs root (`CAP_NET_RAW`). Frames that this machine sent itself, and those of a VLAN the interface is not in, are left out.

use crate::addresses::AddressesError;
use crate::links::read_links;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, bind, recvfrom, send, socket,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// Longer frames do not exist on Ethernet; the largest jumbo frames have 9216 bytes and a header.
const FRAME_MAX_BYTES: usize = 16 << 10;

/// The protocols that are heard. One socket for each and not one for all: the kernel delivers to a socket of one protocol
/// only after it has sorted out VLAN tags, while a socket for all sees the frames of foreign VLANs with the tag taken off.
const PROTOCOLS: [i32; 3] = [libc::ETH_P_ARP, libc::ETH_P_IP, libc::ETH_P_IPV6];

/// `PACKET_OTHERHOST`: for another machine, or in a VLAN for which there is no interface.
const FOR_ANOTHER: u8 = libc::PACKET_OTHERHOST;

/// Why frames cannot be sent or heard.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// There is no such interface.
    #[error("there is no interface {device}")]
    NoDevice {
        /// The name asked for.
        device: String,
    },
    /// It is no Ethernet interface.
    #[error("{device} is not Ethernet")]
    NotEthernet {
        /// The interface.
        device: String,
    },
    /// Its Ethernet address could not be read.
    #[error("asking for the Ethernet address of {device}")]
    Address {
        /// The interface.
        device: String,
        /// Why.
        #[source]
        source: AddressesError,
    },
    /// The kernel refuses.
    #[error("{action} on {device}")]
    Kernel {
        /// A gerund.
        action: &'static str,
        /// The interface.
        device: String,
        /// What it says.
        #[source]
        source: io::Error,
    },
}

/// Sends and hears whole Ethernet frames on one interface.
#[derive(Debug)]
pub struct PacketSocket {
    device: String,
    sockets: Vec<OwnedFd>,
    mac: [u8; 6],
}

impl PacketSocket {
    /// Opens an interface of the current network namespace. While it is open the card hears all multicast groups. Blocks; must not
    /// be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`PacketError`]: no such interface, not root, or not Ethernet.
    pub fn open(device: &str) -> Result<Self, PacketError> {
        let index = nix::net::if_::if_nametoindex(device)
            .map_err(|_| PacketError::NoDevice { device: device.to_owned() })?;
        let failed = |action| {
            move |errno: Errno| PacketError::Kernel {
                action,
                device: device.to_owned(),
                source: errno.into(),
            }
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let mut sockets = Vec::new();
        for protocol in PROTOCOLS {
            // Without a protocol it hears nothing until it is bound to the interface.
            let fd = socket(AddressFamily::Packet, SockType::Raw, flags, None)
                .map_err(failed("opening a packet socket"))?;
            let address =
                link_address(index, protocol).ok_or(Errno::EINVAL).map_err(failed("naming the interface"))?;
            bind(fd.as_raw_fd(), &address).map_err(failed("listening"))?;
            hear_all_groups(&fd, index).map_err(failed("joining all multicast groups"))?;
            sockets.push(fd);
        }
        let links =
            read_links().map_err(|source| PacketError::Address { device: device.to_owned(), source })?;
        let mac = links.get(device).and_then(|link| link.mac);
        let mac = mac.ok_or_else(|| PacketError::NotEthernet { device: device.to_owned() })?;
        Ok(Self { device: device.to_owned(), sockets, mac })
    }

    /// The address the interface sends from.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Sends a frame, header included.
    ///
    /// # Errors
    /// The interface is down or gone, or the frame is longer than its MTU.
    pub fn send(&self, frame: &[u8]) -> Result<(), PacketError> {
        let Some(socket) = self.sockets.first() else { return Ok(()) };
        let sent = send(socket.as_raw_fd(), frame, MsgFlags::empty());
        sent.map(drop).map_err(|errno| self.error("sending", errno))
    }

    /// The next frame, or `None` when none came within `patience`.
    ///
    /// # Errors
    /// The interface is gone. That it is down for a moment is no error: then nothing comes.
    pub fn receive(&self, patience: Duration) -> Result<Option<Vec<u8>>, PacketError> {
        let mut waiting: Vec<PollFd<'_>> =
            self.sockets.iter().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)).collect();
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        match poll(&mut waiting, patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(self.error("waiting for frames", errno)),
        }
        let mut bytes = vec![0u8; FRAME_MAX_BYTES];
        for socket in &self.sockets {
            match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut bytes) {
                Ok((_, Some(from))) if from.pkttype() == FOR_ANOTHER => {}
                Ok((length, _)) => {
                    bytes.truncate(length);
                    return Ok(Some(bytes));
                }
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => {}
                Err(errno) => return Err(self.error("hearing frames", errno)),
            }
        }
        Ok(None)
    }

    fn error(&self, action: &'static str, errno: Errno) -> PacketError {
        PacketError::Kernel { action, device: self.device.clone(), source: errno.into() }
    }
}

/// `sockaddr_ll` of an interface and a protocol; nix has no safe way to make one.
#[allow(unsafe_code)]
fn link_address(index: u32, protocol: i32) -> Option<LinkAddr> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).ok()?,
        sll_protocol: u16::try_from(protocol).ok()?.to_be(),
        sll_ifindex: i32::try_from(index).ok()?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).ok()?;
    // SAFETY: the pointer is to a whole sockaddr_ll whose family says so, and `length` is its size.
    unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) }
}

/// Neighbour solicitations for an address that is not ours yet go to a group that nobody here has joined.
#[allow(unsafe_code)]
fn hear_all_groups(fd: &OwnedFd, index: u32) -> Result<(), Errno> {
    let request = libc::packet_mreq {
        mr_ifindex: i32::try_from(index).map_err(|_| Errno::EINVAL)?,
        mr_type: u16::try_from(libc::PACKET_MR_ALLMULTI).map_err(|_| Errno::EINVAL)?,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of::<libc::packet_mreq>()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the descriptor is open, and the pointer and length are those of a whole packet_mreq, which is only read.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            length,
        )
    };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::PacketSocket;

    #[test]
    fn a_missing_interface_is_named() {
        let error = PacketSocket::open("nosuch0").unwrap_err();
        assert_eq!(error.to_string(), "there is no interface nosuch0");
    }
}

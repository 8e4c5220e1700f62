//! Packets that no honest socket sends: any source, any flags, cut into fragments. Pure but for [`RawSender`] and
//! [`RawReceiver`].

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recv, sendto,
    setsockopt, socket, sockopt,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};

/// TCP flags.
pub const SYN: u8 = 0x02;
/// Reset.
pub const RST: u8 = 0x04;
/// Acknowledgement.
pub const ACK: u8 = 0x10;

/// Received bytes the kernel keeps for us: a sweep has 65,535 answers at once.
const RECEIVE_BUFFER: usize = 128 << 20;

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Source address, ours or not.
    pub from: IpAddr,
    /// Destination address of the same family.
    pub to: IpAddr,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub port: u16,
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b))).sum()
}

fn fold(mut total: u32) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// Internet checksum with the pseudo header of either family.
fn checksum(flow: &Flow, protocol: u8, segment: &[u8]) -> u16 {
    let ends = sum(&address_bytes(flow.from)) + sum(&address_bytes(flow.to));
    fold(ends + u32::from(protocol) + segment.len() as u32 + sum(segment))
}

/// Sequence number of a segment that asks for none.
const SEQUENCE: u32 = 0x1234_5678;

/// A TCP segment with a valid checksum.
pub fn tcp(flow: &Flow, flags: u8) -> Vec<u8> {
    tcp_with(flow, flags, &[])
}

/// A SYN with this sequence number, which whoever answers it acknowledges plus one.
pub fn syn(flow: &Flow, sequence: u32) -> Vec<u8> {
    tcp_numbered(flow, SYN, sequence, &[])
}

/// The same with a payload.
pub fn tcp_with(flow: &Flow, flags: u8, payload: &[u8]) -> Vec<u8> {
    tcp_numbered(flow, flags, SEQUENCE, payload)
}

fn tcp_numbered(flow: &Flow, flags: u8, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut segment = vec![0u8; 20];
    segment.extend(payload);
    segment[0..2].copy_from_slice(&flow.source_port.to_be_bytes());
    segment[2..4].copy_from_slice(&flow.port.to_be_bytes());
    segment[4..8].copy_from_slice(&sequence.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = flags;
    segment[14..16].copy_from_slice(&64240u16.to_be_bytes());
    let check = checksum(flow, 6, &segment);
    segment[16..18].copy_from_slice(&check.to_be_bytes());
    segment
}

/// A UDP datagram with a valid checksum.
pub fn udp(flow: &Flow, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::with_capacity(8 + payload.len());
    segment.extend(flow.source_port.to_be_bytes());
    segment.extend(flow.port.to_be_bytes());
    segment.extend(((8 + payload.len()) as u16).to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(payload);
    let check = checksum(flow, 17, &segment);
    segment[6..8].copy_from_slice(&check.to_be_bytes());
    segment
}

/// An ICMP or ICMPv6 message with a valid checksum.
pub fn icmp(flow: &Flow, kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(body);
    let check = match flow.from {
        IpAddr::V4(_) => fold(sum(&message)),
        IpAddr::V6(_) => checksum(flow, 58, &message),
    };
    message[2..4].copy_from_slice(&check.to_be_bytes());
    message
}

/// A whole packet around a segment.
pub fn packet(flow: &Flow, protocol: u8, segment: &[u8]) -> Vec<u8> {
    packet_with(flow, protocol, segment, 64)
}

/// The same with a hop limit.
pub fn packet_with(flow: &Flow, protocol: u8, segment: &[u8], hops: u8) -> Vec<u8> {
    match (flow.from, flow.to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, protocol, segment, (0, 0), hops),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(from, to, protocol, segment, hops),
        _ => Vec::new(),
    }
}

/// One segment as two or more fragments, each with `size` (a multiple of 8) bytes of it.
pub fn fragments(flow: &Flow, protocol: u8, segment: &[u8], size: usize) -> Vec<Vec<u8>> {
    let pieces = segment.chunks(size).enumerate();
    let last = segment.len().div_ceil(size) - 1;
    pieces
        .map(|(number, piece)| {
            let (offset, more) = (number * size, number != last);
            match (flow.from, flow.to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    let field = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
                    ipv4(from, to, protocol, piece, (flow.source_port, field), 64)
                }
                (IpAddr::V6(from), IpAddr::V6(to)) => {
                    let mut body = vec![protocol, 0];
                    body.extend((offset as u16 | u16::from(more)).to_be_bytes());
                    body.extend(u32::from(flow.source_port).to_be_bytes());
                    body.extend(piece);
                    ipv6(from, to, 44, &body, 64)
                }
                _ => Vec::new(),
            }
        })
        .collect()
}

/// An IPv6 packet with an empty destination options header before the segment.
pub fn with_options(flow: &Flow, protocol: u8, segment: &[u8]) -> Vec<u8> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (flow.from, flow.to) else { return Vec::new() };
    // Next header, length 0 (eight bytes), PadN of four.
    let mut body = vec![protocol, 0, 1, 4, 0, 0, 0, 0];
    body.extend(segment);
    ipv6(from, to, 60, &body, 64)
}

fn ipv4(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    body: &[u8],
    (id, fragment): (u16, u16),
    hops: u8,
) -> Vec<u8> {
    let mut header = vec![0u8; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&((20 + body.len()) as u16).to_be_bytes());
    header[4..6].copy_from_slice(&id.to_be_bytes());
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header[8] = hops;
    header[9] = protocol;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let check = fold(sum(&header));
    header[10..12].copy_from_slice(&check.to_be_bytes());
    header.extend(body);
    header
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, body: &[u8], hops: u8) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend((body.len() as u16).to_be_bytes());
    header.extend([protocol, hops]);
    header.extend(from.octets());
    header.extend(to.octets());
    header.extend(body);
    header
}

/// Sends whole packets of both families from the namespace it was made in.
pub struct RawSender {
    v4: OwnedFd,
    v6: OwnedFd,
}

impl RawSender {
    /// Opens the sockets in the namespace of the calling thread.
    ///
    /// # Errors
    /// Not root.
    pub fn new() -> Result<Self> {
        let open = |family| {
            let fd = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)
                .context("opening a raw socket (needs root)")?;
            // A sender waits for its own packets to be taken, instead of losing them.
            setsockopt(&fd, sockopt::SndBufForce, &(4 << 20)).context("giving a raw socket a send buffer")?;
            anyhow::Ok(fd)
        };
        Ok(Self { v4: open(AddressFamily::Inet)?, v6: open(AddressFamily::Inet6)? })
    }

    /// Sends one packet to the route of `to`.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn send(&self, to: IpAddr, packet: &[u8]) -> Result<()> {
        loop {
            let sent = match to {
                IpAddr::V4(a) => {
                    let end = SockaddrIn::from(SocketAddrV4::new(a, 0));
                    sendto(self.v4.as_raw_fd(), packet, &end, MsgFlags::empty())
                }
                IpAddr::V6(a) => {
                    let end = SockaddrIn6::from(SocketAddrV6::new(a, 0, 0, 0));
                    sendto(self.v6.as_raw_fd(), packet, &end, MsgFlags::empty())
                }
            };
            match sent {
                Err(Errno::ENOBUFS | Errno::EINTR | Errno::EAGAIN) => std::thread::yield_now(),
                other => return other.map(drop).with_context(|| format!("sending a packet to {to}")),
            }
        }
    }
}

/// Sees every TCP segment of one family that arrives in its namespace.
pub struct RawReceiver {
    fd: OwnedFd,
    has_header: bool,
}

/// What was answered: ports, flags and what it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Port it came from.
    pub from_port: u16,
    /// Port it went to.
    pub to_port: u16,
    /// TCP flags.
    pub flags: u8,
    /// Acknowledgement number.
    pub acknowledged: u32,
}

impl RawReceiver {
    /// Opens the socket in the namespace of the calling thread.
    ///
    /// # Errors
    /// Not root.
    pub fn new(v6: bool) -> Result<Self> {
        let family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(family, SockType::Raw, flags, SockProtocol::Tcp)
            .context("opening a raw socket (needs root)")?;
        setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).context("giving a raw socket a buffer")?;
        Ok(Self { fd, has_header: !v6 })
    }

    /// The next segment, if one has come.
    pub fn next(&self) -> Option<Answer> {
        let mut bytes = [0u8; 128];
        let length = recv(self.fd.as_raw_fd(), &mut bytes, MsgFlags::empty()).ok()?;
        let start = if self.has_header { usize::from(bytes[0] & 15) * 4 } else { 0 };
        let segment = bytes.get(start..length)?;
        let port = |at: usize| Some(u16::from_be_bytes([*segment.get(at)?, *segment.get(at + 1)?]));
        let acknowledged = u32::from_be_bytes(segment.get(8..12)?.try_into().ok()?);
        Some(Answer { from_port: port(0)?, to_port: port(2)?, flags: *segment.get(13)?, acknowledged })
    }
}

#[cfg(test)]
mod tests {
    use super::{Flow, SYN, checksum, fold, fragments, packet, sum, tcp, udp};

    const V4: Flow = Flow {
        from: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        to: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)),
        source_port: 40000,
        port: 53,
    };

    #[test]
    fn checksums_of_made_packets_verify() {
        let segment = tcp(&V4, SYN);
        assert_eq!(checksum(&V4, 6, &segment), 0);
        assert_eq!(checksum(&V4, 17, &udp(&V4, b"odd")), 0);
        assert_eq!(fold(sum(&packet(&V4, 6, &segment)[..20])), 0);
    }

    #[test]
    fn fragments_put_together_are_the_segment() {
        let segment = tcp(&V4, SYN);
        let parts = fragments(&V4, 6, &segment, 8);
        assert_eq!(parts.len(), 3);
        let joined: Vec<u8> = parts.iter().flat_map(|p| p[20..].to_vec()).collect();
        assert_eq!(joined, segment);
        assert_eq!(
            parts.iter().map(|p| u16::from_be_bytes([p[6], p[7]])).collect::<Vec<_>>(),
            [0x2000, 0x2001, 2]
        );
    }
}

//! The frames of the probes: made and read, pure. ARP (RFC 826, 5227), neighbour discovery (RFC 4861, 4862), ICMP echo, DNS.

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, EtherType, Ethernet2Header, IcmpEchoHeader, Icmpv4Type, Icmpv6Type,
    IpNumber, NetSlice, PacketBuilder, SlicedPacket, TransportSlice, icmpv4, icmpv6,
};
use profiles::node::MacAddr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const BROADCAST: [u8; 6] = [0xff; 6];
/// All nodes of the segment, `ff02::1`.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Neighbour discovery is believed with this hop limit only: a router would have lowered it.
const HOPS_ON_LINK: u8 = 255;
const HOPS: u8 = 64;
/// IP and ICMP headers before the bytes of an echo request.
const ECHO_HEADER_V4: u16 = 28;
const ECHO_HEADER_V6: u16 = 48;
/// Port of DNS servers.
const DNS_PORT: u16 = 53;
/// Port our questions come from; the identity of a question is in its 16-bit id too.
const DNS_SOURCE_PORT: u16 = 53053;
/// Header of a DNS message.
const DNS_HEADER_BYTES: usize = 12;

/// What a frame says that somebody asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Somebody has this address.
    Holder {
        /// The address.
        address: IpAddr,
        /// Who.
        mac: MacAddr,
    },
    /// Somebody is about to take this address and asks whether it is free.
    Candidate {
        /// The address.
        address: IpAddr,
        /// Who.
        mac: MacAddr,
    },
    /// Somebody wants to know who has this address.
    Asked {
        /// The address.
        address: IpAddr,
        /// Who asks, with which address.
        by: IpAddr,
        /// The Ethernet address to answer to.
        mac: MacAddr,
    },
    /// Answer to an echo request.
    Echo {
        /// Who answers.
        from: IpAddr,
        /// Identity of the request.
        id: u16,
        /// Its number.
        number: u16,
    },
    /// A router says that a packet was too large.
    TooBig {
        /// What would pass.
        mtu: u32,
    },
    /// Answer of a DNS server.
    Dns {
        /// Who answers.
        from: IpAddr,
        /// Identity of the question.
        id: u16,
        /// Response code.
        rcode: u8,
    },
}

/// What a frame says; nothing for all that nobody asks about. Takes any bytes.
pub fn parse_frame(frame: &[u8]) -> Vec<Heard> {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return Vec::new() };
    match (&packet.net, &packet.transport) {
        (Some(NetSlice::Arp(arp)), _) => {
            arp.to_packet().try_eth_ipv4().map(|arp| parse_arp(&arp)).unwrap_or_default()
        }
        (Some(NetSlice::Ipv4(ip)), Some(transport)) => {
            let from = ip.header().source_addr();
            match transport {
                TransportSlice::Icmpv4(message) => {
                    parse_icmpv4(from, &message.icmp_type()).into_iter().collect()
                }
                TransportSlice::Udp(udp) => parse_dns(from.into(), udp).into_iter().collect(),
                _ => Vec::new(),
            }
        }
        (Some(NetSlice::Ipv6(ip)), Some(transport)) => match transport {
            TransportSlice::Icmpv6(message) => {
                let header = ip.header();
                if !message.is_checksum_valid(header.source(), header.destination()) {
                    return Vec::new();
                }
                let sender = packet.link.as_ref().and_then(|link| link.to_header()?.ethernet2());
                parse_icmpv6(header.source_addr(), header.hop_limit(), sender.as_ref(), message)
            }
            TransportSlice::Udp(udp) => {
                parse_dns(ip.header().source_addr().into(), udp).into_iter().collect()
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn parse_arp(arp: &ArpEthIpv4Packet) -> Vec<Heard> {
    let (sender, target) = (arp.sender_ipv4_addr(), arp.target_ipv4_addr());
    let Some(mac) = unicast(arp.sender_mac) else { return Vec::new() };
    if sender.is_unspecified() {
        let is_probe = arp.operation == ArpOperation::REQUEST && !target.is_unspecified();
        return if is_probe { vec![Heard::Candidate { address: target.into(), mac }] } else { Vec::new() };
    }
    let mut heard = vec![Heard::Holder { address: sender.into(), mac }];
    if arp.operation == ArpOperation::REQUEST && target != sender && !target.is_unspecified() {
        heard.push(Heard::Asked { address: target.into(), by: sender.into(), mac });
    }
    heard
}

fn parse_icmpv4(from: Ipv4Addr, message: &Icmpv4Type) -> Option<Heard> {
    match message {
        Icmpv4Type::EchoReply(echo) => Some(Heard::Echo { from: from.into(), id: echo.id, number: echo.seq }),
        Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::FragmentationNeeded {
            next_hop_mtu,
        }) => Some(Heard::TooBig { mtu: u32::from(*next_hop_mtu) }),
        _ => None,
    }
}

fn parse_icmpv6(
    from: Ipv6Addr,
    hops: u8,
    sender: Option<&Ethernet2Header>,
    message: &etherparse::Icmpv6Slice<'_>,
) -> Vec<Heard> {
    let sender = sender.and_then(|header| unicast(header.source));
    match message.icmp_type() {
        Icmpv6Type::EchoReply(echo) => vec![Heard::Echo { from: from.into(), id: echo.id, number: echo.seq }],
        Icmpv6Type::PacketTooBig { mtu } => vec![Heard::TooBig { mtu }],
        _ if message.code_u8() != 0 || hops != HOPS_ON_LINK => Vec::new(),
        _ => {
            let kind = message.type_u8();
            let Some((target, options)) = message.payload().split_first_chunk::<16>() else {
                return Vec::new();
            };
            let address = IpAddr::V6(Ipv6Addr::from(*target));
            match (kind, sender) {
                (icmpv6::TYPE_NEIGHBOR_SOLICITATION, Some(mac)) if from.is_unspecified() => {
                    vec![Heard::Candidate { address, mac }]
                }
                (icmpv6::TYPE_NEIGHBOR_SOLICITATION, Some(mac)) => {
                    let by = from.into();
                    vec![Heard::Holder { address: by, mac }, Heard::Asked { address, by, mac }]
                }
                (icmpv6::TYPE_NEIGHBOR_ADVERTISEMENT, sender) => {
                    let mac = link_layer_option(options, 2).and_then(unicast).or(sender);
                    mac.map(|mac| Heard::Holder { address, mac }).into_iter().collect()
                }
                _ => Vec::new(),
            }
        }
    }
}

/// The Ethernet address in an option of neighbour discovery; `kind` 1 is the sender's, 2 the target's.
fn link_layer_option(mut options: &[u8], kind: u8) -> Option<[u8; 6]> {
    while let [found, eights, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(eights) * 8)?;
        if option.is_empty() {
            return None;
        }
        if found == kind {
            return option.get(2..8)?.try_into().ok();
        }
        options = rest;
    }
    None
}

fn parse_dns(from: IpAddr, udp: &etherparse::UdpSlice<'_>) -> Option<Heard> {
    if udp.source_port() != DNS_PORT || udp.destination_port() != DNS_SOURCE_PORT {
        return None;
    }
    let header = udp.payload().get(..DNS_HEADER_BYTES)?;
    let is_response = header[2] & 0x80 != 0;
    is_response.then(|| Heard::Dns {
        from,
        id: u16::from_be_bytes([header[0], header[1]]),
        rcode: header[3] & 0x0f,
    })
}

/// An address of one machine: neither a group nor nothing.
fn unicast(mac: [u8; 6]) -> Option<MacAddr> {
    (mac[0] & 1 == 0 && mac != [0; 6]).then_some(MacAddr(mac))
}

/// Asks the segment who has an address, without claiming one: an ARP probe (RFC 5227) or the solicitation of duplicate address
/// detection (RFC 4862).
pub fn render_probe(mac: MacAddr, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => {
            arp_frame(BROADCAST, ArpOperation::REQUEST, (mac, Ipv4Addr::UNSPECIFIED), ([0; 6], address))
        }
        IpAddr::V6(address) => {
            let [.., a, b, c] = address.octets();
            let group =
                Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
            // No option with our Ethernet address: the source is unspecified.
            let target = address.octets();
            let message = (icmpv6::TYPE_NEIGHBOR_SOLICITATION, [0; 4], target.as_slice());
            neighbour_frame(mac, group_mac(group), (Ipv6Addr::UNSPECIFIED, group), message)
        }
    }
}

/// Tells somebody who asked ([`Heard::Asked`]) that we have this address.
pub fn render_answer(mac: MacAddr, address: IpAddr, by: IpAddr, to: MacAddr) -> Option<Vec<u8>> {
    match (address, by) {
        (IpAddr::V4(address), IpAddr::V4(by)) => {
            Some(arp_frame(to.0, ArpOperation::REPLY, (mac, address), (to.0, by)))
        }
        (IpAddr::V6(address), IpAddr::V6(by)) => {
            let to_address = if by.is_unspecified() { ALL_NODES } else { by };
            let mut body = address.octets().to_vec();
            body.extend([2, 1]);
            body.extend(mac.0);
            // Solicited and override.
            let message = (icmpv6::TYPE_NEIGHBOR_ADVERTISEMENT, [0x60, 0, 0, 0], body.as_slice());
            Some(neighbour_frame(mac, to.0, (address, to_address), message))
        }
        _ => None,
    }
}

/// An echo request that fills a packet of `bytes` (with the IP header), and may not be cut into pieces. The two addresses are of
/// one family.
pub fn render_echo(
    (mac, from): (MacAddr, IpAddr),
    (to_mac, to): (MacAddr, IpAddr),
    (id, number): (u16, u16),
    bytes: u16,
) -> Option<Vec<u8>> {
    let ethernet = PacketBuilder::ethernet2(mac.0, to_mac.0);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let fill = vec![0x4d; usize::from(bytes.saturating_sub(ECHO_HEADER_V4))];
            let builder = ethernet.ipv4(from.octets(), to.octets(), HOPS).icmpv4_echo_request(id, number);
            finish(builder.size(fill.len()), |out| builder.write(out, &fill).is_ok())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let fill = vec![0x4d; usize::from(bytes.saturating_sub(ECHO_HEADER_V6))];
            let builder = ethernet
                .ipv6(from.octets(), to.octets(), HOPS)
                .icmpv6(Icmpv6Type::EchoRequest(IcmpEchoHeader { id, seq: number }));
            finish(builder.size(fill.len()), |out| builder.write(out, &fill).is_ok())
        }
        _ => None,
    }
}

/// Asks a DNS server for the name servers of the root, which every one knows or refuses to tell; nothing is looked up for it. The
/// two addresses are of one family.
pub fn render_dns_query(
    (mac, from): (MacAddr, IpAddr),
    (to_mac, to): (MacAddr, IpAddr),
    id: u16,
) -> Option<Vec<u8>> {
    let [high, low] = id.to_be_bytes();
    // One question, no recursion: the root, NS, IN.
    let query = [high, low, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    let ethernet = PacketBuilder::ethernet2(mac.0, to_mac.0);
    let builder = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), HOPS),
        (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), HOPS),
        _ => return None,
    };
    let builder = builder.udp(DNS_SOURCE_PORT, DNS_PORT);
    finish(builder.size(query.len()), |out| builder.write(out, &query).is_ok())
}

fn finish(size: usize, write: impl FnOnce(&mut Vec<u8>) -> bool) -> Option<Vec<u8>> {
    let mut frame = Vec::with_capacity(size);
    write(&mut frame).then_some(frame)
}

fn arp_frame(
    to: [u8; 6],
    operation: ArpOperation,
    (mac, sender): (MacAddr, Ipv4Addr),
    (target_mac, target): ([u8; 6], Ipv4Addr),
) -> Vec<u8> {
    let header = Ethernet2Header { source: mac.0, destination: to, ether_type: EtherType::ARP };
    let arp = ArpEthIpv4Packet {
        operation,
        sender_mac: mac.0,
        sender_ipv4: sender.octets(),
        target_mac,
        target_ipv4: target.octets(),
    };
    let mut frame = header.to_bytes().to_vec();
    frame.extend(arp.to_bytes());
    frame
}

/// A message of neighbour discovery: type, the four bytes after the checksum, and the rest.
fn neighbour_frame(
    mac: MacAddr,
    to_mac: [u8; 6],
    (from, to): (Ipv6Addr, Ipv6Addr),
    (kind, flags, body): (u8, [u8; 4], &[u8]),
) -> Vec<u8> {
    let message = etherparse::Icmpv6Header::with_checksum(
        Icmpv6Type::Unknown { type_u8: kind, code_u8: 0, bytes5to8: flags },
        from.octets(),
        to.octets(),
        body,
    );
    let ip = etherparse::Ipv6Header {
        payload_length: u16::try_from(8 + body.len()).unwrap_or(u16::MAX),
        next_header: IpNumber::IPV6_ICMP,
        hop_limit: HOPS_ON_LINK,
        source: from.octets(),
        destination: to.octets(),
        ..etherparse::Ipv6Header::default()
    };
    let header = Ethernet2Header { source: mac.0, destination: to_mac, ether_type: EtherType::IPV6 };
    let mut frame = header.to_bytes().to_vec();
    frame.extend(ip.to_bytes());
    if let Ok(message) = message {
        frame.extend(message.to_bytes());
    }
    frame.extend(body);
    frame
}

/// Ethernet address of an IPv6 group.
fn group_mac(group: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
    const OTHER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_arp_probe_claims_no_address_and_is_the_one_of_the_rfc() {
        let frame = render_probe(MAC, ip("10.0.0.11"));
        let expected =
            "ffffffffffff 525400000001 0806 0001 0800 06 04 0001 525400000001 00000000 000000000000 0a00000b";
        assert_eq!(hex::encode(&frame), expected.replace(' ', ""));
        assert_eq!(parse_frame(&frame), [Heard::Candidate { address: ip("10.0.0.11"), mac: MAC }]);
    }

    #[test]
    fn a_neighbour_probe_comes_from_nobody_and_goes_to_the_group_of_the_address() {
        let frame = render_probe(MAC, ip("2001:db8::12:3456"));
        let expected = "3333ff123456 525400000001 86dd 60000000 0018 3a ff 00000000000000000000000000000000 \
                        ff0200000000000000000001ff123456 87 00";
        assert!(hex::encode(&frame).starts_with(&expected.replace(' ', "")), "{}", hex::encode(&frame));
        assert_eq!(frame.len(), 14 + 40 + 24);
        // The checksum is right, or nothing would be read from it.
        assert_eq!(parse_frame(&frame), [Heard::Candidate { address: ip("2001:db8::12:3456"), mac: MAC }]);
    }

    #[test]
    fn answers_name_the_holder() {
        for (address, by) in [("10.0.0.1", "10.0.0.2"), ("fe80::1", "fe80::2"), ("2001:db8::1", "::")] {
            let frame = render_answer(MAC, ip(address), ip(by), OTHER).unwrap();
            assert_eq!(parse_frame(&frame), [Heard::Holder { address: ip(address), mac: MAC }], "{address}");
        }
        assert_eq!(render_answer(MAC, ip("10.0.0.1"), ip("::"), OTHER), None);
    }

    #[test]
    fn a_request_shows_who_asks_and_a_gratuitous_one_only_who_has_it() {
        let frame = |sender: &str, target: &str| {
            let v4 = |text: &str| text.parse::<Ipv4Addr>().unwrap();
            arp_frame(BROADCAST, ArpOperation::REQUEST, (OTHER, v4(sender)), ([0; 6], v4(target)))
        };
        let holder = Heard::Holder { address: ip("10.0.0.2"), mac: OTHER };
        let asked = Heard::Asked { address: ip("10.0.0.1"), by: ip("10.0.0.2"), mac: OTHER };
        assert_eq!(parse_frame(&frame("10.0.0.2", "10.0.0.1")), [holder.clone(), asked]);
        assert_eq!(parse_frame(&frame("10.0.0.2", "10.0.0.2")), [holder]);
        assert_eq!(parse_frame(&frame("0.0.0.0", "0.0.0.0")), []);
    }

    #[test]
    fn an_echo_fills_the_packet_exactly_and_may_not_be_cut() {
        let v4 = render_echo((MAC, ip("10.0.0.1")), (OTHER, ip("10.0.0.2")), (7, 1), 1500).unwrap();
        assert_eq!(v4.len(), 14 + 1500);
        assert_eq!(v4[14 + 6] & 0x40, 0x40, "don't fragment");
        let v6 = render_echo((MAC, ip("fd00::1")), (OTHER, ip("fd00::2")), (7, 1), 1280).unwrap();
        assert_eq!(v6.len(), 14 + 1280);
        assert_eq!((parse_frame(&v4), parse_frame(&v6)), (vec![], vec![]), "a request is no answer");
        let mut reply = v4;
        reply[14 + 20] = 0;
        assert_eq!(parse_frame(&reply), [Heard::Echo { from: ip("10.0.0.1"), id: 7, number: 1 }]);
    }

    #[test]
    fn a_dns_answer_is_recognised_by_its_id_and_a_question_is_none() {
        let mut frame = render_dns_query((MAC, ip("10.0.0.1")), (OTHER, ip("10.0.0.53")), 0xabcd).unwrap();
        assert_eq!(parse_frame(&frame), []);
        let ports = 14 + 20;
        frame.copy_within(ports + 2..ports + 4, ports);
        frame[ports + 2..ports + 4].copy_from_slice(&DNS_SOURCE_PORT.to_be_bytes());
        frame[ports + 8 + 2] |= 0x80;
        frame[ports + 8 + 3] |= 5;
        assert_eq!(parse_frame(&frame), [Heard::Dns { from: ip("10.0.0.1"), id: 0xabcd, rcode: 5 }]);
    }

    #[test]
    fn neighbour_discovery_from_beyond_a_router_or_broken_is_not_believed() {
        let good = render_answer(MAC, ip("fe80::1"), ip("fe80::2"), OTHER).unwrap();
        assert_eq!(parse_frame(&good).len(), 1);
        let (mut far, mut broken) = (good.clone(), good.clone());
        far[14 + 7] = 64;
        broken[14 + 40 + 2] ^= 1;
        assert_eq!((parse_frame(&far), parse_frame(&broken)), (vec![], vec![]));
        // Padding after the packet, as short frames have it, changes nothing.
        let mut padded = good.clone();
        padded.extend([0; 8]);
        assert_eq!(parse_frame(&padded), parse_frame(&good));
    }
}

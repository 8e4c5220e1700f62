//! The LLDP frames that systemd-networkd keeps for each interface in `/run/systemd/netif/lldp/INDEX`: a length of eight bytes, then an
//! Ethernet frame, again and again. What a neighbour says is untrusted.

use super::model::Neighbour;
use super::show::sanitise;

/// EtherType of LLDP.
const ETHERTYPE: [u8; 2] = [0x88, 0xcc];
/// Addresses and type of a frame.
const HEADER_BYTES: usize = 14;
/// VLANs of one neighbour that are kept.
const VLANS_MAX: usize = 64;
/// Organisation of IEEE 802.1: VLANs.
const IEEE_802_1: [u8; 3] = [0x00, 0x80, 0xc2];

/// The first neighbour in a file of networkd's; none when it is torn or holds something else.
pub fn parse_lldp_frames(bytes: &[u8]) -> Option<Neighbour> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let frame = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    if frame.get(12..HEADER_BYTES)? != ETHERTYPE {
        return None;
    }
    parse_values(frame.get(HEADER_BYTES..)?)
}

/// Reads type-length-value triples up to the end mark.
fn parse_values(mut rest: &[u8]) -> Option<Neighbour> {
    let mut found = Found::default();
    loop {
        let (head, after) = rest.split_first_chunk::<2>()?;
        let head = u16::from_be_bytes(*head);
        let (value, after) = after.split_at_checked(usize::from(head & 0x1ff))?;
        rest = after;
        match head >> 9 {
            0 => break,
            1 => found.chassis = identifier(value),
            2 => found.port = identifier(value),
            4 => found.port_text = text(value),
            5 => found.system = text(value),
            127 if value.starts_with(&IEEE_802_1) => {
                found.vlans.extend(vlan(&value[3..]).filter(|id| !found.vlans.contains(id)));
            }
            _ => {}
        }
    }
    found.vlans.truncate(VLANS_MAX);
    Some(Neighbour {
        system: found.system.or(found.chassis),
        port: found.port.or(found.port_text),
        vlans: found.vlans,
    })
}

#[derive(Default)]
struct Found {
    chassis: Option<String>,
    port: Option<String>,
    port_text: Option<String>,
    system: Option<String>,
    vlans: Vec<u16>,
}

/// A chassis or port: a kind, then a name or an Ethernet address.
fn identifier(value: &[u8]) -> Option<String> {
    let (kind, id) = value.split_first()?;
    // 4 for a chassis and 3 for a port is an address; of a name no such byte string is one.
    match (kind, id) {
        (3 | 4, [a, b, c, d, e, f]) => Some(format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")),
        _ => text(id),
    }
}

fn text(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    Some(sanitise(text.trim_matches(|c: char| c.is_whitespace() || c == '\0')))
        .filter(|text| !text.is_empty())
}

/// The VLAN of a port (1) or one with a name (3).
fn vlan(value: &[u8]) -> Option<u16> {
    match value {
        [1 | 3, high, low, ..] => {
            Some(u16::from_be_bytes([*high, *low])).filter(|id| (1..=4094).contains(id))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse_lldp_frames;

    fn value(kind: u16, bytes: &[u8]) -> Vec<u8> {
        let head = (kind << 9) | u16::try_from(bytes.len()).unwrap();
        [&head.to_be_bytes()[..], bytes].concat()
    }

    fn file(values: &[Vec<u8>]) -> Vec<u8> {
        let mut frame = vec![0x01, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 1, 0x88, 0xcc];
        values.iter().for_each(|value| frame.extend(value));
        [&(frame.len() as u64).to_le_bytes()[..], &frame].concat()
    }

    fn switch() -> Vec<Vec<u8>> {
        vec![
            value(1, &[4, 0, 0x1c, 0x73, 0, 0, 1]),
            value(2, b"\x05Ethernet12"),
            value(3, &[0, 120]),
            value(5, b"sw-rack1"),
            value(127, &[0, 0x80, 0xc2, 1, 0, 10]),
            value(127, b"\x00\x80\xc2\x03\x00\x14\x04prod"),
            value(127, &[0, 0x12, 0x0f, 1, 0, 99]),
            value(0, &[]),
        ]
    }

    #[test]
    fn reads_switch_port_and_vlans() {
        let neighbour = parse_lldp_frames(&file(&switch())).unwrap();
        assert_eq!(
            (neighbour.system.as_deref(), neighbour.port.as_deref()),
            (Some("sw-rack1"), Some("Ethernet12"))
        );
        assert_eq!(neighbour.vlans, [10, 20]);
        let mut nameless = switch();
        nameless.remove(3);
        let neighbour = parse_lldp_frames(&file(&nameless)).unwrap();
        assert_eq!(neighbour.system.as_deref(), Some("00:1c:73:00:00:01"));
    }

    #[test]
    fn a_torn_or_foreign_file_gives_no_neighbour() {
        let whole = file(&switch());
        assert!((0..whole.len()).all(|end| parse_lldp_frames(&whole[..end]).is_none()));
        let mut foreign = whole.clone();
        foreign[8 + 12] = 0x08;
        assert_eq!(parse_lldp_frames(&foreign), None);
        let hostile = vec![value(5, b"\x1b[2Jsw\n"), value(0, &[])];
        assert_eq!(parse_lldp_frames(&file(&hostile)).unwrap().system.as_deref(), Some("\\u{1b}[2Jsw"));
    }
}

//! Partition tables, from the first and last bytes of a disk. Pure, and afraid of every number in them: what `blkid` takes for
//! one table may be two that contradict each other, or half of one.
//!
//! Whatever is found here makes the disk one with data; the names are for the operator.

use std::collections::BTreeSet;
use uuid::Uuid;

/// First bytes of both GPT headers.
const GPT_SIGNATURE: &[u8; 8] = b"EFI PART";
/// Last bytes of the first sector of an MBR.
const MBR_SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// Partition type of a protective MBR.
const TYPE_PROTECTIVE: u8 = 0xee;
/// Limits of what is believed of a GPT: the specification's 128 entries of 128 bytes, and a good margin.
const ENTRIES_MAX: u64 = 1024;
const ENTRY_BYTES_MAX: u64 = 4096;
const ENTRY_BYTES_MIN: u64 = 128;
/// Bytes of a header that mean something.
const HEADER_BYTES: usize = 92;
/// Where a header has the GUID of the disk.
const GUID_AT: usize = 56;
/// How long the type of an entry is, with which it begins; zeros in one that is not used.
const TYPE_BYTES: usize = 16;
/// Where an entry has its label, in UTF-16.
const LABEL: std::ops::Range<usize> = 56..128;
/// Sizes of sectors that a table may have been made for.
const SECTOR_SIZES: [u64; 2] = [512, 4096];

/// Both ends of a disk.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'b> {
    /// The first bytes.
    pub head: &'b [u8],
    /// The last bytes.
    pub tail: &'b [u8],
    /// Size of the disk.
    pub disk_bytes: u64,
    /// Logical sector size.
    pub sector_bytes: u64,
}

/// One GPT header, as far as it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    alternate_lba: u64,
    entries_lba: u64,
    entries: u64,
    entry_bytes: u64,
    entries_crc: u32,
}

/// What one of the two headers is.
enum Found {
    /// Nothing that calls itself a GPT header.
    Nothing,
    /// It calls itself one and is damaged.
    Damaged,
    Whole(Header),
}

/// What is odd about the partition tables, in words; empty when there is none, or one that is whole and simple (which `blkid` names).
pub fn inspect_tables(ends: &Ends<'_>) -> Vec<String> {
    let mut odd = BTreeSet::new();
    let primary = read_header(ends, ends.sector_bytes);
    let backup = read_header(ends, ends.disk_bytes.saturating_sub(ends.sector_bytes));
    let mbr = mbr_types(ends.head);
    let mut add = |text: &str| {
        odd.insert(text.to_owned());
    };
    match (&primary, &backup) {
        (Found::Nothing, Found::Nothing) if mbr.contains(&TYPE_PROTECTIVE) => {
            add("protective MBR without a GPT")
        }
        (Found::Nothing, Found::Nothing) => {}
        (Found::Whole(_), Found::Whole(_)) => {}
        (Found::Whole(_), _) => add("GPT with a bad or missing backup"),
        (Found::Nothing, Found::Whole(_)) => add("backup of a GPT whose primary is gone"),
        (Found::Damaged, Found::Whole(_)) => add("GPT with a bad primary"),
        (_, _) => add("damaged GPT"),
    }
    if mbr.is_empty() && matches!((&primary, &backup), (Found::Whole(_), Found::Whole(_))) {
        add("GPT without a protective MBR");
    }
    let has_gpt = !matches!((&primary, &backup), (Found::Nothing, Found::Nothing));
    if has_gpt && mbr.iter().any(|kind| ![0, TYPE_PROTECTIVE].contains(kind)) {
        add("hybrid MBR");
    }
    for header in [primary, backup].into_iter().filter_map(|found| match found {
        Found::Whole(header) => Some(header),
        Found::Nothing | Found::Damaged => None,
    }) {
        inspect_entries(ends, &header, &mut add);
    }
    odd.into_iter().collect()
}

/// Who made the tables of a disk, as far as they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableIdentity {
    /// GUIDs of all GPT headers, whole or damaged, whatever the size of sectors they were made for.
    pub guids: BTreeSet<Uuid>,
    /// Labels of all entries of whole GPTs; nobody is asked who may not have looked yet.
    pub labels: BTreeSet<String>,
    /// An MBR has partitions besides the protective one.
    pub has_mbr_partitions: bool,
}

/// Reads the identities. Damage does not matter: what was cut while it was written still says whose it is.
pub fn identify_tables(ends: &Ends<'_>) -> TableIdentity {
    let places = SECTOR_SIZES.iter().flat_map(|sector| [*sector, ends.disk_bytes.saturating_sub(*sector)]);
    let guid = |offset: u64| {
        let header = bytes_at(ends, offset, HEADER_BYTES as u64)?;
        let bytes = header.get(GUID_AT..GUID_AT + 16).filter(|_| header.starts_with(GPT_SIGNATURE))?;
        Some(Uuid::from_bytes_le(bytes.try_into().ok()?))
    };
    TableIdentity {
        guids: places.clone().filter_map(guid).collect(),
        labels: places.flat_map(|offset| read_labels(ends, offset)).collect(),
        has_mbr_partitions: mbr_types(ends.head).iter().any(|kind| ![0, TYPE_PROTECTIVE].contains(kind)),
    }
}

/// Labels of the entries behind the whole header at this place. Entries that cannot be read count as one without a label.
fn read_labels(ends: &Ends<'_>, offset: u64) -> Vec<String> {
    let Found::Whole(header) = read_header(ends, offset) else { return Vec::new() };
    let sizes = ENTRY_BYTES_MIN..=ENTRY_BYTES_MAX;
    let is_believable = sizes.contains(&header.entry_bytes) && header.entries <= ENTRIES_MAX;
    let start = header.entries_lba.saturating_mul(ends.sector_bytes);
    let bytes = is_believable.then(|| bytes_at(ends, start, header.entries * header.entry_bytes)).flatten();
    let (Some(bytes), Ok(size)) = (bytes, usize::try_from(header.entry_bytes)) else {
        return vec![String::new()];
    };
    let is_used = |entry: &&[u8]| entry.iter().take(TYPE_BYTES).any(|byte| *byte != 0);
    bytes.chunks_exact(size).filter(is_used).map(read_label).collect()
}

fn read_label(entry: &[u8]) -> String {
    let (pairs, _) = entry.get(LABEL).unwrap_or_default().as_chunks::<2>();
    let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// The partition types of an MBR, if there is one.
fn mbr_types(head: &[u8]) -> Vec<u8> {
    if head.get(510..512) != Some(&MBR_SIGNATURE[..]) {
        return Vec::new();
    }
    (0..4).filter_map(|n| head.get(446 + n * 16 + 4).copied()).collect()
}

fn read_header(ends: &Ends<'_>, offset: u64) -> Found {
    let Some(bytes) = bytes_at(ends, offset, HEADER_BYTES as u64) else { return Found::Nothing };
    if bytes.get(..8) != Some(&GPT_SIGNATURE[..]) {
        return Found::Nothing;
    }
    let header_bytes = u64::from(u32_at(bytes, 12));
    if header_bytes < HEADER_BYTES as u64 || header_bytes > ends.sector_bytes {
        return Found::Damaged;
    }
    let Some(whole) = bytes_at(ends, offset, header_bytes) else { return Found::Damaged };
    let mut zeroed = whole.to_vec();
    zeroed.iter_mut().skip(16).take(4).for_each(|byte| *byte = 0);
    let here = offset.checked_div(ends.sector_bytes);
    if crc32(&zeroed) != u32_at(bytes, 16) || Some(u64_at(bytes, 24)) != here {
        return Found::Damaged;
    }
    Found::Whole(Header {
        alternate_lba: u64_at(bytes, 32),
        entries_lba: u64_at(bytes, 72),
        entries: u64::from(u32_at(bytes, 80)),
        entry_bytes: u64::from(u32_at(bytes, 84)),
        entries_crc: u32_at(bytes, 88),
    })
}

fn inspect_entries(ends: &Ends<'_>, header: &Header, add: &mut dyn FnMut(&str)) {
    let sectors = ends.disk_bytes.checked_div(ends.sector_bytes).unwrap_or(0);
    if header.alternate_lba >= sectors {
        add("GPT whose other header is outside of the disk");
    }
    let believable =
        (ENTRY_BYTES_MIN..=ENTRY_BYTES_MAX).contains(&header.entry_bytes) && header.entries <= ENTRIES_MAX;
    if !believable {
        add("GPT with an impossible number or size of entries");
        return;
    }
    let offset = header.entries_lba.saturating_mul(ends.sector_bytes);
    let Some(bytes) = bytes_at(ends, offset, header.entries * header.entry_bytes) else {
        add("GPT whose entries are out of place");
        return;
    };
    if crc32(bytes) != header.entries_crc {
        add("GPT with damaged entries");
    }
    let mut guids = BTreeSet::new();
    let mut ranges = Vec::new();
    for entry in bytes.chunks_exact(usize::try_from(header.entry_bytes).unwrap_or(128)) {
        let (kind, guid) = (entry.get(..16), entry.get(16..32));
        if kind.is_none_or(|kind| kind.iter().all(|byte| *byte == 0)) {
            continue;
        }
        if !guids.insert(guid) {
            add("GPT with the same identity twice");
        }
        let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
        if first > last || last >= sectors {
            add("GPT with a partition outside of the disk");
        }
        ranges.push((first, last));
    }
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| matches!(pair, [(_, last), (first, _)] if first <= last)) {
        add("GPT with overlapping partitions");
    }
}

/// Bytes of the disk that lie in one of its ends.
fn bytes_at<'b>(ends: &Ends<'b>, offset: u64, length: u64) -> Option<&'b [u8]> {
    let tail_offset = ends.disk_bytes.checked_sub(ends.tail.len() as u64)?;
    let cut = |bytes: &'b [u8], start: u64| {
        let start = usize::try_from(start).ok()?;
        bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
    };
    cut(ends.head, offset).or_else(|| cut(ends.tail, offset.checked_sub(tail_offset)?))
}

/// Little-endian number at a place; 0 where there is none.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at.saturating_add(4)).and_then(|four| <[u8; 4]>::try_from(four).ok());
    four.map_or(0, u32::from_le_bytes)
}

/// Little-endian number at a place; 0 where there is none.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..at.saturating_add(8)).and_then(|eight| <[u8; 8]>::try_from(eight).ok());
    eight.map_or(0, u64::from_le_bytes)
}

/// CRC-32 of IEEE 802.3, which GPT uses. A table has 16 KiB: no need to be quick.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let byte = |crc: u32, byte: &u8| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 },
        )
    };
    !bytes.iter().fold(u32::MAX, byte)
}

#[cfg(test)]
mod tests {
    use super::{Ends, crc32, identify_tables, inspect_tables};
    use proptest::prelude::{any, prop};
    use proptest::proptest;
    use sysio::command::Cmd;

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!((crc32(b"123456789"), crc32(b"")), (0xcbf4_3926, 0));
    }

    #[test]
    fn labels_are_those_of_the_entries_and_entries_out_of_sight_have_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8 << 20).unwrap();
        let script = "label: gpt\nsize=1MiB, name=metalstrap-esp\nsize=1MiB, name=photos\nsize=1MiB\n";
        Cmd::new("sfdisk").arg("-q").arg(file.path()).stdin(script).run().unwrap();
        let disk = std::fs::read(file.path()).unwrap();
        let labels = |head: usize, tail: usize| {
            let (head, tail) = (disk.get(..head).unwrap(), disk.get(disk.len() - tail..).unwrap());
            let ends = Ends { head, tail, disk_bytes: disk.len() as u64, sector_bytes: 512 };
            identify_tables(&ends).labels.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(labels(1 << 20, 1 << 20), ["", "metalstrap-esp", "photos"]);
        assert_eq!(labels(0, 1 << 20), ["", "metalstrap-esp", "photos"], "the second copy by itself");
        assert_eq!(labels(1024, 0), [""], "a header whose entries are not seen");
        assert_eq!(labels(512, 0), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            noise in prop::collection::vec(any::<u8>(), 0..256),
            at in 0..1200_usize,
            numbers in any::<(u64, u64)>(),
            signed in any::<bool>(),
        ) {
            let mut head = vec![0u8; 1536];
            if signed {
                head[512..520].copy_from_slice(b"EFI PART");
                head[524..528].copy_from_slice(&92u32.to_le_bytes());
            }
            head[at..at + noise.len()].copy_from_slice(&noise);
            for (disk_bytes, sector_bytes) in [numbers, (1536, 512), (0, 0), (u64::MAX, 512), (512, 4096)] {
                let ends = Ends { head: &head, tail: &noise, disk_bytes, sector_bytes };
                let _ = (inspect_tables(&ends), identify_tables(&ends));
            }
        }
    }
}

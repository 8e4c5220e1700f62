//! First bytes that people would recognise although `blkid` does not, because the rest is damaged, foreign or too new for it. It
//! changes no verdict (bytes that are not zero are data anyway), but "BitLocker" says more than "unknown data".

/// Place, bytes and kind, in `blkid`'s words where it has one.
const MAGIC: [(usize, &[u8], &str); 11] = [
    (3, b"-FVE-FS-", "BitLocker"),
    (3, b"NTFS    ", "ntfs"),
    (0, b"XFSB", "xfs"),
    (0, b"LUKS\xba\xbe", "crypto_LUKS"),
    (0, b"bluestore block device", "ceph_bluestore"),
    (32, b"NXSB", "apfs"),
    (512, b"LABELONE", "LVM2_member"),
    (32_768, b"JFS1", "jfs"),
    (65_536 + 52, b"ReIsEr", "reiserfs"),
    (65_536 + 64, b"_BHRfS_M", "btrfs"),
    (4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", "bcache"),
];

/// What the first bytes of a disk look like.
pub fn sniff_signatures(head: &[u8]) -> Vec<&'static str> {
    let is_there = |at: usize, magic: &[u8]| {
        head.get(at..at.saturating_add(magic.len())).is_some_and(|bytes| bytes == magic)
    };
    MAGIC.iter().filter(|(at, magic, _)| is_there(*at, magic)).map(|(_, _, kind)| *kind).collect()
}

#[cfg(test)]
mod tests {
    use super::sniff_signatures;

    #[test]
    fn knows_a_signature_by_its_place() {
        let mut head = vec![0; 4096];
        head[3..11].copy_from_slice(b"-FVE-FS-");
        assert_eq!(sniff_signatures(&head), ["BitLocker"]);
        head.rotate_right(1);
        assert_eq!(sniff_signatures(&head), [""; 0]);
        assert_eq!(sniff_signatures(b"XFS"), [""; 0]);
    }
}

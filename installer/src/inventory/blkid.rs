//! `blkid --probe --output export`: what is on a device, from its own bytes.

use super::model::Signature;
use super::show::sanitise;

/// Exit status of `blkid` when it found nothing.
pub(super) const NOTHING_FOUND: i32 = 2;

/// Exit status of `blkid` when several signatures contradict each other.
pub(super) const AMBIVALENT: i32 = 8;

/// Reads the export format: a file system or a partition table.
pub fn parse_blkid(text: &str, device: &str) -> Vec<Signature> {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.split_once('=').filter(|(k, _)| *k == key))
            .map(|(_, v)| sanitise(v))
    };
    let label = value("LABEL").or_else(|| value("PART_ENTRY_NAME"));
    let signature = |kind: String, label| Signature { kind, label, place: device.to_owned() };
    let table = value("PTTYPE").map(|kind| signature(kind, None));
    let content = value("TYPE").map(|kind| signature(kind, label));
    table.into_iter().chain(content).collect()
}

#[cfg(test)]
mod tests {
    use super::parse_blkid;

    #[test]
    fn reads_file_systems_and_tables() {
        let fs =
            "DEVNAME=/dev/vda1\nLABEL=a\\ b=c\nUUID=dd6e7fa7\nVERSION=1.0\nTYPE=ext4\nUSAGE=filesystem\n";
        let found = parse_blkid(fs, "/dev/vda1");
        assert_eq!((found[0].kind.as_str(), found[0].label.as_deref()), ("ext4", Some("a\\ b=c")));
        let table = parse_blkid("DEVNAME=/dev/vda\nPTUUID=243c\nPTTYPE=gpt\n", "/dev/vda");
        assert_eq!((table.len(), table[0].kind.as_str(), table[0].place.as_str()), (1, "gpt", "/dev/vda"));
        assert_eq!(parse_blkid("", "/dev/vda"), []);
    }
}

//! One record of udev's database, `/run/udev/data/b<major>:<minor>`.

use super::show::sanitise;

/// Links that udev made for a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdevRecord {
    /// Names below `/dev/disk/by-id`, sorted.
    pub by_id: Vec<String>,
    /// Name below `/dev/disk/by-path`; the first one when there are several.
    pub by_path: Option<String>,
    /// Short serial number, for devices that `lsblk` has none for.
    pub serial: Option<String>,
}

/// Reads a record: lines `S:link` and `E:KEY=value`; everything else is skipped.
pub fn parse_udev(text: &str) -> UdevRecord {
    let mut record = UdevRecord::default();
    let mut by_path = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("S:disk/by-id/") {
            record.by_id.push(sanitise(name));
        } else if let Some(name) = line.strip_prefix("S:disk/by-path/") {
            by_path.push(sanitise(name));
        } else if let Some(serial) = line.strip_prefix("E:ID_SERIAL_SHORT=") {
            record.serial = Some(sanitise(serial.trim())).filter(|s| !s.is_empty());
        }
    }
    record.by_id.sort();
    by_path.sort();
    record.by_path = by_path.into_iter().next();
    record
}

#[cfg(test)]
mod tests {
    use super::parse_udev;

    #[test]
    fn reads_links_and_serial() {
        let text = "S:disk/by-path/pci-0000:00:04.0\nS:disk/by-path/virtio-pci-0000:00:04.0\nS:disk/by-id/virtio-MS-0001\n\
                    I:123\nE:ID_SERIAL_SHORT=MS-0001\nG:systemd\n";
        let record = parse_udev(text);
        assert_eq!(record.by_id, ["virtio-MS-0001"]);
        assert_eq!(record.by_path.as_deref(), Some("pci-0000:00:04.0"));
        assert_eq!(record.serial.as_deref(), Some("MS-0001"));
        assert_eq!(parse_udev("\0\u{fffd}\nE:\nS:"), super::UdevRecord::default());
    }
}

//! `lsblk --json --bytes` of util-linux 2.38: the tree of block devices.

use super::model::{Disk, Health, Signature};
use super::show::sanitise;
use super::{CONFIG_LABELS, ISO_LABEL, MEDIUM_MOUNT};
use serde::Deserialize;

/// Columns that are asked for.
pub const LSBLK_COLUMNS: &str = "NAME,KNAME,PATH,MAJ:MIN,TYPE,SIZE,LOG-SEC,PHY-SEC,ROTA,RM,RO,TRAN,MODEL,SERIAL,WWN,\
                                 FSTYPE,LABEL,PTTYPE,PARTLABEL,MOUNTPOINTS";

#[derive(Debug, Deserialize)]
struct Tree {
    blockdevices: Vec<Device>,
}

/// One device of the tree.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Device {
    pub kname: String,
    pub path: String,
    #[serde(rename = "maj:min")]
    pub number: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub size: u64,
    #[serde(rename = "log-sec")]
    pub logical_sector: u64,
    #[serde(rename = "phy-sec")]
    pub physical_sector: u64,
    pub rota: bool,
    pub rm: bool,
    pub ro: bool,
    pub tran: Option<String>,
    pub model: Option<String>,
    pub serial: Option<String>,
    pub wwn: Option<String>,
    pub fstype: Option<String>,
    pub label: Option<String>,
    pub pttype: Option<String>,
    pub partlabel: Option<String>,
    #[serde(default)]
    pub mountpoints: Vec<Option<String>>,
    #[serde(default)]
    pub children: Vec<Device>,
}

/// A file system that can be asked for a cluster file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Device.
    pub device: String,
    /// Label.
    pub label: String,
    /// Type of the file system.
    pub fs_type: String,
}

/// Reads the tree and keeps disks and optical drives that have a medium.
pub(super) fn parse_lsblk(text: &str) -> Result<Vec<Device>, serde_json::Error> {
    let tree: Tree = serde_json::from_str(text)?;
    Ok(tree.blockdevices.into_iter().filter(is_disk).collect())
}

/// The disks and drives as far as `lsblk` knows them, in its order.
///
/// # Errors
/// When the text is not what `lsblk` prints with [`LSBLK_COLUMNS`].
pub fn parse_disks(text: &str) -> Result<Vec<Disk>, serde_json::Error> {
    Ok(parse_lsblk(text)?.iter().map(Device::to_disk).collect())
}

/// All labelled file systems, by device.
///
/// # Errors
/// When the text is not what `lsblk` prints with [`LSBLK_COLUMNS`].
pub fn parse_volumes(text: &str) -> Result<Vec<Volume>, serde_json::Error> {
    let tree: Tree = serde_json::from_str(text)?;
    let mut volumes = Vec::new();
    for device in tree.blockdevices.iter().flat_map(Device::with_descendants) {
        if let (Some(label), Some(fs_type)) = (&device.label, &device.fstype) {
            let (device, label, fs_type) = (device.path.clone(), label.clone(), fs_type.clone());
            volumes.push(Volume { device, label, fs_type });
        }
    }
    volumes.sort_by(|a, b| a.device.cmp(&b.device));
    volumes.dedup();
    Ok(volumes)
}

/// RAM disks, loop devices, floppies, flash without a controller, and what comes over a network or out of a pool are never
/// candidates and only make the list long.
fn is_disk(device: &Device) -> bool {
    let prefixes = ["ram", "zram", "loop", "fd", "nbd", "rbd", "drbd", "zd", "ublkb", "mtdblock"];
    let is_real = prefixes.iter().all(|prefix| {
        device.kname.strip_prefix(prefix).is_none_or(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    is_real && device.size > 0 && (device.kind == "disk" || device.kind == "rom")
}

impl Device {
    /// This device and everything below it, depth first.
    pub(super) fn with_descendants(&self) -> Vec<&Device> {
        let below = self.children.iter().flat_map(Device::with_descendants);
        std::iter::once(self).chain(below).collect()
    }

    /// The partitions.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &Device> {
        self.children.iter().filter(|child| child.kind == "part")
    }

    /// What uses the disk, one line each, sorted.
    fn holders(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for device in self.with_descendants() {
            for target in device.mountpoints.iter().flatten() {
                lines.push(if target == "[SWAP]" {
                    format!("{} is used as swap", device.path)
                } else {
                    format!("{} is mounted on {}", device.path, sanitise(target))
                });
            }
            if !["disk", "part", "rom"].contains(&device.kind.as_str()) {
                lines.push(format!("{} ({}) is built on it", device.path, device.kind));
            }
        }
        lines.sort();
        lines.dedup();
        lines
    }

    /// What udev knows to be on the disk. The look at the disk itself adds to this.
    fn signatures(&self) -> Vec<Signature> {
        let mut found = Vec::new();
        for device in self.with_descendants() {
            let mut add = |kind: &str, label: Option<&String>| {
                found.push(Signature {
                    kind: kind.to_owned(),
                    label: label.map(|label| sanitise(label)),
                    place: device.path.clone(),
                });
            };
            if device.kind == "disk"
                && let Some(table) = &device.pttype
            {
                add(table, None);
            }
            match &device.fstype {
                Some(kind) => add(kind, device.label.as_ref().or(device.partlabel.as_ref())),
                None if device.kind == "part" => add("partition", device.partlabel.as_ref()),
                None => {}
            }
        }
        found
    }

    /// True when the live system runs from it or it carries our configuration.
    fn is_medium(&self) -> bool {
        self.with_descendants().iter().any(|device| {
            let label = device.label.as_deref().unwrap_or_default();
            device.mountpoints.iter().flatten().any(|target| target == MEDIUM_MOUNT)
                || (device.fstype.as_deref() == Some("iso9660") && label == ISO_LABEL)
                || CONFIG_LABELS.iter().any(|wanted| label.eq_ignore_ascii_case(wanted))
        })
    }

    /// `lsblk` has no transport for drivers that are one themselves.
    fn transport_by_name(&self) -> Option<&'static str> {
        let known = [("vd", "virtio"), ("xvd", "xen"), ("mmcblk", "mmc"), ("nvme", "nvme")];
        known.into_iter().find(|(prefix, _)| self.kname.starts_with(prefix)).map(|(_, transport)| transport)
    }

    /// The disk as far as `lsblk` knows it; not yet looked at, so not empty.
    pub(super) fn to_disk(&self) -> Disk {
        Disk {
            path: self.path.clone(),
            sequence: None,
            by_id: Vec::new(),
            by_path: None,
            size_bytes: self.size,
            logical_sector_bytes: self.logical_sector,
            physical_sector_bytes: self.physical_sector,
            rotational: self.rota,
            transport: trimmed(self.tran.as_ref()).or_else(|| self.transport_by_name().map(str::to_owned)),
            removable: self.rm || self.kind == "rom",
            read_only: self.ro || self.kind == "rom",
            model: trimmed(self.model.as_ref()),
            serial: trimmed(self.serial.as_ref()),
            wwn: trimmed(self.wwn.as_ref()),
            boot_medium: self.is_medium(),
            health: Health::default(),
            holders: self.holders(),
            contents: self.signatures(),
            empty: false,
            unfinished_install: None,
            install_record: None,
            data_mark: None,
        }
    }
}

/// What a device says of itself: made harmless where it comes in, so that what is shown is also what is compared.
fn trimmed(text: Option<&String>) -> Option<String> {
    text.map(|t| sanitise(t.trim_matches(|c: char| c.is_whitespace() || c == '\0'))).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{parse_lsblk, parse_volumes};

    const CAPTURE: &str = include_str!("../../tests/fixtures/lsblk/live.json");

    #[test]
    fn keeps_disks_and_drives_and_nothing_else() {
        let paths: Vec<String> = parse_lsblk(CAPTURE).unwrap().into_iter().map(|d| d.path).collect();
        assert_eq!(paths, ["/dev/sda", "/dev/sdb", "/dev/sr0", "/dev/vda", "/dev/nvme0n1"]);
    }

    #[test]
    fn says_what_holds_a_disk_and_what_is_on_it() {
        let disks: Vec<_> = parse_lsblk(CAPTURE).unwrap().iter().map(super::Device::to_disk).collect();
        let [stick, lvm, cd, empty, nvme] = &disks[..] else { panic!("{disks:#?}") };
        assert!(stick.boot_medium && stick.removable);
        assert_eq!(
            lvm.holders,
            ["/dev/mapper/vg0-data (lvm) is built on it", "/dev/mapper/vg0-data is mounted on /srv"]
        );
        let kinds: Vec<_> = lvm.contents.iter().map(|s| (s.kind.as_str(), s.place.as_str())).collect();
        assert_eq!(
            kinds,
            [("gpt", "/dev/sdb"), ("LVM2_member", "/dev/sdb1"), ("ext4", "/dev/mapper/vg0-data")]
        );
        assert!(cd.boot_medium && cd.read_only);
        assert_eq!((empty.contents.len(), empty.holders.len(), empty.boot_medium), (0, 0, false));
        assert_eq!(empty.serial.as_deref(), Some("MS-0001"));
        assert_eq!(nvme.logical_sector_bytes, 4096);
    }

    #[test]
    fn finds_labelled_volumes() {
        let volumes = parse_volumes(CAPTURE).unwrap();
        let lines: Vec<_> =
            volumes.iter().map(|v| format!("{} {} {}", v.device, v.label, v.fs_type)).collect();
        assert_eq!(
            lines,
            [
                "/dev/mapper/vg0-data data ext4",
                "/dev/sda3 METALSTRAP vfat",
                "/dev/sr0 METALSTRAP_ISO iso9660"
            ]
        );
    }
}

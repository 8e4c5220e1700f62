//! The words of the disk contract: what a cluster file may say about the disk a node takes. Pure; the verdict over real
//! disks is the installer's.

use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Which disk may be taken: everything that is given must hold of the same disk. Empty means: the one eligible empty disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskSelector {
    /// Serial number, exact.
    pub serial: Option<String>,
    /// World wide name, exact.
    pub wwn: Option<String>,
    /// `/dev/disk/by-path/…` link, with or without the folder; `*` and `?` stand for other characters.
    pub by_path: Option<String>,
    /// Range its size lies in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<SizeRange>,
    /// Model; `*` and `?` stand for other characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What it is.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<DiskKind>,
    /// How it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<DiskTransport>,
    /// Serial of the disk whose contents the operator gives up; for a disk without one its WWN, for a disk without either its
    /// whole `/dev/disk/by-path/…` link. Consent for that very disk, never a bare flag.
    pub wipe: Option<String>,
}

/// A further disk of a node: one ext4, mounted in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataDisk {
    /// Where it is mounted: a folder below `/var/lib`.
    pub mount: String,
    /// Which disk may be taken.
    pub disk: DiskSelector,
    /// Keep what an earlier install of this very node has put on it.
    pub keep: bool,
}

/// Least size of a data disk in MiB: less is not worth a disk of its own.
pub const DATA_DISK_MIN_MIB: u64 = 1024;

/// What a disk is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum DiskKind {
    /// Does not turn, and is none of the others.
    Ssd,
    /// Turns.
    Hdd,
    /// An NVMe namespace.
    Nvme,
    /// Soldered flash behind an MMC controller.
    Emmc,
    /// Made by a hypervisor.
    Virtual,
}

/// How a disk is attached.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum DiskTransport {
    /// SATA.
    Sata,
    /// SAS.
    Sas,
    /// NVMe, over whatever it runs.
    Nvme,
    /// virtio.
    Virtio,
    /// USB: taken only when the selector says so, and never when it is removable.
    Usb,
    /// MMC: eMMC and SD.
    Mmc,
}

impl DiskKind {
    /// The word of the cluster file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ssd => "ssd",
            Self::Hdd => "hdd",
            Self::Nvme => "nvme",
            Self::Emmc => "emmc",
            Self::Virtual => "virtual",
        }
    }
}

impl DiskTransport {
    /// The word of the cluster file, which is also that of `lsblk`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sata => "sata",
            Self::Sas => "sas",
            Self::Nvme => "nvme",
            Self::Virtio => "virtio",
            Self::Usb => "usb",
            Self::Mmc => "mmc",
        }
    }
}

/// Whether a disk of this kind can be attached in this way.
pub(crate) fn is_possible(kind: DiskKind, transport: DiskTransport) -> bool {
    match (kind, transport) {
        (DiskKind::Nvme, other) => other == DiskTransport::Nvme,
        (DiskKind::Emmc, other) => other == DiskTransport::Mmc,
        (DiskKind::Ssd | DiskKind::Hdd, other) => {
            !matches!(other, DiskTransport::Nvme | DiskTransport::Virtio | DiskTransport::Mmc)
        }
        (DiskKind::Virtual, other) => other != DiskTransport::Mmc,
    }
}

/// Sizes between two bounds, such as `>= 100GB, < 2TB`; keeps the text it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeRange {
    text: String,
    least_bytes: u64,
    most_bytes: u64,
}

/// Why a text is no range of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a range of sizes (as in >= 100GB, < 2TB)")]
pub struct SizeRangeError;

/// What one comparison says about a size.
enum Bound {
    Least(u64),
    Most(u64),
    /// No size at all.
    Never,
}

/// Longest range that is looked at, in bytes.
const TEXT_MAX: usize = 64;

/// Decimal and binary units. `K`, `M`, `G` alone mean one to some and the other to others: they are refused.
const UNITS: [(&str, u64); 12] = [
    ("B", 1),
    ("KB", 1000),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
];

impl SizeRange {
    /// Whether a size lies in the range.
    pub fn contains(&self, bytes: u64) -> bool {
        (self.least_bytes..=self.most_bytes).contains(&bytes)
    }

    /// True when no size lies in the range.
    pub fn is_empty(&self) -> bool {
        self.least_bytes > self.most_bytes
    }

    /// The largest size of the range.
    pub fn most_bytes(&self) -> u64 {
        self.most_bytes
    }
}

impl FromStr for SizeRange {
    type Err = SizeRangeError;

    /// One lower and one upper bound at most, joined by a comma, or one `=`. Contradicting bounds make an empty range, not an error.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > TEXT_MAX {
            return Err(SizeRangeError);
        }
        let (mut least, mut most) = (None, None);
        let mut never = false;
        for part in text.split(',') {
            let (operator, bytes) = parse_comparison(part.trim_matches(' ')).ok_or(SizeRangeError)?;
            for bound in bounds(operator, bytes) {
                let slot = match bound {
                    Bound::Least(_) => &mut least,
                    Bound::Most(_) | Bound::Never => &mut most,
                };
                let value = match bound {
                    Bound::Least(bytes) | Bound::Most(bytes) => bytes,
                    Bound::Never => {
                        never = true;
                        0
                    }
                };
                if slot.replace(value).is_some() {
                    return Err(SizeRangeError);
                }
            }
        }
        let (least_bytes, most_bytes) = (least.unwrap_or(0), most.unwrap_or(u64::MAX));
        let (least_bytes, most_bytes) = if never { (1, 0) } else { (least_bytes, most_bytes) };
        Ok(Self { text: text.to_owned(), least_bytes, most_bytes })
    }
}

fn bounds(operator: &str, bytes: u64) -> Vec<Bound> {
    match operator {
        ">=" => vec![Bound::Least(bytes)],
        ">" => vec![bytes.checked_add(1).map_or(Bound::Never, Bound::Least)],
        "<=" => vec![Bound::Most(bytes)],
        "<" => vec![bytes.checked_sub(1).map_or(Bound::Never, Bound::Most)],
        _ => vec![Bound::Least(bytes), Bound::Most(bytes)],
    }
}

/// Operator and number of bytes of one comparison.
fn parse_comparison(part: &str) -> Option<(&str, u64)> {
    let operator = [">=", "<=", ">", "<", "="].into_iter().find(|operator| part.starts_with(operator))?;
    Some((operator, parse_size(part.get(operator.len()..)?.trim_matches(' '))?))
}

/// A number with at most three decimals and a unit, rounded down to whole bytes.
fn parse_size(text: &str) -> Option<u64> {
    let number_end = text.find(|c: char| c != '.' && !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(number_end);
    let unit = unit.trim_matches(' ');
    let (_, unit_bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 3 {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse::<u128>().ok()?;
    let total = whole.parse::<u64>().ok().map(u128::from)? * 1000 + thousandths;
    u64::try_from(total.checked_mul(u128::from(*unit_bytes))? / 1000).ok()
}

impl fmt::Display for SizeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for SizeRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SizeRange {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether a text fits a pattern in which `*` stands for any characters and `?` for one. Case counts. Linear in the product of
/// the lengths, whatever the pattern is.
pub fn matches_glob(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    // Which lengths of the beginning of the text the pattern so far fits.
    let mut fits = vec![false; text.len() + 1];
    fits[0] = true;
    for c in pattern.chars() {
        if c == '*' {
            let first = fits.iter().position(|fit| *fit).unwrap_or(fits.len());
            fits.iter_mut().skip(first).for_each(|fit| *fit = true);
            continue;
        }
        for at in (0..text.len()).rev() {
            fits[at + 1] = fits[at] && (c == '?' || c == text[at]);
        }
        fits[0] = false;
    }
    fits.last().copied().unwrap_or(false)
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;

//! Disk images of every kind that an operator could have in a drawer, and of every kind that somebody could make on purpose,
//! looked at by the code that looks at disks. They are sparse files made here; what is found on each stands in
//! `tests/fixtures/disk-images.txt`, and none counts as empty but the empty one.
//!
//! `METALSTRAP_BLESS=1 cargo test -p installer --lib image_tests` writes the list anew; look at the difference.
use super::look_at;
use crate::inventory::lsblk::Device;
use crate::inventory::render_contents;
use crate::inventory::tables::crc32;
use std::os::unix::fs::FileExt;
use std::path::Path;
use sysio::command::Cmd;

const DISK_BYTES: u64 = 64 << 20;
const SECTOR: u64 = 512;
const LAST: u64 = DISK_BYTES / SECTOR - 1;

/// A sparse image that is written to in pieces.
struct Image(std::fs::File);

impl Image {
    fn put(&self, offset: u64, bytes: &[u8]) {
        self.0.write_all_at(bytes, offset).unwrap();
    }

    fn put_sector(&self, lba: u64, bytes: &[u8]) {
        self.put(lba * SECTOR, bytes);
    }
}

/// A GPT as it should be, to be spoiled before it is written.
#[derive(Clone)]
struct Gpt {
    sector: u64,
    revision: u32,
    header_bytes: u32,
    primary_lba: u64,
    backup_lba: u64,
    backup_at: u64,
    entries_lba: u64,
    entries: u32,
    entry_bytes: u32,
    parts: Vec<(u8, u64, u64)>,
    mbr: Vec<u8>,
    spoil_primary: bool,
    spoil_backup: bool,
    spoil_entries: bool,
    without_primary: bool,
    without_backup: bool,
}

fn gpt() -> Gpt {
    Gpt {
        sector: SECTOR,
        revision: 0x1_0000,
        header_bytes: 92,
        primary_lba: 1,
        backup_lba: LAST,
        backup_at: LAST,
        entries_lba: 2,
        entries: 128,
        entry_bytes: 128,
        parts: vec![(1, 2048, 20_479), (2, 20_480, 40_959)],
        mbr: vec![0xee],
        spoil_primary: false,
        spoil_backup: false,
        spoil_entries: false,
        without_primary: false,
        without_backup: false,
    }
}

impl Gpt {
    fn table(&self) -> Vec<u8> {
        let entry_bytes = usize::try_from(self.entry_bytes).unwrap();
        let honest = (self.entries as usize).saturating_mul(entry_bytes);
        let mut table = vec![0u8; if honest > 1 << 18 { 16_384 } else { honest }];
        for (n, (guid, first, last)) in self.parts.iter().enumerate() {
            let Some(entry) = table.get_mut(n * entry_bytes..).and_then(|rest| rest.get_mut(..56)) else {
                continue;
            };
            // "Linux filesystem data", as it stands on the disk.
            entry[..16].copy_from_slice(&hex::decode("af3dc60f838472478e793d69d8477de4").unwrap());
            entry[16..32].fill(*guid);
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
        }
        table
    }

    fn header(&self, here: u64, other: u64, entries_lba: u64) -> Vec<u8> {
        let mut header = vec![0u8; 512];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&self.revision.to_le_bytes());
        header[12..16].copy_from_slice(&self.header_bytes.to_le_bytes());
        header[24..32].copy_from_slice(&here.to_le_bytes());
        header[32..40].copy_from_slice(&other.to_le_bytes());
        header[40..48].copy_from_slice(&34u64.to_le_bytes());
        header[48..56].copy_from_slice(&(LAST - 33).to_le_bytes());
        header[56..72].fill(0xd1);
        header[72..80].copy_from_slice(&entries_lba.to_le_bytes());
        header[80..84].copy_from_slice(&self.entries.to_le_bytes());
        header[84..88].copy_from_slice(&self.entry_bytes.to_le_bytes());
        header[88..92].copy_from_slice(&crc32(&self.table()).to_le_bytes());
        let length = (self.header_bytes as usize).clamp(92, 512);
        let crc = crc32(&header[..length]);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        header
    }

    fn write(&self, image: &Image) {
        if !self.mbr.is_empty() {
            image.put(0, &mbr(&self.mbr.iter().map(|kind| (*kind, 1, u32::MAX)).collect::<Vec<_>>()));
        }
        let mut table = self.table();
        let spoil = |bytes: &mut Vec<u8>, yes: bool| {
            if yes && let Some(byte) = bytes.get_mut(40) {
                *byte ^= 0xff;
            }
        };
        let mut primary = self.header(self.primary_lba, self.backup_lba, self.entries_lba);
        let mut backup = self.header(self.backup_at, 1, LAST - 32);
        spoil(&mut table, self.spoil_entries);
        spoil(&mut primary, self.spoil_primary);
        spoil(&mut backup, self.spoil_backup);
        if !self.without_primary {
            image.put(self.sector, &primary);
            image.put(2 * self.sector, &table);
        }
        if !self.without_backup {
            image.put_sector(self.backup_at, &backup);
            if table.len() <= 16_384 {
                image.put_sector(self.backup_at - 32, &table);
            }
        }
    }
}

/// A master boot record with entries of (type, first sector, sectors).
fn mbr(entries: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut sector = vec![0u8; 512];
    for (n, (kind, first, count)) in entries.iter().enumerate() {
        let at = 446 + n * 16;
        sector[at + 4] = *kind;
        sector[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
        sector[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

type Make = Box<dyn Fn(&Image, &Path)>;

fn spoilt(change: impl Fn(&mut Gpt) + 'static) -> Make {
    Box::new(move |image, _| {
        let mut table = gpt();
        change(&mut table);
        table.write(image);
    })
}

fn bytes(pieces: &'static [(u64, &'static [u8])]) -> Make {
    Box::new(move |image, _| pieces.iter().for_each(|(offset, bytes)| image.put(*offset, bytes)))
}

fn tool(program: &'static str, arguments: &'static [&'static str]) -> Make {
    Box::new(move |_, path| {
        Cmd::new(program).args(arguments).arg(path).run().unwrap();
    })
}

fn tables() -> Vec<(&'static str, Make)> {
    vec![
        ("gpt-whole", spoilt(|_| {})),
        ("gpt-without-partitions", spoilt(|gpt| gpt.parts.clear())),
        ("gpt-primary-crc-bad", spoilt(|gpt| gpt.spoil_primary = true)),
        ("gpt-backup-crc-bad", spoilt(|gpt| gpt.spoil_backup = true)),
        ("gpt-both-crc-bad", spoilt(|gpt| (gpt.spoil_primary, gpt.spoil_backup) = (true, true))),
        ("gpt-primary-gone", spoilt(|gpt| gpt.without_primary = true)),
        ("gpt-backup-gone", spoilt(|gpt| gpt.without_backup = true)),
        (
            "gpt-primary-and-mbr-gone",
            spoilt(|gpt| {
                gpt.without_primary = true;
                gpt.mbr.clear();
            }),
        ),
        ("gpt-entries-crc-bad", spoilt(|gpt| gpt.spoil_entries = true)),
        ("gpt-overlapping", spoilt(|gpt| gpt.parts = vec![(1, 2048, 30_000), (2, 20_480, 40_959)])),
        (
            "gpt-one-inside-the-other",
            spoilt(|gpt| gpt.parts = vec![(1, 2048, 40_000), (2, 4096, 5000), (3, 6000, 7000)]),
        ),
        ("gpt-same-identity-twice", spoilt(|gpt| gpt.parts = vec![(1, 2048, 20_479), (1, 20_480, 40_959)])),
        ("gpt-2-to-31-entries", spoilt(|gpt| gpt.entries = 1 << 31)),
        ("gpt-all-ones-entries", spoilt(|gpt| gpt.entries = u32::MAX)),
        ("gpt-no-entries", spoilt(|gpt| gpt.entries = 0)),
        ("gpt-1024-entries", spoilt(|gpt| gpt.entries = 1024)),
        ("gpt-entry-size-0", spoilt(|gpt| gpt.entry_bytes = 0)),
        ("gpt-entry-size-1", spoilt(|gpt| gpt.entry_bytes = 1)),
        ("gpt-entry-size-4096", spoilt(|gpt| gpt.entry_bytes = 4096)),
        ("gpt-entry-size-huge", spoilt(|gpt| gpt.entry_bytes = u32::MAX)),
        ("gpt-other-header-outside", spoilt(|gpt| gpt.backup_lba = LAST + 1)),
        ("gpt-other-header-far-outside", spoilt(|gpt| gpt.backup_lba = u64::MAX)),
        ("gpt-entries-outside", spoilt(|gpt| gpt.entries_lba = LAST + 9)),
        ("gpt-entries-far-outside", spoilt(|gpt| gpt.entries_lba = u64::MAX / 2)),
        ("gpt-entries-at-zero", spoilt(|gpt| gpt.entries_lba = 0)),
        ("gpt-partition-backwards", spoilt(|gpt| gpt.parts = vec![(1, 20_479, 2048)])),
        ("gpt-partition-outside", spoilt(|gpt| gpt.parts = vec![(1, 2048, LAST + 1)])),
        ("gpt-partition-far-outside", spoilt(|gpt| gpt.parts = vec![(1, 2048, u64::MAX)])),
        ("gpt-hybrid-mbr", spoilt(|gpt| gpt.mbr = vec![0xee, 0x07, 0x83])),
        ("gpt-hybrid-mbr-without-protective", spoilt(|gpt| gpt.mbr = vec![0x07])),
        ("gpt-without-protective-mbr", spoilt(|gpt| gpt.mbr.clear())),
        ("gpt-header-size-0", spoilt(|gpt| gpt.header_bytes = 0)),
        ("gpt-header-size-huge", spoilt(|gpt| gpt.header_bytes = u32::MAX)),
        ("gpt-header-in-the-wrong-place", spoilt(|gpt| gpt.primary_lba = 7)),
        ("gpt-revision-unknown", spoilt(|gpt| gpt.revision = 0xffff_ffff)),
        ("gpt-of-a-smaller-disk", spoilt(|gpt| (gpt.backup_at, gpt.backup_lba) = (LAST - 5000, LAST - 5000))),
        ("gpt-of-4096-byte-sectors", spoilt(|gpt| gpt.sector = 4096)),
        ("mbr-protective-alone", Box::new(|image, _| image.put(0, &mbr(&[(0xee, 1, u32::MAX)])))),
        ("mbr-one-partition", Box::new(|image, _| image.put(0, &mbr(&[(0x83, 2048, 4096)])))),
        ("mbr-no-partition", Box::new(|image, _| image.put(0, &mbr(&[])))),
        (
            "mbr-overlapping",
            Box::new(|image, _| image.put(0, &mbr(&[(0x83, 2048, 9000), (0x83, 4096, 9000)]))),
        ),
        ("mbr-partition-outside", Box::new(|image, _| image.put(0, &mbr(&[(0x83, u32::MAX, u32::MAX)])))),
        (
            "mbr-extended-loop",
            Box::new(|image, _| {
                image.put(0, &mbr(&[(0x05, 2048, 8192)]));
                image.put_sector(2048, &mbr(&[(0x83, 1, 100), (0x05, 0, 8192)]));
            }),
        ),
    ]
}

/// A label of LVM with the checksum it wants.
fn lvm_label() -> Vec<u8> {
    let mut label = vec![0u8; 512];
    label[..8].copy_from_slice(b"LABELONE");
    label[8] = 1;
    label[20] = 32;
    label[24..32].copy_from_slice(b"LVM2 001");
    label[32..64].copy_from_slice(b"abcdefghijklmnopqrstuvwxyz012345");
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 },
        )
    };
    let crc = label[20..].iter().fold(0xf597_a6cf, step);
    label[16..20].copy_from_slice(&crc.to_le_bytes());
    label
}

fn ext4_with_k3s(path: &Path) {
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(tree.path().join("var/lib/rancher/k3s/server")).unwrap();
    Cmd::new("mkfs.ext4").args(["-q", "-F", "-d"]).arg(tree.path()).arg(path).run().unwrap();
}

fn contents() -> Vec<(&'static str, Make)> {
    vec![
        ("fs-ext4", tool("mkfs.ext4", &["-q", "-F", "-L", "photos"])),
        ("fs-ext2", tool("mkfs.ext2", &["-q", "-F"])),
        ("fs-ext4-of-a-k3s-node", Box::new(|_, path| ext4_with_k3s(path))),
        (
            "fs-ext4-under-a-gpt",
            Box::new(|image, path| {
                Cmd::new("mkfs.ext4").args(["-q", "-F"]).arg(path).run().unwrap();
                gpt().write(image);
            }),
        ),
        ("fs-vfat", tool("mkfs.vfat", &["-n", "STICK"])),
        ("fs-swap", tool("mkswap", &["--quiet"])),
        ("fs-xfs", bytes(&[(0, b"XFSB\0\0\x10\0")])),
        ("fs-btrfs", bytes(&[(65_600, b"_BHRfS_M")])),
        ("fs-ntfs", bytes(&[(0, b"\xeb\x52\x90NTFS    \0\x02\x08"), (510, b"\x55\xaa")])),
        ("fs-exfat", bytes(&[(0, b"\xeb\x76\x90EXFAT   "), (510, b"\x55\xaa")])),
        ("fs-iso9660", bytes(&[(32_768, b"\x01CD001\x01\0")])),
        ("fs-squashfs", bytes(&[(0, b"hsqs"), (28, b"\x04\0\0\0")])),
        ("fs-f2fs", bytes(&[(1024, b"\x10\x20\xf5\xf2\x01\0\x0e\0")])),
        ("fs-reiserfs", bytes(&[(65_536 + 52, b"ReIsEr2Fs")])),
        ("fs-jfs", bytes(&[(32_768, b"JFS1\x01\0\0\0")])),
        ("fs-apfs", bytes(&[(32, b"NXSB\0\x10\0\0")])),
        ("member-lvm", Box::new(|image, _| image.put_sector(1, &lvm_label()))),
        ("member-lvm-bad-checksum", bytes(&[(512, b"LABELONE\x01\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0LVM2 001")])),
        (
            "member-mdraid-1.2",
            bytes(&[(4096, b"\xfc\x4e\x2b\xa9\x01\0\0\0"), (4096 + 144, b"\x08\0\0\0\0\0\0\0")]),
        ),
        ("member-mdraid-0.90", bytes(&[(DISK_BYTES - 65_536, b"\xfc\x4e\x2b\xa9\0\0\0\0\x5a\0\0\0")])),
        ("member-luks1", bytes(&[(0, b"LUKS\xba\xbe\0\x01")])),
        ("member-luks2", bytes(&[(0, b"LUKS\xba\xbe\0\x02")])),
        (
            "member-zfs",
            Box::new(|image, _| {
                for label in [0, 256 << 10, DISK_BYTES - (512 << 10), DISK_BYTES - (256 << 10)] {
                    (0..128).for_each(|n| {
                        image.put(label + (128 << 10) + n * 1024, b"\x0c\xb1\xba\0\0\0\0\0\x88\x13")
                    });
                }
            }),
        ),
        ("member-ceph", bytes(&[(0, b"bluestore block device\n1f0d5b7e-0000-4000-8000-000000000001\n")])),
        ("member-bitlocker", bytes(&[(0, b"\xeb\x58\x90-FVE-FS-"), (510, b"\x55\xaa")])),
        ("member-vmfs", bytes(&[(0x10_0000, b"\x0d\xd0\x01\xc0\x05\0\0\0")])),
        (
            "member-bcache",
            bytes(&[(4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81")]),
        ),
        ("member-drbd", bytes(&[(DISK_BYTES - 4096 + 60, b"\x83\x74\x02\x6b")])),
        ("bytes-at-the-start", bytes(&[(0, b"x")])),
        ("bytes-at-the-end", bytes(&[(DISK_BYTES - 1, b"x")])),
        ("bytes-at-3-mib", bytes(&[(3 << 20, b"x")])),
        (
            "bytes-in-the-middle",
            Box::new(|image, _| (8 << 20..56 << 20).step_by(4096).for_each(|at| image.put(at, b"data"))),
        ),
        ("bytes-a-mark-cut-short", bytes(&[((2 << 20) - 4096, b"METALSTRAP UNFINISHED v1 0b9f2f0a-6a3c")])),
        (
            "bytes-a-mark-of-another-version",
            bytes(&[((2 << 20) - 4096, b"METALSTRAP UNFINISHED v2 0b9f2f0a-6a3c-4f0e-8a55-3b1f1d1c0001\n")]),
        ),
        (
            "bytes-a-mark-elsewhere",
            bytes(&[(1 << 20, b"METALSTRAP UNFINISHED v1 0b9f2f0a-6a3c-4f0e-8a55-3b1f1d1c0001\n")]),
        ),
    ]
}

/// One line of the list.
fn look(name: &str, make: &Make, folder: &Path) -> String {
    let path = folder.join(name);
    let file = std::fs::OpenOptions::new().create_new(true).read(true).write(true).open(&path).unwrap();
    file.set_len(DISK_BYTES).unwrap();
    make(&Image(file), &path);
    let text = format!(
        r#"{{"kname": "{name}", "path": "{}", "maj:min": "7:0", "type": "disk", "size": {DISK_BYTES}, "log-sec": 512,
            "phy-sec": 512, "rota": false, "rm": false, "ro": false}}"#,
        path.display()
    );
    let device: Device = serde_json::from_str(&text).unwrap();
    let mut disk = device.to_disk();
    look_at(&device, &mut disk);
    assert_eq!((disk.unfinished_install, &disk.install_record), (None, &None), "{name}");
    assert_eq!(disk.empty, name == "empty", "{name}: {disk:#?}");
    std::fs::remove_file(path).unwrap();
    format!("{name}: {}\n", render_contents(&disk))
}

#[test]
fn no_image_counts_as_empty_and_none_makes_the_look_panic() {
    let folder = tempfile::tempdir().unwrap();
    let images: Vec<_> = tables().into_iter().chain(contents()).collect();
    assert!(images.len() >= 60, "{}", images.len());
    // The positive control.
    let nothing: Make = Box::new(|_, _| {});
    let mut list = look("empty", &nothing, folder.path());
    list.extend(images.iter().map(|(name, make)| look(name, make, folder.path())));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/disk-images.txt");
    if std::env::var_os("METALSTRAP_BLESS").is_some() {
        std::fs::write(&path, &list).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs: Vec<_> = committed.lines().zip(list.lines()).filter(|(old, new)| old != new).collect();
    assert!(committed == list, "{} is not what was found: {differs:#?}", path.display());
}

//! On loop devices: these tests need root, as the code does.
use super::look_at;
use crate::inventory::Disk;
use crate::inventory::lsblk::Device;
use crate::plan::ids::InstallIds;
use crate::plan::layout::MARK_OFFSET;
use crate::plan::mark::render_mark;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use sysio::command::Cmd;
use uuid::Uuid;

const DISK_BYTES: u64 = 64 << 20;
const ESP_OFFSET: u64 = 2 << 20;
const ESP_BYTES: u64 = 40 << 20;

const RECORD: &str = r#"{"schema": "metalstrap.install/v1", "install_id": "00000000-0000-0000-0000-000000000007",
    "installer": "0.1.0", "cluster": "lab", "hostname": "n1", "role": "worker", "image_version": "0.1.0",
    "image_build_id": "b", "double": true, "disk_serial": "S", "disk_by_id": null, "partitions": {}, "slots": {},
    "phases": [], "skipped_checks": [], "warnings": []}"#;

/// A disk image behind loop devices, one for the whole and, if asked for, one for its ESP.
struct Image {
    folder: tempfile::TempDir,
    loops: Vec<String>,
}

impl Image {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::File::create(folder.path().join("disk")).unwrap().set_len(DISK_BYTES).unwrap();
        Self { folder, loops: Vec::new() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let mut file = std::fs::OpenOptions::new().write(true).open(self.path()).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// As much of a partition table as says whose it is.
    fn write_table(&self, guid: Uuid) {
        let mut header = b"EFI PART".to_vec();
        header.resize(56, 0);
        header.extend(guid.to_bytes_le());
        self.write(512, &header);
    }

    /// A FAT at the place of the ESP, with this install record.
    fn write_esp(&self, record: Option<&str>) {
        let esp = self.folder.path().join("esp");
        std::fs::File::create(&esp).unwrap().set_len(ESP_BYTES).unwrap();
        Cmd::new("mkfs.vfat").args(["-F", "32"]).arg(&esp).run().unwrap();
        if let Some(record) = record {
            let mtools = |name: &str| Cmd::new(name).arg("-i").arg(&esp);
            mtools("mmd").arg("::/metalstrap").run().unwrap();
            mtools("mcopy").args(["-", "::/metalstrap/install.json"]).stdin(record).run().unwrap();
        }
        self.write(ESP_OFFSET, &std::fs::read(esp).unwrap());
    }

    fn attach(&mut self, offset: u64, length: u64) -> String {
        let arguments =
            ["--find", "--show", "--offset", &offset.to_string(), "--sizelimit", &length.to_string()];
        let output = Cmd::new("losetup").args(arguments).arg(self.path()).run().unwrap();
        let device = output.text().trim().to_owned();
        self.loops.push(device.clone());
        device
    }

    fn look(&mut self, with_esp: bool) -> Disk {
        let mut whole = device("disk", &self.attach(0, DISK_BYTES));
        if with_esp {
            let mut esp = device("part", &self.attach(ESP_OFFSET, ESP_BYTES));
            esp.partlabel = Some("metalstrap-esp".to_owned());
            whole.children.push(esp);
        }
        let mut disk = whole.to_disk();
        look_at(&whole, &mut disk);
        disk
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        for device in &self.loops {
            Cmd::new("losetup").args(["--detach", device]).run().unwrap();
        }
    }
}

fn device(kind: &str, path: &str) -> Device {
    let name = Path::new(path).file_name().unwrap().to_str().unwrap();
    let text = format!(
        r#"{{"kname": "{name}", "path": "{path}", "maj:min": "7:0", "type": "{kind}", "size": {DISK_BYTES},
            "log-sec": 512, "phy-sec": 512, "rota": false, "rm": false, "ro": false}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn kinds(disk: &Disk) -> Vec<&str> {
    disk.contents.iter().map(|s| s.kind.as_str()).collect()
}

#[test]
fn zeros_are_empty_and_one_byte_at_either_end_is_not() {
    assert!(Image::new().look(false).empty);
    for offset in [0, (1 << 20) - 1, DISK_BYTES - (1 << 20), DISK_BYTES - 1] {
        let mut image = Image::new();
        image.write(offset, b"x");
        assert!(!image.look(false).empty, "{offset}");
    }
}

#[test]
fn a_file_system_is_found_with_its_label() {
    let mut image = Image::new();
    Cmd::new("mkfs.ext4").args(["-q", "-F", "-L", "photos"]).arg(image.path()).run().unwrap();
    let disk = image.look(false);
    assert_eq!((kinds(&disk), disk.empty), (vec!["ext4"], false));
    assert_eq!(disk.contents[0].label.as_deref(), Some("photos"));
}

#[test]
fn a_mark_without_a_record_is_an_unfinished_install() {
    let id = Uuid::from_u128(5);
    for with_esp in [false, true] {
        let mut image = Image::new();
        if with_esp {
            image.write_esp(None);
            image.write_table(InstallIds::from_install(id).disk);
        }
        image.write(MARK_OFFSET, &render_mark(id));
        let disk = image.look(with_esp);
        assert_eq!((disk.unfinished_install, disk.install_record, disk.empty), (Some(id), None, false));
    }
}

/// Partitioners leave the place of the mark alone.
#[test]
fn a_mark_does_not_free_what_another_system_has_put_on_the_disk() {
    let id = Uuid::from_u128(5);
    let marked = || {
        let image = Image::new();
        image.write(MARK_OFFSET, &render_mark(id));
        image
    };
    let mut other = marked();
    other.write_table(Uuid::from_u128(6));
    other.write_esp(None);
    let mut without_table = marked();
    without_table.write_esp(None);
    for image in [&mut other, &mut without_table] {
        let disk = image.look(true);
        assert_eq!((disk.unfinished_install, disk.install_record, disk.empty), (None, None, false));
    }
    let mut whole = Image::new();
    Cmd::new("mkfs.ext4").args(["-q", "-F"]).arg(whole.path()).run().unwrap();
    whole.write(MARK_OFFSET, &render_mark(id));
    let disk = whole.look(false);
    assert_eq!((kinds(&disk), disk.unfinished_install, disk.empty), (vec!["ext4"], None, false));
}

#[test]
fn an_esp_that_never_got_its_file_system_is_unfinished_too() {
    let mut image = Image::new();
    image.write(MARK_OFFSET, &render_mark(Uuid::from_u128(5)));
    image.write_table(InstallIds::from_install(Uuid::from_u128(5)).disk);
    assert!(image.look(true).unfinished_install.is_some());
}

#[test]
fn a_record_makes_it_an_installed_disk_marked_or_not() {
    for marked in [false, true] {
        let mut image = Image::new();
        image.write_esp(Some(RECORD));
        if marked {
            image.write(MARK_OFFSET, &render_mark(Uuid::from_u128(5)));
        }
        let before = std::fs::read(image.path()).unwrap();
        let disk = image.look(true);
        let record = disk.install_record.unwrap();
        assert_eq!((record.hostname.as_str(), record.cluster.as_str()), ("n1", "lab"));
        assert_eq!((disk.unfinished_install, disk.empty), (None, false));
        assert!(before == std::fs::read(image.path()).unwrap(), "looking has written");
    }
}

#[test]
fn a_device_that_is_not_there_is_unreadable_and_not_empty() {
    let device = device("disk", "/dev/nonexistent");
    let mut disk = device.to_disk();
    look_at(&device, &mut disk);
    assert_eq!((kinds(&disk), disk.empty), (vec!["unreadable"], false));
}

#[test]
fn an_esp_that_cannot_be_read_is_never_an_unfinished_install() {
    let mut image = Image::new();
    image.write(MARK_OFFSET, &render_mark(Uuid::from_u128(5)));
    let mut whole = device("disk", &image.attach(0, DISK_BYTES));
    let mut esp = device("part", "/dev/nonexistent");
    esp.partlabel = Some("metalstrap-esp".to_owned());
    whole.children.push(esp);
    let mut disk = whole.to_disk();
    look_at(&whole, &mut disk);
    assert_eq!((disk.unfinished_install, disk.empty), (None, false));
    assert!(kinds(&disk).contains(&"unreadable"), "{disk:?}");
}

#[test]
fn a_claim_by_somebody_else_is_seen_and_ends_with_him() {
    let mut image = Image::new();
    let path = image.attach(0, DISK_BYTES);
    let path = Path::new(&path);
    assert!(!sysio::block::is_claimed(path).unwrap());
    let claim = sysio::block::BlockDevice::open_exclusive(path).unwrap();
    assert!(sysio::block::is_claimed(path).unwrap());
    drop(claim);
    assert!(!sysio::block::is_claimed(path).unwrap());
}

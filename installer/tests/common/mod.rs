//! A machine to install on: a loop device, a medium, a root image.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "shared by several test programs"
)]

pub mod disk;

use installer::apply::esp::Esp;
use installer::apply::{Reporter, StepError};
use installer::exit::ExitCode;
use installer::inventory::{
    Ends, Signature, Surroundings, find_unfinished, identify_tables, inspect_tables, parse_blkid,
};
use installer::medium::{Sources, unit_file_name};
use installer::plan::data::{DATA_MARK_OFFSET, DataChoice, DataMark};
use installer::plan::ids::InstallIds;
use installer::plan::image::{Artifact, Artifacts, FileDigest, ImageInfo};
use installer::plan::layout::{MARK_LENGTH, MARK_OFFSET};
use installer::plan::mark::parse_mark;
use installer::plan::{Nic, PlanInput, Planned, PlannedDisk, Step, plan_install, sha256_hex};
use installer::preflight::{Outcome, RecordedCheck};
use profiles::node::{NodeConfig, NodeSecrets};
use profiles::secret::Secret;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use sysio::block::BlockDevice;
use sysio::command::Cmd;
use sysio::mounts::{Mount, MountGuard};
use uuid::Uuid;

pub const KERNEL: &[u8] = b"a kernel";
pub const ARTIFACT: &[u8] = b"airgap images";
pub const DISK_BYTES: u64 = 5 << 30;
const DATA_BYTES: u64 = 1 << 30;
const ESP_OFFSET: u64 = 2 << 20;

/// One install at a time: a child that one test starts holds for a moment what another test has open, and a claim on a
/// block device, or a mount, then fails as busy. The installer itself has one thread.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub struct Fixture {
    folder: tempfile::TempDir,
    device: PathBuf,
    sector_bytes: u64,
    /// Mount point, loop device and the mark that is kept.
    data: Vec<(String, PathBuf, Option<DataMark>)>,
    _turn: MutexGuard<'static, ()>,
}

impl Fixture {
    pub fn new(sector_bytes: u64) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (path, bytes) in [
            ("tree/var/lib/seeded", &b"from the image\n"[..]),
            ("tree/root/.profile", b"\n"),
            ("tree/home/.keep", b""),
            ("image/usr/lib/metalstrap/efi/BOOTX64.EFI", b"shim"),
            ("image/usr/lib/metalstrap/efi/grubx64.efi", b"grub"),
            ("image/usr/lib/metalstrap/efi/mmx64.efi", b"mokmanager"),
            ("image/usr/share/metalstrap/artifacts/airgap.tar", ARTIFACT),
            ("medium/live/vmlinuz", KERNEL),
            ("medium/live/initrd", b"an initrd"),
        ] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        Cmd::new("mksquashfs")
            .args([root.join("tree"), root.join("medium/live/root.squashfs")])
            .args(["-quiet", "-no-progress", "-comp", "gzip"])
            .run()
            .unwrap();
        let device = attach(&root.join("disk.img"), DISK_BYTES, sector_bytes);
        let fixture = Self { folder, device, sector_bytes, data: Vec::new(), _turn: turn };
        fixture.make_units();
        fixture
    }

    /// One more disk of 1 GiB, for a mount point.
    pub fn with_data_disk(mut self, mount: &str) -> Self {
        let file = self.data_image(mount);
        let device = attach(&file, DATA_BYTES, self.sector_bytes);
        self.data.push((mount.to_owned(), device, None));
        self.make_units();
        self
    }

    pub fn data_image(&self, mount: &str) -> PathBuf {
        self.folder.path().join(format!("data{}.img", mount.replace('/', "-")))
    }

    pub fn data_device(&self, mount: &str) -> &Path {
        &self.data.iter().find(|(name, _, _)| name == mount).unwrap().1
    }

    /// From now on what is on this data disk is kept.
    pub fn keep(&mut self, mount: &str) {
        let mark = self.data_marks(mount).1;
        self.data.iter_mut().find(|(name, _, _)| name == mount).unwrap().2 = mark;
    }

    /// The unfinished mark and the data mark of a data disk.
    pub fn data_marks(&self, mount: &str) -> (Option<Uuid>, Option<DataMark>) {
        let device = BlockDevice::open_read_only(self.data_device(mount)).unwrap();
        let mut block = vec![0; MARK_LENGTH as usize];
        device.read_at(MARK_OFFSET, &mut block).unwrap();
        let unfinished = parse_mark(&block);
        device.read_at(DATA_MARK_OFFSET, &mut block).unwrap();
        (unfinished, DataMark::parse(&block))
    }

    pub fn mount_data(&self, mount: &str) -> MountGuard {
        let partition = format!("{}p2", self.data_device(mount).display());
        Mount::new(partition, "ext4").temporary().unwrap()
    }

    pub fn assert_data_untouched(&self, mount: &str) {
        let image = self.data_image(mount);
        Cmd::new("sync").arg(&image).run().unwrap();
        assert_eq!(std::fs::metadata(&image).unwrap().blocks(), 0, "{mount} was written to");
    }

    /// Every unit that the plan enables and does not render itself.
    fn make_units(&self) {
        let folder = self.image_root().join("usr/lib/systemd/system");
        std::fs::create_dir_all(&folder).unwrap();
        let plan = self.plan().plan;
        for unit in &plan.units_enabled {
            let name = unit_file_name(unit);
            std::fs::write(folder.join(name), "[Install]\nWantedBy=multi-user.target\n").unwrap();
        }
    }

    pub fn device(&self) -> &Path {
        &self.device
    }

    pub fn image_path(&self) -> PathBuf {
        self.folder.path().join("disk.img")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn live(&self) -> PathBuf {
        self.folder.path().join("medium/live")
    }

    pub fn image_root(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub fn sources(&self) -> Sources {
        Sources {
            live: self.live(),
            image_root: self.image_root(),
            grub: PathBuf::from("/usr/lib/grub/i386-pc"),
        }
    }

    pub fn squashfs_sha256(&self) -> String {
        sha256_hex(&std::fs::read(self.live().join("root.squashfs")).unwrap())
    }

    pub fn plan(&self) -> Planned {
        self.plan_of(Uuid::from_u128(0xdead))
    }

    /// The plan of one more install, as after a change of the machine's mind.
    pub fn plan_of(&self, install: Uuid) -> Planned {
        let files = ["root.squashfs", "vmlinuz", "initrd"].map(|name| {
            let bytes = std::fs::read(self.live().join(name)).unwrap();
            (name.to_owned(), FileDigest { length: bytes.len() as u64, sha256: sha256_hex(&bytes) })
        });
        let image = ImageInfo {
            schema: "metalstrap.image/v1".to_owned(),
            version: "0.1.0".to_owned(),
            build_id: "test".to_owned(),
            kernel: "6.1.0".to_owned(),
            k3s: Some("v1.28.9+k3s1".to_owned()),
            double: true,
            files: files.into(),
        };
        let artifacts = Artifacts {
            schema: "metalstrap.artifacts/v1".to_owned(),
            double: true,
            artifacts: vec![Artifact {
                name: "airgap".to_owned(),
                version: "v1.28.9+k3s1".to_owned(),
                path: "/usr/share/metalstrap/artifacts/airgap.tar".to_owned(),
                length: ARTIFACT.len() as u64,
                sha256: sha256_hex(ARTIFACT),
                install_to: Some("/var/lib/rancher/k3s/agent/images/airgap.tar".to_owned()),
            }],
        };
        let disk = PlannedDisk {
            path: self.device.display().to_string(),
            serial: "TEST0001".to_owned(),
            by_id: None,
            sequence: None,
            model: "loop".to_owned(),
            size_bytes: DISK_BYTES,
            sector_bytes: self.sector_bytes,
            reason: "the only empty disk".to_owned(),
        };
        plan_install(&PlanInput {
            node: &node("master-1"),
            secrets: &secrets(),
            nics: &nics(),
            disk: &disk,
            data_disks: &self.choices(),
            image: Some(&image),
            artifacts: Some(&artifacts),
            ids: &InstallIds::from_install(install),
            cluster_exists: false,
        })
        .unwrap()
    }

    /// A plan whose install is the same to the byte each time: without the one step that measures.
    pub fn plan_without_measuring(&self) -> Planned {
        let mut planned = self.plan();
        let measured = "left out by the test".to_owned();
        planned.checks.push(RecordedCheck {
            id: "disk.fsync".to_owned(),
            outcome: Outcome::Skipped,
            measured,
        });
        planned
    }

    fn choices(&self) -> Vec<DataChoice> {
        let choice =
            |(number, (mount, device, kept)): (usize, &(String, PathBuf, Option<DataMark>))| DataChoice {
                mount: mount.clone(),
                disk: PlannedDisk {
                    path: device.display().to_string(),
                    serial: format!("DATA000{number}"),
                    by_id: None,
                    sequence: None,
                    model: "loop".to_owned(),
                    size_bytes: DATA_BYTES,
                    sector_bytes: self.sector_bytes,
                    reason: "the only empty disk".to_owned(),
                },
                kept: kept.clone(),
            };
        self.data.iter().enumerate().map(choice).collect()
    }

    pub fn mark_block(&self) -> Vec<u8> {
        let mut block = vec![0; MARK_LENGTH as usize];
        BlockDevice::open_read_only(&self.device).unwrap().read_at(MARK_OFFSET, &mut block).unwrap();
        block
    }

    pub fn mark(&self) -> Option<Uuid> {
        parse_mark(&self.mark_block())
    }

    /// The install that the disk is known to be left by, as an inventory would see it now.
    pub fn unfinished(&self) -> Option<Uuid> {
        let block = BlockDevice::open_read_only(&self.device).unwrap();
        let end = |offset: u64| {
            let mut bytes = vec![0; 1 << 20];
            block.read_at(offset, &mut bytes).unwrap();
            bytes
        };
        let (head, tail) = (end(0), end(block.size_bytes() - (1 << 20)));
        let sector_bytes = block.logical_sector_bytes();
        let ends = Ends { head: &head, tail: &tail, disk_bytes: block.size_bytes(), sector_bytes };
        let disk = self.device.display().to_string();
        let named = |kind: String| Signature { kind, label: None, place: disk.clone() };
        let mut contents: Vec<Signature> = inspect_tables(&ends).into_iter().map(named).collect();
        let mut partitions = 0;
        for place in Cmd::new("lsblk").args(["-nlpo", "NAME", &disk]).run().unwrap().text().lines() {
            let probed = Cmd::new("blkid").args(["--probe", "--output", "export", place]).run_any_status();
            contents.extend(parse_blkid(&probed.unwrap().text(), place));
            partitions += usize::from(place != disk);
        }
        let tables = identify_tables(&ends);
        let around = Surroundings { disk: &disk, tables: &tables, partitions, contents: &contents };
        find_unfinished(&self.mark_block(), &around)
    }

    /// Not one block of the sparse image was ever written.
    pub fn assert_untouched(&self) {
        Cmd::new("sync").arg(self.image_path()).run().unwrap();
        assert_eq!(std::fs::metadata(self.image_path()).unwrap().blocks(), 0, "the disk was written to");
    }

    fn esp(&self) -> Esp {
        Esp::new(format!("{}@@{ESP_OFFSET}", self.image_path().display()))
    }

    pub fn has_record(&self) -> bool {
        self.flush(); // of this disk alone: on a machine with much unwritten data a `sync` of everything takes minutes
        self.esp().read("/metalstrap/install.json").is_ok_and(|bytes| {
            String::from_utf8(bytes).is_ok_and(|text| installer::record::parse_record(&text).is_ok())
        })
    }

    pub fn esp_file(&self, path: &str) -> Vec<u8> {
        self.esp().read(path).unwrap()
    }

    pub fn esp_listing(&self, folder: &str) -> Vec<String> {
        let output = Cmd::new("mdir")
            .args(["-b", "-i"])
            .arg(format!("{}@@{ESP_OFFSET}", self.image_path().display()))
            .arg(format!("::{folder}"))
            .run_any_status()
            .unwrap();
        output
            .text()
            .lines()
            .map(|l| l.rsplit('/').find(|p| !p.is_empty()).unwrap_or_default().to_owned())
            .collect()
    }

    /// Hash of the disk up to the end of the ESP.
    pub fn image_sha256(&self) -> String {
        let device = BlockDevice::open_read_only(&self.device).unwrap();
        device.hash_range(0, 514 << 20, &mut |_| {}).unwrap().sha256
    }

    pub fn mount_state(&self) -> MountGuard {
        let partition = format!("{}p5", self.device.display());
        Mount::new(partition, "ext4").read_only().temporary().unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        for device in self.data.iter().map(|(_, device, _)| device).chain([&self.device]) {
            let _left = Cmd::new("partx").arg("--delete").arg(device).run();
            let _left = Cmd::new("losetup").arg("--detach").arg(device).run();
        }
    }
}

/// A sparse file as a disk.
fn attach(image: &Path, bytes: u64, sector_bytes: u64) -> PathBuf {
    std::fs::File::create(image).unwrap().set_len(bytes).unwrap();
    let device = Cmd::new("losetup")
        .args(["--find", "--show", "--sector-size", &sector_bytes.to_string()])
        .arg(image)
        .run()
        .expect("these tests need root and a loop device");
    let device = PathBuf::from(device.text().trim());
    // Without this, the partitions of whoever had the loop device before, and was killed, are still there.
    let _none = Cmd::new("partx").arg("--delete").arg(&device).run();
    device
}

pub fn nics() -> Vec<Nic> {
    vec![Nic { name: "eth0".to_owned(), mac: "52:54:00:00:00:11".parse().unwrap(), carrier: Some(true) }]
}

pub fn secrets() -> NodeSecrets {
    NodeSecrets {
        server_token: Some(Secret::new("CANARY-server-token")),
        agent_token: Some(Secret::new("CANARY-agent-token")),
        ..NodeSecrets::default()
    }
}

/// A node of the example with every role.
pub fn node(hostname: &str) -> NodeConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles/examples/ha.toml");
    let loaded = profiles::load("ha.toml", &std::fs::read(path).unwrap(), None);
    loaded.cluster.unwrap().resolve(hostname).unwrap()
}

/// Name of a step and what is done after it.
pub type AfterStep = (&'static str, Box<dyn FnMut()>);

/// Remembers what it is told; may do something after a step.
#[derive(Default)]
pub struct Whole<'a> {
    pub lines: Vec<String>,
    pub after: Option<AfterStep>,
    /// Done after each step.
    pub each: Option<Box<dyn FnMut() + 'a>>,
}

impl Reporter for Whole<'_> {
    fn phase_begins(&mut self, number: usize, count: usize, name: &str) {
        self.lines.push(format!("begin {number}/{count} {name}"));
    }
    fn phase_done(&mut self, number: usize, count: usize, name: &str, _took_ms: u64) {
        self.lines.push(format!("done {number}/{count} {name}"));
    }
    fn progress(&mut self, _step: &Step, done_bytes: u64, total_bytes: u64) {
        assert!(done_bytes <= total_bytes);
    }
    fn warn(&mut self, text: &str) {
        self.lines.push(format!("warning {text}"));
    }
    fn step_done(&mut self, step: &Step) -> Result<(), StepError> {
        if let Some(each) = &mut self.each {
            each();
        }
        if let Some((name, action)) = &mut self.after
            && step.name() == *name
        {
            action();
        }
        Ok(())
    }
    fn now_ms(&self) -> u64 {
        0
    }
}

/// Stops after a step, as a cut of power would.
pub struct StopAfter {
    left: usize,
}

impl StopAfter {
    pub fn new(index: usize) -> Self {
        Self { left: index }
    }
}

impl Reporter for StopAfter {
    fn phase_begins(&mut self, _number: usize, _count: usize, _name: &str) {}
    fn phase_done(&mut self, _number: usize, _count: usize, _name: &str, _took_ms: u64) {}
    fn progress(&mut self, _step: &Step, _done_bytes: u64, _total_bytes: u64) {}
    fn warn(&mut self, _text: &str) {}
    fn step_done(&mut self, _step: &Step) -> Result<(), StepError> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(StepError::text("E_TEST_STOP", ExitCode::Unknown, "stopped by the test")),
        }
    }
    fn now_ms(&self) -> u64 {
        0
    }
}

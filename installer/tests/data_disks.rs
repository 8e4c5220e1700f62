//! Installs with data disks on loop devices: made, cut off anywhere, kept by the next install, refused when they are not what they say.
//! Needs root and free loop devices.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{Fixture, StopAfter, Whole};
use installer::apply::apply_plan;
use installer::exit::ExitCode;
use installer::plan::data::DATA_MARK_OFFSET;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use sysio::block::BlockDevice;
use sysio::command::Cmd;
use uuid::Uuid;

const RANCHER: &str = "/var/lib/rancher";
const STORAGE: &str = "/var/lib/rancher/k3s/storage";
const SECOND: Uuid = Uuid::from_u128(0x5ec0);

/// Runs an install and gives code, step and whether a disk was touched.
fn fail(fixture: &Fixture, planned: &installer::plan::Planned) -> (&'static str, &'static str, bool) {
    let failure = apply_plan(planned, &fixture.sources(), &mut Whole::default()).unwrap_err();
    (failure.code, failure.step, failure.touched)
}

/// The beginning of a disk: tables, marks, superblocks.
fn sha256(device: &Path) -> String {
    let device = BlockDevice::open_read_only(device).unwrap();
    device.hash_range(0, 16 << 20, &mut |_| {}).unwrap().sha256
}

#[test]
fn files_go_to_the_data_disk_and_the_folder_below_it_cannot_be_written() {
    let fixture = Fixture::new(512).with_data_disk(STORAGE).with_data_disk(RANCHER);
    let planned = fixture.plan();
    let record = apply_plan(&planned, &fixture.sources(), &mut Whole::default()).unwrap();
    let recorded: Vec<_> =
        record.data_disks.iter().map(|d| (d.mount.as_str(), d.serial.as_str(), d.kept)).collect();
    assert_eq!(recorded, [(RANCHER, "DATA0001", false), (STORAGE, "DATA0000", false)]);
    for mount in [RANCHER, STORAGE] {
        let (unfinished, mark) = fixture.data_marks(mount);
        assert_eq!((unfinished, mark.unwrap().mount.as_str()), (None, mount));
    }
    let data = fixture.mount_data(RANCHER);
    let archive = data.path().join("k3s/agent/images/airgap.tar");
    assert_eq!(std::fs::read(archive).unwrap(), common::ARTIFACT);
    assert!(data.path().join("k3s/agent/pod-manifests/kube-vip.yaml").exists());
    let below = std::fs::write(data.path().join("k3s/storage/x"), b"x").unwrap_err();
    assert_eq!(below.kind(), std::io::ErrorKind::PermissionDenied, "the folder below the inner mount point");
    data.unmount().unwrap();
    let state = fixture.mount_state();
    let hidden = state.path().join("var/lib/rancher");
    assert_eq!(std::fs::read_dir(&hidden).unwrap().count(), 0, "nothing below the mount point");
    let unit =
        std::fs::read_to_string(state.path().join("etc/upper/systemd/system/var-lib-rancher.mount")).unwrap();
    let partition = planned.plan.data_disk(RANCHER).unwrap().ids.data;
    assert!(
        unit.contains(&format!("What=/dev/disk/by-partuuid/{partition}\nWhere=/var/lib/rancher\n")),
        "{unit}"
    );
    let attributes = Cmd::new("lsattr").arg("-d").arg(&hidden).run().unwrap().text();
    assert!(attributes.split_whitespace().next().unwrap().contains('i'), "{attributes}");
    state.unmount().unwrap();
}

#[test]
fn a_cut_after_any_step_never_leaves_a_data_disk_that_asks_for_consent() {
    let fixture = Fixture::new(512).with_data_disk(RANCHER);
    let planned = fixture.plan();
    let install = planned.plan.ids.install;
    let names: Vec<&str> = planned.plan.steps().map(|s| s.name()).collect();
    let at = |name: &str| names.iter().position(|n| *n == name).unwrap();
    assert!(at("write-mark") < at("write-data-mark") && at("write-data-mark") < at("erase"));
    assert!(at("verify-boot") < at("finish-data") && at("finish-data") < at("write-record"));
    // Around each write to the data disk; `apply.rs` does it for every step of the system disk.
    let is_near = |n: usize| {
        names[n.saturating_sub(1)..names.len().min(n + 2)].iter().any(|name| name.contains("data"))
    };
    for stop in (0..names.len()).filter(|n| is_near(*n)) {
        let failure = apply_plan(&planned, &fixture.sources(), &mut StopAfter::new(stop)).unwrap_err();
        assert_eq!(failure.code, "E_TEST_STOP", "{}: {:#}", names[stop], failure.error);
        let (unfinished, mark) = fixture.data_marks(RANCHER);
        let finished = stop >= at("finish-data");
        assert_eq!(
            unfinished == Some(install),
            stop >= at("write-data-mark") && !finished,
            "{}",
            names[stop]
        );
        assert_eq!(mark.is_some(), finished, "{}", names[stop]);
        assert_eq!(fixture.has_record(), stop >= at("write-record"), "{}", names[stop]);
        if stop < at("write-data-mark") {
            fixture.assert_data_untouched(RANCHER);
        }
    }
}

#[test]
fn a_second_install_keeps_what_is_on_the_disk_and_replaces_what_is_its_own() {
    let mut fixture = Fixture::new(512).with_data_disk(RANCHER);
    apply_plan(&fixture.plan(), &fixture.sources(), &mut Whole::default()).unwrap();
    let data = fixture.mount_data(RANCHER);
    std::fs::create_dir_all(data.path().join("k3s/server/db/etcd")).unwrap();
    std::fs::write(data.path().join("k3s/server/db/etcd/member"), b"my cluster").unwrap();
    std::fs::write(data.path().join("k3s/agent/images/old-version.tar"), b"old").unwrap();
    std::fs::write(data.path().join("k3s/agent/images/airgap.tar"), b"damaged").unwrap();
    // The first install was of a cluster with a proxy in the DMZ; the operator has put something beside its manifest.
    let manifests = data.path().join("k3s/server/manifests");
    assert!(manifests.join("metalstrap-traefik.yaml").exists());
    assert_eq!(std::fs::metadata(&manifests).unwrap().permissions().mode() & 0o777, 0o700);
    std::fs::write(manifests.join("own.yaml"), b"own").unwrap();
    data.unmount().unwrap();
    let before = fixture.data_marks(RANCHER);

    fixture.keep(RANCHER);
    let mut planned = fixture.plan_of(SECOND);
    planned.rendered.files.retain(|file| !file.path.ends_with("/metalstrap-traefik.yaml"));
    let names: Vec<&str> = planned.plan.steps().map(|s| s.name()).collect();
    assert!(names.contains(&"repair-data"));
    let made = ["write-data-mark", "erase-data", "write-data-table", "make-data-fs", "finish-data"];
    assert!(names.iter().all(|name| !made.contains(name)), "{names:?}");
    // Wherever the second install is cut off, the data is there for the third.
    for stop in (0..names.len()).filter(|n| ["repair-data", "open-data", "write-files"].contains(&names[*n]))
    {
        let _cut = apply_plan(&planned, &fixture.sources(), &mut StopAfter::new(stop)).unwrap_err();
        assert_eq!(fixture.data_marks(RANCHER), before);
    }
    let record = apply_plan(&planned, &fixture.sources(), &mut Whole::default()).unwrap();
    assert!(record.data_disks[0].kept && record.install_id == SECOND);
    assert_eq!(fixture.data_marks(RANCHER), before);
    assert_eq!(record.data_disks[0].partition, planned.plan.data_disks[0].ids.data);

    let data = fixture.mount_data(RANCHER);
    assert_eq!(std::fs::read(data.path().join("k3s/server/db/etcd/member")).unwrap(), b"my cluster");
    assert!(!data.path().join("k3s/agent/images/old-version.tar").exists());
    assert_eq!(std::fs::read(data.path().join("k3s/agent/images/airgap.tar")).unwrap(), common::ARTIFACT);
    let manifests = data.path().join("k3s/server/manifests");
    assert!(!manifests.join("metalstrap-traefik.yaml").exists());
    assert_eq!(std::fs::read(manifests.join("own.yaml")).unwrap(), b"own");
    data.unmount().unwrap();
}

#[test]
fn a_kept_disk_that_is_not_what_its_mark_says_is_refused_before_any_write() {
    let mut fixture = Fixture::new(512).with_data_disk(RANCHER);
    apply_plan(&fixture.plan(), &fixture.sources(), &mut Whole::default()).unwrap();
    fixture.keep(RANCHER);
    let planned = fixture.plan_of(SECOND);
    let device = fixture.data_device(RANCHER).to_owned();
    let system = fixture.device().to_owned();
    let refused = |what: &str| {
        let before = (sha256(&system), sha256(&device));
        assert_eq!(fail(&fixture, &planned), ("E_DATA_DISK_DAMAGED", "check-data-disk", false), "{what}");
        assert_eq!((sha256(&system), sha256(&device)), before, "{what}");
    };
    let write = |offset: u64, bytes: &[u8]| {
        let device = BlockDevice::open_exclusive(&device).unwrap();
        let mut old = vec![0; bytes.len()];
        device.read_at(offset, &mut old).unwrap();
        device.write_at(offset, bytes).unwrap();
        device.flush().unwrap();
        old
    };
    // The state of the file system (s_state): errors were seen.
    let state = (2 << 20) + 1024 + 58;
    let old = write(state, &[3]);
    refused("errors in the file system");
    write(state, &old);
    // The UUID of the file system.
    let old = write((2 << 20) + 1024 + 104, &[0xff; 16]);
    refused("another file system");
    write((2 << 20) + 1024 + 104, &old);
    let old = write(DATA_MARK_OFFSET, &[0; 4096]);
    refused("no mark");
    write(DATA_MARK_OFFSET, &old);
    let table = write(512, &[0; 1024]);
    refused("no partition table");
    write(512, &table);
    let backup = write((1 << 30) - 512, &[0; 512]);
    refused("no backup of the partition table");
    write((1 << 30) - 512, &backup);
    // The control: as it was it is kept.
    let stop = planned.plan.steps().position(|step| step.name() == "repair-data").unwrap();
    let failure = apply_plan(&planned, &fixture.sources(), &mut StopAfter::new(stop)).unwrap_err();
    assert_eq!((failure.code, failure.step), ("E_TEST_STOP", "repair-data"));
}

#[test]
fn a_data_disk_in_use_is_refused_before_any_write() {
    let fixture = Fixture::new(512).with_data_disk(RANCHER);
    let planned = fixture.plan();
    let held = BlockDevice::open_exclusive(fixture.data_device(RANCHER)).unwrap();
    let failure = apply_plan(&planned, &fixture.sources(), &mut Whole::default()).unwrap_err();
    assert_eq!((failure.code, failure.exit, failure.touched), ("E_DISK_BUSY", ExitCode::Environment, false));
    drop(held);
    let place = fixture.image_root().join("var/lib/rancher");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("x"), b"x").unwrap();
    assert_eq!(fail(&fixture, &planned), ("E_DATA_MOUNT", "check-data-disk", false));
    fixture.assert_untouched();
    fixture.assert_data_untouched(RANCHER);
}

#[test]
fn a_disk_of_4096_byte_sectors_can_be_a_data_disk() {
    let fixture = Fixture::new(4096).with_data_disk(RANCHER);
    apply_plan(&fixture.plan(), &fixture.sources(), &mut Whole::default()).unwrap();
    assert_eq!(fixture.data_marks(RANCHER).0, None);
    fixture.mount_data(RANCHER).unmount().unwrap();
}

/// What the plan names is all that is written: a third disk, and the space outside of the partitions that were planned, stay as they are.
#[test]
fn only_the_chosen_disks_are_written() {
    let fixture = Fixture::new(512).with_data_disk(RANCHER).with_data_disk("/var/lib/other");
    let mut planned = fixture.plan();
    // The same plan without the second data disk: nothing may speak of it.
    planned.plan.data_disks.retain(|data| data.mount == RANCHER);
    for phase in &mut planned.plan.phases {
        phase.steps.retain(|step| !format!("{step:?}").contains("/var/lib/other"));
    }
    apply_plan(&planned, &fixture.sources(), &mut Whole::default()).unwrap();
    fixture.assert_data_untouched("/var/lib/other");
    let image = std::fs::File::open(fixture.data_image(RANCHER)).unwrap();
    let mut gap = vec![0; (2 << 20) - (34 * 512) - 8192];
    image.read_exact_at(&mut gap, 34 * 512).unwrap();
    assert!(gap.iter().all(|b| *b == 0), "between table and marks");
}

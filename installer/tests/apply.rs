//! Whole installs on loop devices: real sfdisk, mkfs, mtools, grub-mkimage; a root image made by mksquashfs.
//! Needs root and a free loop device; without root the tests say so and fail, they are never skipped silently.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{Fixture, StopAfter, Whole};
use installer::apply::apply_plan;
use installer::exit::ExitCode;
use installer::plan::mark::parse_mark;
use installer::record::parse_record;
use std::os::unix::fs::{FileExt, PermissionsExt};
use sysio::block::BlockDevice;
use sysio::command::Cmd;
use uuid::Uuid;

#[test]
fn an_install_ends_whole_with_record_and_without_mark() {
    let fixture = Fixture::new(512);
    let planned = fixture.plan();
    let mut reporter = Whole::default();
    let record = apply_plan(&planned, &fixture.sources(), &mut reporter).unwrap();
    assert_eq!(record.hostname, "master-1");
    let checked: Vec<_> = record.checks.iter().map(|check| check.id.as_str()).collect();
    assert_eq!(checked, ["medium.hashes", "disk.fsync"]);
    let sync = &record.checks[1];
    assert!(sync.measured.contains(" synced writes took at most "), "{}", sync.measured);
    assert!(record.skipped_checks.is_empty());
    assert_eq!(record.slots["a"], fixture.squashfs_sha256());
    assert_eq!(reporter.lines.first().unwrap(), "begin 1/12 preflight");
    assert_eq!(reporter.lines.last().unwrap(), "done 12/12 remove mark");

    assert_eq!(fixture.mark(), None);
    let on_esp =
        parse_record(&String::from_utf8(fixture.esp_file("/metalstrap/install.json")).unwrap()).unwrap();
    assert_eq!(on_esp.install_id, planned.plan.ids.install);
    assert_eq!(fixture.esp_file("/slots/a/vmlinuz"), common::KERNEL);
    assert_eq!(fixture.esp_file("/EFI/BOOT/BOOTX64.EFI"), b"shim");
    assert!(fixture.esp_listing("/EFI/BOOT").iter().all(|name| name != "BOOTX64.NEW"));

    // The way a live system hands over: the same kernel, read from the ESP without a mount and without a write.
    let before = fixture.image_sha256();
    let inventory = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inventory/installed.json"),
    );
    let mut disk = installer::inventory::parse_inventory(&inventory.unwrap()).unwrap().disks.pop().unwrap();
    disk.path = fixture.device().display().to_string();
    let kernel = installer::handover::fetch_kernel(&disk).unwrap();
    assert_eq!(kernel.slot, installer::plan::boot::Slot::A);
    assert_eq!(fixture.image_sha256(), before);

    let state = fixture.mount_state();
    let read = |path: &str| std::fs::read(state.path().join(path)).unwrap();
    assert_eq!(read("etc/upper/hostname"), b"master-1\n");
    assert_eq!(read("var/lib/seeded"), b"from the image\n");
    assert_eq!(read("var/lib/metalstrap/install.json"), fixture.esp_file("/metalstrap/install.json"));
    assert_eq!(read("var/lib/rancher/k3s/agent/images/airgap.tar"), common::ARTIFACT);
    let token = state.path().join("etc/upper/rancher/k3s/server-token");
    assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    let link = state.path().join("etc/upper/systemd/system/multi-user.target.wants/k3s.service");
    assert_eq!(std::fs::read_link(link).unwrap().to_str(), Some("/etc/systemd/system/k3s.service"));
    state.unmount().unwrap();
}

#[test]
fn a_disk_whose_speed_is_not_asked_for_is_not_measured_and_the_record_says_so() {
    let fixture = Fixture::new(512);
    let planned = fixture.plan_without_measuring();
    let record = apply_plan(&planned, &fixture.sources(), &mut Whole::default()).unwrap();
    assert_eq!(record.skipped_checks, ["disk.fsync: left out by the test"]);
    assert!(!record.checks.iter().any(|check| check.measured.contains("synced writes")));
}

#[test]
fn a_cut_after_any_step_leaves_nothing_or_unfinished_or_whole() {
    let fixture = Fixture::new(512);
    let planned = fixture.plan();
    let names: Vec<&str> = planned.plan.steps().map(|s| s.name()).collect();
    let first_write = names.iter().position(|n| *n == "write-mark").unwrap();
    let commit = names.iter().position(|n| *n == "write-record").unwrap();
    for stop in 0..names.len() {
        let mut reporter = StopAfter::new(stop);
        let failure = apply_plan(&planned, &fixture.sources(), &mut reporter).unwrap_err();
        assert_eq!(failure.code, "E_TEST_STOP", "{}: {:#}", names[stop], failure.error);
        assert_eq!(failure.touched, stop >= first_write, "{}", names[stop]);
        let record = fixture.has_record();
        assert_eq!(record, stop >= commit, "record after {}", names[stop]);
        let marked = fixture.mark() == Some(planned.plan.ids.install);
        assert_eq!(marked, stop >= first_write && stop + 1 < names.len(), "mark after {}", names[stop]);
        assert_eq!(fixture.unfinished().is_some(), marked, "known as ours after {}", names[stop]);
        if stop < first_write {
            fixture.assert_untouched();
        }
    }
    // The same disk, unfinished many times over, is then installed whole.
    apply_plan(&planned, &fixture.sources(), &mut Whole::default()).unwrap();
    assert!(fixture.has_record() && fixture.mark().is_none());
}

#[test]
fn another_disk_under_the_same_name_is_refused_before_any_write() {
    let fixture = Fixture::new(512);
    let mut planned = fixture.plan();
    let now = BlockDevice::open_read_only(fixture.device()).unwrap().sequence();
    planned.plan.disk.sequence = Some(now.unwrap() - 1);
    let failure = apply_plan(&planned, &fixture.sources(), &mut Whole::default()).unwrap_err();
    let path = fixture.device().display();
    assert_eq!((failure.code, failure.touched), ("E_DISK_CHANGED", false));
    assert_eq!(
        format!("{:#}", failure.error),
        format!(
            "{path} is another disk than the one that was chosen: it went away and came back, or was swapped"
        )
    );
    fixture.assert_untouched();
    planned.plan.disk.sequence = now;
    apply_plan(&planned, &fixture.sources(), &mut Whole::default()).unwrap();
}

#[test]
fn an_attempt_of_another_id_over_an_unfinished_one_is_known_as_ours_after_any_step() {
    let fixture = Fixture::new(512);
    let first = fixture.plan();
    let names: Vec<&str> = first.plan.steps().map(|s| s.name()).collect();
    let at = |name: &str| names.iter().position(|n| *n == name).unwrap();
    for (number, cut) in ["write-mark", "write-table"].into_iter().enumerate() {
        apply_plan(&first, &fixture.sources(), &mut StopAfter::new(at("make-state"))).unwrap_err();
        let second = fixture.plan_of(Uuid::from_u128(100 + number as u128));
        apply_plan(&second, &fixture.sources(), &mut StopAfter::new(at(cut))).unwrap_err();
        assert_eq!(fixture.unfinished(), Some(second.plan.ids.install), "cut after {cut}");
    }
}

#[test]
fn an_altered_truncated_or_missing_file_is_refused_before_any_write() {
    let fixture = Fixture::new(512);
    let planned = fixture.plan();
    let squashfs = fixture.live().join("root.squashfs");
    let good = std::fs::read(&squashfs).unwrap();
    let refused = || {
        let failure = apply_plan(&planned, &fixture.sources(), &mut Whole::default()).unwrap_err();
        fixture.assert_untouched();
        assert!(!failure.touched);
        assert_eq!(failure.exit, ExitCode::Download);
        (failure.code, failure.message())
    };
    let mut altered = good.clone();
    altered[good.len() / 2] ^= 1;
    std::fs::write(&squashfs, &altered).unwrap();
    let (code, message) = refused();
    assert_eq!(code, "E_ARTEFACT_HASH");
    assert_eq!(
        message,
        format!(
            "phase preflight, step check-medium: {} has the sha256 {} instead of {}",
            squashfs.display(),
            installer::plan::sha256_hex(&altered),
            installer::plan::sha256_hex(&good)
        )
    );
    std::fs::write(&squashfs, &good[..good.len() - 1]).unwrap();
    let (code, message) = refused();
    assert_eq!(code, "E_ARTEFACT_LENGTH");
    assert_eq!(
        message,
        format!(
            "phase preflight, step check-medium: {} has {} bytes instead of {}",
            squashfs.display(),
            good.len() - 1,
            good.len()
        )
    );
    std::fs::remove_file(&squashfs).unwrap();
    let (code, message) = refused();
    assert_eq!(code, "E_ARTEFACT_MISSING");
    assert_eq!(
        message,
        format!(
            "phase preflight, step check-medium: {}: No such file or directory (os error 2)",
            squashfs.display()
        )
    );
    std::fs::write(&squashfs, &good).unwrap();
    let artifact = fixture.image_root().join("usr/share/metalstrap/artifacts/airgap.tar");
    std::fs::write(&artifact, b"airgap imagez").unwrap();
    assert_eq!(refused().0, "E_ARTEFACT_HASH");
    // The positive control: with the right bytes again the same check lets the install go on and write.
    std::fs::write(&artifact, common::ARTIFACT).unwrap();
    let failure = apply_plan(&planned, &fixture.sources(), &mut StopAfter::new(4)).unwrap_err();
    assert_eq!((failure.code, failure.step), ("E_TEST_STOP", "write-mark"));
    assert!(fixture.mark().is_some());
}

#[test]
fn a_disk_that_gives_back_other_bytes_gets_no_loader() {
    let fixture = Fixture::new(512);
    let planned = fixture.plan();
    let image = fixture.image_path();
    let after: common::AfterStep = (
        "copy-root",
        Box::new(move || {
            // One bit of the slot, behind the back of the kernel, as a bad disk would.
            let file = std::fs::OpenOptions::new().read(true).write(true).open(&image).unwrap();
            let offset = (514 << 20) + 100;
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset).unwrap();
            file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
            file.sync_all().unwrap();
        }),
    );
    let mut reporter = Whole { after: Some(after), ..Whole::default() };
    let failure = apply_plan(&planned, &fixture.sources(), &mut reporter).unwrap_err();
    assert_eq!(
        (failure.code, failure.exit, failure.step),
        ("E_VERIFY_READBACK", ExitCode::DiskTouched, "verify-root")
    );
    assert!(!fixture.has_record());
    assert!(fixture.esp_listing("/").is_empty(), "no file of the ESP was written");
    assert!(parse_mark(&fixture.mark_block()).is_some());
}

#[test]
fn a_disk_in_use_or_of_another_size_is_refused() {
    let fixture = Fixture::new(512);
    let mut planned = fixture.plan();
    let held = sysio::block::BlockDevice::open_exclusive(fixture.device()).unwrap();
    let failure = apply_plan(&planned, &fixture.sources(), &mut Whole::default()).unwrap_err();
    assert_eq!((failure.code, failure.exit, failure.touched), ("E_DISK_BUSY", ExitCode::Environment, false));
    drop(held);
    planned.plan.disk.size_bytes += 512;
    let failure = apply_plan(&planned, &fixture.sources(), &mut Whole::default()).unwrap_err();
    assert_eq!(
        (failure.code, failure.exit, failure.touched),
        ("E_DISK_CHANGED", ExitCode::Environment, false)
    );
    fixture.assert_untouched();
}

#[test]
fn the_state_stops_writing_when_it_is_found_damaged() {
    let fixture = Fixture::new(512);
    apply_plan(&fixture.plan(), &fixture.sources(), &mut Whole::default()).unwrap();
    let state = format!("{}p5", fixture.device().display());
    let head = Cmd::new("dumpe2fs").args(["-h", &state]).run().unwrap().text();
    assert!(head.lines().any(|line| line.replace(' ', "") == "Errorsbehavior:Remountread-only"), "{head}");
}

#[test]
fn sectors_of_4096_bytes_get_a_uefi_only_disk() {
    let fixture = Fixture::new(4096);
    let planned = fixture.plan();
    assert!(!planned.plan.steps().any(|s| s.name() == "write-boot-code"));
    apply_plan(&planned, &fixture.sources(), &mut Whole::default()).unwrap();
    assert!(fixture.has_record() && fixture.mark().is_none());
    assert_eq!(fixture.esp_file("/EFI/BOOT/BOOTX64.EFI"), b"shim");
}

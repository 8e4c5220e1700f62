//! Resuming after a failure, on loop devices: cut anywhere within any step, start the machine again, resume, and the disk is what
//! an install without a cut makes of it. Needs root and free loop devices, as `apply.rs`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::disk::{Disk, blocks_that_differ};
use common::{Fixture, Whole};
use installer::apply::{apply_plan, resume_plan};
use installer::exit::ExitCode;
use installer::plan::Planned;
use installer::plan::layout::MARK_OFFSET;
use installer::plan::mark::render_mark;
use installer::record::InstallRecord;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// An image of the disk before the first step and after each one.
struct Film {
    names: Vec<&'static str>,
    images: Vec<PathBuf>,
    whole: Disk,
}

fn film(fixture: &Fixture, planned: &Planned) -> Film {
    let folder = fixture.folder().join("film");
    std::fs::create_dir(&folder).unwrap();
    let picture = |number: usize| folder.join(format!("{number}.img"));
    fixture.copy_disk_to(&picture(0));
    let names: Vec<&'static str> = planned.plan.steps().map(|step| step.name()).collect();
    let mut taken = 0;
    let mut reporter = Whole {
        each: Some(Box::new(|| {
            taken += 1;
            fixture.copy_disk_to(&picture(taken));
        })),
        ..Whole::default()
    };
    apply_plan(planned, &fixture.sources(), &mut reporter).unwrap();
    drop(reporter);
    assert_eq!(taken, names.len());
    let images = (0..=names.len()).map(picture).collect();
    Film { names, images, whole: fixture.read_disk() }
}

/// Which of the sectors that a step wrote had reached the disk.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// All of them, in order, up to the middle.
    Half,
    /// Any of them: what a cache wrote back in its own order.
    Some(u64),
    /// All.
    All,
}

impl Cut {
    fn keeps(&mut self, number: usize, count: usize) -> bool {
        match self {
            Self::Half => number < count.div_ceil(2),
            Self::Some(state) => {
                // xorshift: the same disk in every run.
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                state.is_multiple_of(2)
            }
            Self::All => true,
        }
    }
}

/// The disk as a cut of power in the middle of a step leaves it.
fn cut_disk(fixture: &Fixture, before: &Path, after: &Path, mut cut: Cut) {
    let sectors = blocks_that_differ(before, after, 512);
    let count = sectors.len();
    let file = std::fs::File::open(after).unwrap();
    let written: Vec<(u64, [u8; 512])> = sectors
        .into_iter()
        .enumerate()
        .filter(|(number, _)| cut.keeps(*number, count))
        .map(|(_, offset)| {
            let mut sector = [0; 512];
            file.read_exact_at(&mut sector, offset).unwrap();
            (offset, sector)
        })
        .collect();
    fixture.start_again_with(before, &written);
}

/// What the live system does next: nothing when the install is committed, resume where the mark is, begin where there is none.
fn go_on(fixture: &Fixture, planned: &Planned) -> Option<InstallRecord> {
    if fixture.has_record() {
        return None;
    }
    let mut reporter = Whole::default();
    let install = if fixture.mark() == Some(planned.plan.ids.install) { resume_plan } else { apply_plan };
    Some(install(planned, &fixture.sources(), &mut reporter).unwrap())
}

#[test]
fn cut_anywhere_and_resumed_the_disk_is_the_one_of_an_install_without_a_cut() {
    let fixture = Fixture::new(512);
    let planned = fixture.plan_without_measuring();
    let other = fixture.folder().join("other.img");
    std::fs::write(&other, vec![0xa5; 1 << 20]).unwrap();
    let film = film(&fixture, &planned);
    let step = |name: &str| film.names.iter().position(|n| *n == name).unwrap();
    let (table, slot, commit) = (step("write-table"), step("copy-root"), step("write-record"));
    let mut resumed = 0;
    for (number, name) in film.names.iter().enumerate() {
        let (before, after) = (&film.images[number], &film.images[number + 1]);
        if blocks_that_differ(before, after, 512).is_empty() {
            continue;
        }
        let cut = [Cut::Half, Cut::Some(number as u64 + 1), Cut::All][number % 3];
        cut_disk(&fixture, before, after, cut);
        let Some(record) = go_on(&fixture, &planned) else {
            assert!(number >= commit, "{name} {cut:?} committed the install");
            continue;
        };
        film.whole.assert_same(&fixture.read_disk(), &format!("cut in {name}, {cut:?}"));
        let Some(kept) = record.resumed else { continue };
        resumed += 1;
        assert_eq!(
            number > table,
            kept.contains(&"partition table".to_owned()) && number > table,
            "{name} {kept:?}"
        );
        assert_eq!(
            number > slot,
            kept.contains(&"root slot a".to_owned()) && number > slot,
            "{name} {kept:?}"
        );
    }
    assert!(resumed > 15, "only {resumed} cuts were resumed");
    assert_eq!(std::fs::read(&other).unwrap(), vec![0xa5; 1 << 20]);
}

#[test]
fn a_slot_or_table_that_is_not_whole_is_written_again() {
    let fixture = Fixture::new(512);
    let planned = fixture.plan_without_measuring();
    let film = film(&fixture, &planned);
    let at = film.names.iter().position(|n| *n == "seed-state").unwrap();
    let kept_after = |offset: u64| {
        let sector = [0x5a; 512];
        fixture.start_again_with(&film.images[at], &[(offset, sector)]);
        let kept = go_on(&fixture, &planned).unwrap().resumed.unwrap();
        film.whole.assert_same(&fixture.read_disk(), &format!("spoilt at {offset}"));
        kept
    };
    let whole = ["partition table".to_owned(), "root slot a".to_owned()];
    // A place that nothing of ours covers: the positive control.
    assert_eq!(kept_after((514 + 1500) << 20), whole);
    assert_eq!(kept_after((514 << 20) + 512), whole[..1]);
    assert_eq!(kept_after(1024), whole[..0], "first copy of the table");
    assert_eq!(kept_after(common::DISK_BYTES - 33 * 512), whole[..0], "entries of the second copy");
}

#[test]
fn a_disk_with_the_mark_of_another_install_or_none_is_not_resumed() {
    let fixture = Fixture::new(512);
    let planned = fixture.plan();
    let refused = || {
        let failure = resume_plan(&planned, &fixture.sources(), &mut Whole::default()).unwrap_err();
        assert_eq!(
            (failure.code, failure.exit, failure.step),
            ("E_RESUME", ExitCode::DiskTouched, "check-disk")
        );
        format!("{:#}", failure.error).replace(&fixture.device().display().to_string(), "DISK")
    };
    assert_eq!(refused(), "DISK carries no unfinished mark, so there is nothing to resume");
    fixture.assert_untouched();
    let foreign = Uuid::from_u128(7);
    let device = std::fs::OpenOptions::new().write(true).open(fixture.device()).unwrap();
    device.write_all_at(&render_mark(foreign), MARK_OFFSET).unwrap();
    device.sync_all().unwrap();
    drop(device);
    let ours = planned.plan.ids.install;
    assert_eq!(refused(), format!("DISK carries the mark of the install {foreign}, not of {ours}"));
    assert_eq!(fixture.mark(), Some(foreign));
}

//! Carrying on after a failure. The unfinished mark with the id of this install proves that the disk is ours and that what lies on
//! it was written by an attempt with the same identities; nothing else is believed without reading it back from the disk.
//!
//! Kept is the partition table, when both copies are whole and exactly the planned ones: it was written after everything of an
//! earlier system was erased and flushed. Kept is the root slot, when it has the planned hash and the table was kept. All else
//! takes seconds and is done again: a half-written file system is never repaired, it is made anew.

use super::{Run, StepError, slot_role};
use crate::exit::ExitCode;
use crate::inventory::{Ends, inspect_tables};
use crate::plan::Step;
use crate::plan::boot::Slot;
use crate::plan::layout::{ByteRange, MARK_OFFSET, MIB};
use crate::plan::mark::parse_mark;
use std::collections::BTreeSet;
use sysio::block::BlockDevice;
use sysio::files::Digested;
use uuid::Uuid;

/// What an earlier attempt did and this one keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    table: bool,
    slots: BTreeSet<Slot>,
}

impl Kept {
    /// Names for the install record.
    pub(super) fn names(&self) -> Vec<String> {
        let table = self.table.then(|| "partition table".to_owned());
        table.into_iter().chain(self.slots.iter().map(|slot| format!("root slot {}", slot.name()))).collect()
    }
}

impl Run<'_> {
    /// Does the step in the way of a resumed install; `false` when it is to be done as always.
    pub(super) fn resume_step(&mut self, step: &Step) -> Result<bool, StepError> {
        match step {
            Step::CheckDisk {} => {
                self.check_disk()?;
                self.check_mark().map(|()| true)
            }
            Step::Erase { .. } => self.keep_table(),
            Step::WriteTable {} => Ok(self.kept().table),
            Step::CopyRoot { slot, length: Some(length), sha256: Some(sha256) } if self.kept().table => {
                let wanted = Digested { length: *length, sha256: sha256.clone() };
                self.keep_slot(step, *slot, wanted)
            }
            // Read back past the cache a moment ago, in place of the copy.
            Step::VerifyRoot { slot, .. } => Ok(self.kept().slots.contains(slot)),
            _ => Ok(false),
        }
    }

    fn kept(&self) -> Kept {
        self.resume.clone().unwrap_or_default()
    }

    fn note_kept(&mut self, what: &str, change: impl FnOnce(&mut Kept)) {
        if let Some(kept) = &mut self.resume {
            change(kept);
        }
        self.reporter.note(&format!("{what} is whole and kept"));
    }

    /// The disk must carry the mark of this very install.
    fn check_mark(&self) -> Result<(), StepError> {
        let install = self.plan().ids.install;
        let found = self.read_mark()?;
        if found == Some(install) {
            return Ok(());
        }
        let disk = self.disk_path().display();
        let text = match found {
            Some(other) => format!("{disk} carries the mark of the install {other}, not of {install}"),
            None => format!("{disk} carries no unfinished mark, so there is nothing to resume"),
        };
        Err(StepError::text("E_RESUME", ExitCode::InvalidInput, text))
    }

    fn read_mark(&self) -> Result<Option<Uuid>, StepError> {
        let device = BlockDevice::open_exclusive(self.disk_path())?;
        let mut block = vec![0; usize::try_from(2 * MIB - MARK_OFFSET).unwrap_or(4096)];
        device.drop_cache(MARK_OFFSET, block.len() as u64)?;
        device.read_at(MARK_OFFSET, &mut block)?;
        Ok(parse_mark(&block))
    }

    /// Keeps the table if it is the planned one, whole in both copies. Then only the place of the core image is erased: a longer
    /// one of another image would leave its end there.
    fn keep_table(&mut self) -> Result<bool, StepError> {
        if !self.is_table_whole()? {
            return Ok(false);
        }
        self.erase(&[ByteRange { offset_bytes: MIB, length_bytes: MARK_OFFSET - MIB }])?;
        self.note_kept("the partition table", |kept| kept.table = true);
        Ok(true)
    }

    fn is_table_whole(&mut self) -> Result<bool, StepError> {
        if let Err(error) = self.verify_table() {
            tracing::debug!(error = %format!("{:#}", error.error), "the table is not kept");
            return Ok(false);
        }
        let device = BlockDevice::open_read_only(self.disk_path())?;
        let (mut head, mut tail) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        device.read_at(0, &mut head)?;
        device.read_at(device.size_bytes().saturating_sub(MIB), &mut tail)?;
        let odd = inspect_tables(&Ends {
            head: &head,
            tail: &tail,
            disk_bytes: device.size_bytes(),
            sector_bytes: device.logical_sector_bytes(),
        });
        Ok(odd.is_empty())
    }

    fn keep_slot(&mut self, step: &Step, slot: Slot, wanted: Digested) -> Result<bool, StepError> {
        let node = self.node(slot_role(slot))?.to_owned();
        let device = BlockDevice::open_exclusive(&node)?;
        let reporter = &mut *self.reporter;
        let read =
            device.hash_range(0, wanted.length, &mut |done| reporter.progress(step, done, wanted.length))?;
        if read != wanted {
            return Ok(false);
        }
        self.slots.insert(slot, read);
        self.note_kept(&format!("root slot {}", slot.name()), |kept| {
            kept.slots.insert(slot);
        });
        Ok(true)
    }
}

//! Reading back what an install wrote, from the disk and not from the cache.

use crate::apply::partitions::find_partitions;
use crate::apply::{Run, SCRATCH_FOLDER, StepError, slot_role};
use crate::exit::ExitCode;
use crate::plan::Step;
use crate::plan::boot::Slot;
use crate::plan::layout::{Layout, PartitionRole};
use crate::plan::place::on_state;
use crate::plan::sha256_hex;
use serde::Deserialize;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use sysio::block::BlockDevice;
use sysio::command::Cmd;
use sysio::files::{create_folders, hash_file, remove_if_there};
use sysio::mounts::Mount;
use uuid::Uuid;

/// First bytes of a GPT header.
const GPT_SIGNATURE: &[u8] = b"EFI PART";

impl Run<'_> {
    pub(crate) fn verify_root(&mut self, step: &Step, slot: Slot) -> Result<(), StepError> {
        let node = self.node(slot_role(slot))?.to_owned();
        let Some(written) = self.slots.get(&slot).cloned() else {
            return Err(StepError::text("E_DISK_IO", ExitCode::Io, "no root image was copied"));
        };
        let device = BlockDevice::open_exclusive(&node)?;
        let reporter = &mut *self.reporter;
        let read = device
            .hash_range(0, written.length, &mut |done| reporter.progress(step, done, written.length))?;
        if read == written {
            Ok(())
        } else {
            Err(differs(&node, "root image", &read.sha256, &written.sha256))
        }
    }

    /// Both copies of the table: the first one in full, the second by its signature.
    pub(crate) fn verify_table(&mut self) -> Result<(), StepError> {
        let layout = &self.plan().layout;
        let disk = self.disk_path();
        // Read-only: whoever closes a disk it could write to makes udev read the table again and re-create the nodes.
        let device = BlockDevice::open_read_only(disk)?;
        device.drop_cache(0, device.size_bytes())?;
        let mut last = vec![0; usize::try_from(layout.sector_bytes).unwrap_or(512)];
        device.read_at(
            layout.disk_bytes / layout.sector_bytes * layout.sector_bytes - layout.sector_bytes,
            &mut last,
        )?;
        drop(device);
        if table_is(disk, layout)?
            && last.starts_with(GPT_SIGNATURE)
            && find_partitions(disk, layout).is_some()
        {
            return Ok(());
        }
        Err(StepError::read_back(format!("{} does not give back the partition table", disk.display())))
    }

    /// Rendered files with their modes, and artefacts, after the state was unmounted once.
    pub(crate) fn verify_state(&mut self) -> Result<(), StepError> {
        let state = Mount::new(self.node(PartitionRole::State)?, "ext4").read_only().temporary()?;
        let mut data = self.mount_data_below(state.path())?;
        let place = |path: &str| state.path().join(on_state(path).unwrap_or_default());
        for file in &self.planned.rendered.files {
            let path = place(&file.path);
            let digest = hash_file(&path, &mut |_| {})?;
            let mode = path.metadata().map(|m| m.permissions().mode() & 0o7777).unwrap_or_default();
            if digest.sha256 != sha256_hex(file.contents.expose().as_bytes()) || mode != file.mode {
                return Err(StepError::read_back(format!("the state does not give back {}", file.path)));
            }
        }
        for artifact in &self.planned.artifacts {
            let Some(target) = artifact.install_to.as_deref() else { continue };
            let digest = hash_file(&place(target), &mut |_| {})?;
            if digest.sha256 != artifact.sha256 {
                return Err(differs(Path::new(target), "artefact", &digest.sha256, &artifact.sha256));
            }
        }
        while let Some(guard) = data.pop() {
            guard.unmount()?;
        }
        Ok(state.unmount()?)
    }

    /// All files of the ESP, the core image and the boot code.
    pub(crate) fn verify_boot(&mut self) -> Result<(), StepError> {
        let esp = self.esp()?;
        esp.flush()?;
        let scratch = Path::new(SCRATCH_FOLDER);
        create_folders(scratch, 0o700)?;
        let copy = scratch.join(format!("read-back-{}", std::process::id()));
        for (path, written) in &self.esp_files {
            esp.get(path, &copy)?;
            let read = hash_file(&copy, &mut |_| {});
            remove_if_there(&copy)?;
            let read = read?;
            if read != *written {
                return Err(differs(Path::new(path), "file of the ESP", &read.sha256, &written.sha256));
            }
        }
        let device = BlockDevice::open_read_only(self.disk_path())?;
        for (offset, bytes) in &self.raw_writes {
            let mut read = vec![0; bytes.len()];
            device.drop_cache(*offset, bytes.len() as u64)?;
            device.read_at(*offset, &mut read)?;
            if read != *bytes {
                let disk = self.disk_path().display();
                return Err(StepError::read_back(format!(
                    "{disk} does not give back the boot code at byte {offset}"
                )));
            }
        }
        Ok(())
    }
}

fn differs(path: &Path, what: &str, read: &str, written: &str) -> StepError {
    StepError::read_back(format!(
        "{} gives back a {what} with the sha256 {read} instead of {written}",
        path.display()
    ))
}

/// What is compared of a table: its GUID, and of each partition GUID, type, label, first sector, number of sectors.
type Table = (Uuid, Vec<(Uuid, String, String, u64, u64)>);

/// Whether the disk has exactly this table, and both copies of it are whole: of a damaged one sfdisk complains and shows the other.
pub(crate) fn table_is(disk: &Path, layout: &Layout) -> Result<bool, StepError> {
    let output = Cmd::new("sfdisk").arg("--json").arg(disk).run_any_status()?;
    let is_whole = !String::from_utf8_lossy(&output.stderr).contains("corrupt");
    Ok(is_whole && parse_table(&output.text()).is_some_and(|table| table == expected_table(layout)))
}

fn expected_table(layout: &Layout) -> Table {
    let partitions = layout
        .partitions
        .iter()
        .map(|p| (p.guid, p.type_guid.clone(), p.label.clone(), p.first_lba, p.last_lba - p.first_lba + 1));
    (layout.disk_guid, partitions.collect())
}

/// Reads the output of `sfdisk --json`; `None` when it is anything but a GPT.
fn parse_table(json: &str) -> Option<Table> {
    #[derive(Deserialize)]
    struct Output {
        partitiontable: GptJson,
    }
    #[derive(Deserialize)]
    struct GptJson {
        label: String,
        id: Uuid,
        partitions: Vec<PartitionJson>,
    }
    #[derive(Deserialize)]
    struct PartitionJson {
        start: u64,
        size: u64,
        r#type: String,
        uuid: Uuid,
        #[serde(default)]
        name: String,
    }
    let table = serde_json::from_str::<Output>(json).ok()?.partitiontable;
    let partitions =
        table.partitions.into_iter().map(|p| (p.uuid, p.r#type, p.name, p.start, p.size)).collect();
    (table.label == "gpt").then_some((table.id, partitions))
}

#[cfg(test)]
mod tests {
    use super::parse_table;

    #[test]
    fn only_a_gpt_is_a_table() {
        let json = |label: &str| {
            format!(
                r#"{{"partitiontable":{{"label":"{label}","id":"3F2504E0-4F89-11D3-9A0C-0305E82C3301","device":"/d",
                "unit":"sectors","partitions":[{{"node":"/d1","start":2048,"size":2048,"type":"T",
                "uuid":"3F2504E0-4F89-11D3-9A0C-0305E82C3302","name":"n"}}]}}}}"#
            )
        };
        assert_eq!(parse_table(&json("gpt")).unwrap().1.len(), 1);
        assert_eq!(parse_table(&json("dos")), None);
        assert_eq!(parse_table("{}"), None);
    }
}

//! Steps that make the disk start: files of the ESP, loader, BIOS boot code, install record.

use super::bootcode::{BootCodeError, place_boot_code, place_core_image};
use super::check::{unreadable, wrong_hash};
use super::{Run, SCRATCH_FOLDER, StepError};
use crate::exit::ExitCode;
use crate::plan::boot::{fresh_boot_state, render_grubenv};
use crate::plan::layout::{MARK_OFFSET, MIB, PartitionRole};
use crate::plan::model::EspSource;
use crate::plan::place::on_state;
use crate::plan::sha256_hex;
use crate::record::{RECORD_ESP_PATH, RECORD_NODE_PATH};
use std::path::{Path, PathBuf};
use sysio::block::BlockDevice;
use sysio::command::Cmd;
use sysio::files::{Digested, create_folders, hash_file, read_capped, remove_if_there, write_atomic};

/// Sector size of a BIOS.
const BIOS_SECTOR: usize = 512;
/// Name the record is written under before it is renamed: a plain 8.3 name.
const RECORD_TEMPORARY: &str = "/metalstrap/INSTALL.NEW";

impl Run<'_> {
    pub(super) fn esp_file(
        &mut self,
        path: &str,
        source: &EspSource,
        length: Option<u64>,
        sha256: Option<&str>,
    ) -> Result<(), StepError> {
        let esp = self.esp()?;
        let written = match source {
            EspSource::Medium { name } => {
                let from = self.sources.live.join(name);
                esp.put(&from, path)?;
                match (length, sha256) {
                    // What the disk gives back is compared with it in the end.
                    (Some(length), Some(sha256)) => Digested { length, sha256: sha256.to_owned() },
                    _ => hash_source(&from)?,
                }
            }
            EspSource::Image { path: of } => {
                let from = self.sources.image_path(of);
                esp.put(&from, path)?;
                hash_source(&from)?
            }
            EspSource::Text { text } => {
                esp.put_bytes(text.as_bytes(), path)?;
                digest_of(text.as_bytes())
            }
            EspSource::BootState {} => {
                let block = render_grubenv(&fresh_boot_state());
                esp.put_bytes(&block, path)?;
                digest_of(&block)
            }
        };
        let expected = sha256.unwrap_or(&written.sha256);
        if written.sha256 != expected || length.is_some_and(|l| l != written.length) {
            return Err(wrong_hash(Path::new(path), &written.sha256, expected));
        }
        self.esp_files.insert(path.to_owned(), written);
        Ok(())
    }

    /// Everything on the ESP is on the disk before the loader gets its name.
    pub(super) fn rename_loader(&mut self, from: &str, to: &str) -> Result<(), StepError> {
        self.esp()?.rename(from, to)?;
        if let Some(digest) = self.esp_files.remove(from) {
            self.esp_files.insert(to.to_owned(), digest);
        }
        Ok(())
    }

    pub(super) fn write_core_image(&mut self, modules: &[String], prefix: &str) -> Result<(), StepError> {
        // Not through standard output: grub-mkimage insists on syncing what it wrote, and a pipe cannot be synced.
        create_folders(Path::new(SCRATCH_FOLDER), 0o700)?;
        let scratch = Path::new(SCRATCH_FOLDER).join(format!("core-{}", std::process::id()));
        Cmd::new("grub-mkimage")
            .args(["-O", "i386-pc", "-p", prefix, "-d"])
            .arg(&self.sources.grub)
            .arg("-o")
            .arg(&scratch)
            .args(modules)
            .run()?;
        let core = read_capped(&scratch, MIB)?;
        remove_if_there(&scratch)?;
        let image =
            place_core_image(&core, MIB / BIOS_SECTOR as u64, MARK_OFFSET - MIB).map_err(boot_code)?;
        self.write_raw(MIB, image)
    }

    /// The first sector keeps its partition table; this is one write of one sector.
    pub(super) fn write_boot_code(&mut self) -> Result<(), StepError> {
        let boot =
            read_capped(&self.sources.grub.join("boot.img"), BIOS_SECTOR as u64).map_err(unreadable)?;
        let mut sector = [0; BIOS_SECTOR];
        BlockDevice::open_read_only(self.disk_path())?.read_at(0, &mut sector)?;
        let sector = place_boot_code(&boot, &sector, MIB / BIOS_SECTOR as u64).map_err(boot_code)?;
        self.write_raw(0, sector.to_vec())
    }

    fn write_raw(&mut self, offset: u64, bytes: Vec<u8>) -> Result<(), StepError> {
        let device = BlockDevice::open_exclusive(self.disk_path())?;
        device.write_at(offset, &bytes)?;
        device.flush()?;
        self.raw_writes.push((offset, bytes));
        Ok(())
    }

    /// First the copy in the state, then the record on the ESP under its name: that rename commits the install.
    pub(super) fn write_record(&mut self) -> Result<(), StepError> {
        let text = self.record().render().map_err(|e| StepError::new("E_DISK_IO", ExitCode::Io, e))?;
        let state = self.mount_state()?;
        let path: PathBuf = state.path().join(on_state(RECORD_NODE_PATH).unwrap_or_default());
        create_folders(path.parent().unwrap_or(state.path()), 0o755)?;
        write_atomic(&path, text.as_bytes(), 0o644)?;
        state.unmount()?;
        let esp = self.esp()?;
        esp.put_bytes(text.as_bytes(), RECORD_TEMPORARY)?;
        // On the disk and whole before it gets its name: mtools does not tell of a full volume.
        esp.flush()?;
        if esp.read(RECORD_TEMPORARY)? != text.as_bytes() {
            let node = self.node(PartitionRole::Esp)?.display().to_string();
            return Err(StepError::read_back(format!("{node} does not give back the install record")));
        }
        esp.rename(RECORD_TEMPORARY, RECORD_ESP_PATH)
    }
}

fn hash_source(path: &Path) -> Result<Digested, StepError> {
    hash_file(path, &mut |_| {}).map_err(unreadable)
}

fn digest_of(bytes: &[u8]) -> Digested {
    Digested { length: bytes.len() as u64, sha256: sha256_hex(bytes) }
}

fn boot_code(error: BootCodeError) -> StepError {
    StepError::new("E_BOOT_CODE", ExitCode::Environment, error)
}

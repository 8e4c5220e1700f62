//! The machine itself as the world of the search.

use super::search::World;
use super::{CONFIG_MAX_BYTES, CONFIG_READ_BYTES};
use crate::inventory::{LSBLK_COLUMNS, MEDIUM_MOUNT, Volume, parse_volumes};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sysio::command::Cmd;
use sysio::files::read_start;
use sysio::http::{self, HttpError, Retry};
use sysio::mounts::Mount;

/// File systems a configuration may be on. Others are not mounted: each driver is a parser of foreign bytes in the kernel.
const FILE_SYSTEMS: [&str; 7] = ["vfat", "exfat", "iso9660", "udf", "ext2", "ext3", "ext4"];

/// Looks for volumes this often; USB sticks need a few seconds to appear.
const WAITS_MAX: u32 = 15;

/// Pause between two looks.
const WAIT_PAUSE: Duration = Duration::from_secs(1);

/// A network needs a while after a switch port comes up: seven attempts over about a minute.
const FETCH_RETRY: Retry = Retry { attempts: 7, first_pause: Duration::from_secs(1) };

/// The machine: mounts volumes read-only, fetches over the network.
#[derive(Debug)]
pub struct LiveWorld {
    waits: u32,
    retry: Retry,
}

impl Default for LiveWorld {
    fn default() -> Self {
        Self { waits: 0, retry: FETCH_RETRY }
    }
}

impl LiveWorld {
    /// One that looks once and waits for nothing.
    pub fn impatient() -> Self {
        Self { waits: WAITS_MAX, retry: Retry { attempts: 1, ..FETCH_RETRY } }
    }
}

impl World for LiveWorld {
    fn volumes(&mut self) -> Result<Vec<Volume>, String> {
        let output = Cmd::new("lsblk").args(["--json", "--bytes", "--output", LSBLK_COLUMNS]).run();
        let text = output.map_err(|error| render_chain(&error))?.text();
        parse_volumes(&text).map_err(|error| render_chain(&error))
    }

    fn read_volume(&mut self, volume: &Volume, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, String> {
        if !FILE_SYSTEMS.contains(&volume.fs_type.as_str()) {
            return Err(format!("its file system {} is none of {}", volume.fs_type, FILE_SYSTEMS.join(", ")));
        }
        let mounted = Mount::new(&volume.device, &volume.fs_type).read_only().temporary();
        let mounted = mounted.map_err(|error| render_chain(&error))?;
        read_files(mounted.path(), paths)
    }

    fn read_boot_medium(&mut self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, String> {
        read_files(Path::new(MEDIUM_MOUNT), paths)
    }

    fn fetch(&mut self, url: &str) -> Result<Option<Vec<u8>>, String> {
        match http::get(url, CONFIG_MAX_BYTES, self.retry) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(HttpError::Status { status: 404 | 410, .. }) => Ok(None),
            Err(error) => Err(render_chain(&error)),
        }
    }

    fn wait(&mut self) -> bool {
        if self.waits >= WAITS_MAX {
            return false;
        }
        self.waits += 1;
        std::thread::sleep(WAIT_PAUSE);
        true
    }
}

fn read_files(folder: &Path, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, String> {
    paths.iter().map(|path| read_file(folder.join(path))).collect()
}

fn read_file(path: PathBuf) -> Result<Option<Vec<u8>>, String> {
    match read_start(&path, CONFIG_READ_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(render_chain(&error)),
    }
}

/// An error with its causes, on one line: the search puts it into a refusal, where no chain can follow.
fn render_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

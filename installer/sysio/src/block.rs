//! Block devices (and disk images in files): exclusive opening, positioned reading and writing, read-back.

use crate::command::{Cmd, CommandError};
use crate::files::{At, CHUNK_BYTES, Digested, FileError, pump};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Bytes between two write-backs of a long copy: keeps dirty pages, and with them the final wait, small.
const WRITE_BACK_EVERY_BYTES: u64 = 64 << 20;

/// How often a claimed device is tried again, with [`CLAIM_PAUSE`] between: two seconds in all.
const CLAIM_TRIES: u32 = 20;
/// Pause between two tries.
const CLAIM_PAUSE: Duration = Duration::from_millis(100);

/// Logical sector size of a disk image in a file.
const IMAGE_SECTOR_BYTES: u64 = 512;

/// An open block device or disk image.
#[derive(Debug)]
pub struct BlockDevice {
    file: File,
    path: PathBuf,
    size_bytes: u64,
    logical_sector_bytes: u64,
}

impl BlockDevice {
    /// Opens for reading; never disturbs a user of the device.
    ///
    /// # Errors
    /// [`FileError`] naming the device.
    pub fn open_read_only(path: &Path) -> Result<Self, FileError> {
        Self::open(path, OpenOptions::new().read(true))
    }

    /// Opens for reading and writing with `O_EXCL`: on a block device this succeeds only when nothing else has
    /// claimed it or a part of it (mounts, LVM, md, device mapper, another exclusive opener), and as long as the value lives nobody
    /// can. Partitions cannot be mounted while the whole disk is held.
    ///
    /// # Errors
    /// [`FileError`] naming the device; `EBUSY` when it is in use, and still is after two seconds: a claim that a program
    /// of ours just gave up lives on in each child that another thread starts, until that child runs its own program.
    pub fn open_exclusive(path: &Path) -> Result<Self, FileError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_EXCL | libc::O_CLOEXEC);
        for _ in 0..CLAIM_TRIES {
            match Self::open(path, &options) {
                Err(error) if error.source.raw_os_error() == Some(libc::EBUSY) => sleep(CLAIM_PAUSE),
                other => return other,
            }
        }
        Self::open(path, &options)
    }

    fn open(path: &Path, options: &OpenOptions) -> Result<Self, FileError> {
        let mut file = options.open(path).at("opening", path)?;
        let size_bytes = file.seek(SeekFrom::End(0)).at("measuring", path)?;
        let logical_sector_bytes = read_logical_sector(&file).unwrap_or(IMAGE_SECTOR_BYTES);
        Ok(Self { file, path: path.to_owned(), size_bytes, logical_sector_bytes })
    }

    /// Path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Logical sector size in bytes; 512 for a disk image in a file.
    pub fn logical_sector_bytes(&self) -> u64 {
        self.logical_sector_bytes
    }

    /// The kernel's number for this appearance of the disk (`diskseq`, Linux 5.15): it is never given twice in one boot. `None` for
    /// a disk image in a file, and for a partition.
    pub fn sequence(&self) -> Option<u64> {
        let folder = sysfs_folder(&self.file)?;
        std::fs::read_to_string(folder.join("diskseq")).ok()?.trim().parse().ok()
    }

    /// Fills the buffer from this offset.
    ///
    /// # Errors
    /// [`FileError`]; reading past the end is `UnexpectedEof`.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), FileError> {
        self.file.read_exact_at(buffer, offset).at("reading", &self.path)
    }

    /// Writes all bytes at this offset. On the disk only after [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`FileError`]; some of the bytes may be written.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all_at(bytes, offset).at("writing", &self.path)
    }

    /// Waits until all that was written is on the disk. A failure is final: never try it again as if it could succeed.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn flush(&self) -> Result<(), FileError> {
        self.file.sync_all().at("flushing", &self.path)
    }

    /// Writes zeros over a range.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_zeros(&self, offset: u64, length: u64) -> Result<(), FileError> {
        let zeros = vec![0u8; chunk_len(length)];
        each_chunk(offset, length, |at, len| self.write_at(at, &zeros[..len]).map(|()| true)).map(drop)
    }

    /// True when a range holds only zeros; the part of it behind the end of the device counts as zero.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn is_zero(&self, offset: u64, length: u64) -> Result<bool, FileError> {
        let length = length.min(self.size_bytes.saturating_sub(offset));
        let mut buffer = vec![0u8; chunk_len(length)];
        each_chunk(offset, length, |at, len| {
            self.read_at(at, &mut buffer[..len])?;
            Ok(buffer[..len].iter().all(|byte| *byte == 0))
        })
    }

    /// Copies exactly `length` bytes from `source` to this offset and gives the hash of what was given to the device.
    /// Written back as it goes, so that progress is honest; flushed at the end.
    ///
    /// # Errors
    /// [`FileError`]; a shorter source is `UnexpectedEof`. Some of the range may then be overwritten.
    pub fn copy_from(
        &self,
        source: &mut dyn Read,
        source_name: &Path,
        offset: u64,
        length: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Digested, FileError> {
        let (mut at, mut unflushed) = (offset, 0u64);
        let digested = pump(source, length, progress, |chunk| {
            self.file.write_all_at(chunk, at)?;
            at += chunk.len() as u64;
            unflushed += chunk.len() as u64;
            if unflushed >= WRITE_BACK_EVERY_BYTES {
                self.file.sync_data()?;
                unflushed = 0;
            }
            Ok(())
        })
        .map_err(|error| error.at(source_name, &self.path))?;
        if digested.length != length {
            let text = format!("{} bytes instead of {length}", digested.length);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)).at("reading", source_name);
        }
        self.flush()?;
        Ok(digested)
    }

    /// Hash of a range as the disk gives it back: the page cache of the range is dropped first.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn hash_range(
        &self,
        offset: u64,
        length: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Digested, FileError> {
        self.drop_cache(offset, length)?;
        let mut reader = RangeReader { file: &self.file, at: offset, end: offset.saturating_add(length) };
        pump(&mut reader, length, progress, |_| Ok(())).map_err(|error| error.at(&self.path, &self.path))
    }

    /// Flushes, then forgets what the page cache knows of a range, so that the next read comes from the disk.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn drop_cache(&self, offset: u64, length: u64) -> Result<(), FileError> {
        self.flush()?;
        let offset = libc::off_t::try_from(offset).unwrap_or(libc::off_t::MAX);
        let length = libc::off_t::try_from(length).unwrap_or(0);
        posix_fadvise(&self.file, offset, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
            .at("dropping the cache of", &self.path)
    }
}

/// Whether somebody has claimed the device or a part of it (see [`BlockDevice::open_exclusive`]). Claims it for a moment, for
/// reading only, so that nothing hears of a change.
///
/// # Errors
/// [`FileError`] when it cannot be opened for another reason.
pub fn is_claimed(path: &Path) -> Result<bool, FileError> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_EXCL | libc::O_CLOEXEC).open(path);
    match opened {
        Ok(_) => Ok(false),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(true),
        Err(error) => Err(error).at("opening", path),
    }
}

/// Keeps udev away from a disk and its partitions as long as it lives, by systemd's protocol for block devices: an
/// `flock` on the whole disk. Without it udev rereads the table each time somebody closes the disk after writing, and for a
/// moment the partitions are gone.
#[derive(Debug)]
pub struct DiskLock {
    _file: File,
}

/// Takes the lock; waits while udev or another tool that knows the protocol has it.
///
/// # Errors
/// [`FileError`] naming the device.
pub fn lock_disk(path: &Path) -> Result<DiskLock, FileError> {
    let file = File::open(path).at("opening", path)?;
    file.lock().at("locking", path)?;
    Ok(DiskLock { _file: file })
}

/// Waits until udev has handled everything that happened so far.
///
/// # Errors
/// When it does not within 30 seconds.
pub fn settle() -> Result<(), CommandError> {
    Cmd::new("udevadm").args(["settle", "--timeout=30"]).run().map(drop)
}

/// A partition is a folder with a `partition` file inside its disk's folder; the queue belongs to the disk.
fn read_logical_sector(file: &File) -> Option<u64> {
    let folder = sysfs_folder(file)?;
    ["queue/logical_block_size", "../queue/logical_block_size"]
        .iter()
        .find_map(|name| std::fs::read_to_string(folder.join(name)).ok())
        .and_then(|text| text.trim().parse().ok())
}

/// What sysfs says of an open block device; `None` for anything else.
fn sysfs_folder(file: &File) -> Option<PathBuf> {
    let metadata = file.metadata().ok()?;
    if !metadata.file_type().is_block_device() {
        return None;
    }
    let (major, minor) = (nix::sys::stat::major(metadata.rdev()), nix::sys::stat::minor(metadata.rdev()));
    Some(PathBuf::from(format!("/sys/dev/block/{major}:{minor}")))
}

struct RangeReader<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for RangeReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..len], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn chunk_len(length: u64) -> usize {
    usize::try_from(length).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES)
}

/// Walks over a range in chunks until one says `false`; gives whether all said `true`.
fn each_chunk(
    offset: u64,
    length: u64,
    mut visit: impl FnMut(u64, usize) -> Result<bool, FileError>,
) -> Result<bool, FileError> {
    let mut done = 0;
    while done < length {
        let len = chunk_len(length - done);
        if !visit(offset + done, len)? {
            return Ok(false);
        }
        done += len as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{BlockDevice, lock_disk};
    use std::path::Path;

    fn image(bytes: &[u8]) -> (tempfile::TempDir, BlockDevice) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        std::fs::write(&path, bytes).unwrap();
        let device = BlockDevice::open_exclusive(&path).unwrap();
        (dir, device)
    }

    #[test]
    fn copies_and_gives_back_the_same_hash() {
        let (_dir, device) = image(&[0; 4096]);
        let mut source: &[u8] = &[7; 3000];
        let copied = device.copy_from(&mut source, Path::new("src"), 512, 3000, &mut |_| {}).unwrap();
        assert_eq!(device.hash_range(512, 3000, &mut |_| {}).unwrap(), copied);
        assert_ne!(device.hash_range(511, 3000, &mut |_| {}).unwrap(), copied);
    }

    #[test]
    fn a_source_that_is_too_short_is_an_error() {
        let (_dir, device) = image(&[0; 4096]);
        let mut source: &[u8] = &[7; 10];
        let error = device.copy_from(&mut source, Path::new("src"), 0, 11, &mut |_| {}).unwrap_err();
        assert_eq!(format!("{error}: {}", error.source), "reading src: 10 bytes instead of 11");
    }

    #[test]
    fn a_locked_disk_is_locked_for_others_until_the_lock_is_dropped() {
        let (_dir, device) = image(&[0; 512]);
        let lock = lock_disk(device.path()).unwrap();
        let other = std::fs::File::open(device.path()).unwrap();
        assert!(other.try_lock().is_err());
        drop(lock);
        other.try_lock().unwrap();
    }

    #[test]
    fn finds_a_byte_that_is_not_zero_anywhere_in_the_range() {
        let mut bytes = vec![0u8; 3 << 20];
        bytes[(2 << 20) + 5] = 1;
        let (_dir, device) = image(&bytes);
        assert!(!device.is_zero(0, 3 << 20).unwrap());
        assert!(device.is_zero(0, 2 << 20).unwrap());
        device.write_zeros(2 << 20, 1 << 20).unwrap();
        assert!(device.is_zero(0, 9 << 20).unwrap());
    }

    #[test]
    fn reading_behind_the_end_names_the_device() {
        let (_dir, device) = image(&[0; 512]);
        let error = device.read_at(500, &mut [0; 20]).unwrap_err();
        assert_eq!(error.to_string(), format!("reading {}", device.path().display()));
        assert_eq!((device.size_bytes(), device.logical_sector_bytes()), (512, 512));
    }
}

//! Files: written beside, synced, renamed, the folder synced; read with a limit.

use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, sync_channel};

/// Bytes moved at once when a file is copied or hashed: large enough for full speed, small enough for 768 MiB machines.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Chunks between the thread that reads and writes and the one that hashes: reading and hashing take about as long.
const CHUNKS_AHEAD: usize = 4;

/// A file operation that failed: what was done to which path.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}", .path.display())]
pub struct FileError {
    /// A gerund: `reading`, `writing`.
    pub action: &'static str,
    /// The file or device.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Makes an `io::Result` say what was being done to which path.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|error| FileError { action, path: path.to_owned(), source: error.into() })
    }
}

/// Length and SHA-256 of bytes that went by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digested {
    /// Number of bytes.
    pub length: u64,
    /// SHA-256 in lower case hex.
    pub sha256: String,
}

/// Writes a file so that after a power cut there is the old one or the new one, never a half. Makes no folders.
///
/// # Errors
/// [`FileError`] naming the path; then the old file, if any, is unchanged.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let folder = folder_of(path);
    let mut temp = tempfile::Builder::new()
        .prefix(".metalstrap-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .at("writing beside", path)?;
    temp.write_all(bytes).at("writing", path)?;
    temp.as_file().set_permissions(Permissions::from_mode(mode)).at("setting the mode of", path)?;
    temp.as_file().sync_all().at("syncing", path)?;
    temp.persist(path).map_err(|e| e.error).at("renaming into place", path)?;
    sync_folder(folder)
}

/// Copies a file as [`write_atomic`] writes one, and gives what was copied. `progress` gets the bytes done so far.
///
/// # Errors
/// [`FileError`] naming the path that failed; then no new file is at `to`.
pub fn copy_atomic(
    from: &Path,
    to: &Path,
    mode: u32,
    progress: &mut dyn FnMut(u64),
) -> Result<Digested, FileError> {
    let folder = folder_of(to);
    let mut source = File::open(from).at("opening", from)?;
    let mut temp = tempfile::Builder::new()
        .prefix(".metalstrap-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .at("writing beside", to)?;
    let digested =
        pump(&mut source, u64::MAX, progress, |chunk| temp.write_all(chunk)).map_err(|e| e.at(from, to))?;
    temp.as_file().set_permissions(Permissions::from_mode(mode)).at("setting the mode of", to)?;
    temp.as_file().sync_all().at("syncing", to)?;
    temp.persist(to).map_err(|e| e.error).at("renaming into place", to)?;
    sync_folder(folder)?;
    Ok(digested)
}

/// Reads a whole file of at most `max_bytes`.
///
/// # Errors
/// [`FileError`]; a longer file is `InvalidData`.
pub fn read_capped(path: &Path, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    let bytes = read_start(path, max_bytes.saturating_add(1))?;
    if bytes.len() as u64 > max_bytes {
        let error = io::Error::new(io::ErrorKind::InvalidData, format!("longer than {max_bytes} bytes"));
        return Err(error).at("reading", path);
    }
    Ok(bytes)
}

/// The first `max_bytes` of a file, or all of a shorter one.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn read_start(path: &Path, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(path)
        .at("reading", path)?;
    let mut bytes = Vec::new();
    file.take(max_bytes).read_to_end(&mut bytes).at("reading", path)?;
    Ok(bytes)
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Absent,
    /// A file: its permission bits and its bytes.
    File {
        /// Permission bits.
        mode: u32,
        /// Contents.
        bytes: Vec<u8>,
    },
    /// A symbolic link, and what it points to.
    Link(PathBuf),
    /// A folder, a device, or another thing that is no configuration.
    Other,
}

/// Reads what is at a path without following it: a file of at most `max_bytes`, a link, or nothing.
///
/// # Errors
/// [`FileError`]; a longer file is `InvalidData`.
pub fn read_entry(path: &Path, max_bytes: u64) -> Result<Entry, FileError> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Entry::Absent);
        }
        Err(error) => return Err(error).at("reading", path),
    };
    if metadata.is_symlink() {
        return Ok(Entry::Link(std::fs::read_link(path).at("reading", path)?));
    }
    if !metadata.is_file() {
        return Ok(Entry::Other);
    }
    let mode = metadata.permissions().mode() & 0o7777;
    Ok(Entry::File { mode, bytes: read_capped(path, max_bytes)? })
}

/// Removes a folder with all in it; one that is not there is fine.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn remove_folder_if_there(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("removing", path),
        _ => Ok(()),
    }
}

/// Reads a whole UTF-8 file of at most `max_bytes`.
///
/// # Errors
/// [`FileError`]; other encodings are `InvalidData`.
pub fn read_text(path: &Path, max_bytes: u64) -> Result<String, FileError> {
    String::from_utf8(read_capped(path, max_bytes)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))
        .at("reading", path)
}

/// The last `max_bytes` of a file or of what the kernel gives for one, and whether it was longer.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn read_end(path: &Path, max_bytes: u64) -> Result<(Vec<u8>, bool), FileError> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
        .at("reading", path)?;
    let max = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let (mut bytes, mut cut) = (Vec::new(), false);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let filled = fill(&mut file, &mut chunk).at("reading", path)?;
        if filled == 0 {
            return Ok((bytes, cut));
        }
        bytes.extend_from_slice(&chunk[..filled]);
        if bytes.len() > max {
            bytes.drain(..bytes.len() - max);
            cut = true;
        }
    }
}

/// Plain files below a folder, sorted. Links are not followed.
///
/// # Errors
/// [`FileError`] naming the folder that cannot be listed.
pub fn list_files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).at("listing", folder)? {
        let entry = entry.at("listing", folder)?;
        let kind = entry.file_type().at("listing", folder)?;
        if kind.is_dir() {
            files.extend(list_files(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Length and SHA-256 of a file. `progress` gets the bytes done so far.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn hash_file(path: &Path, progress: &mut dyn FnMut(u64)) -> Result<Digested, FileError> {
    let mut file = File::open(path).at("opening", path)?;
    pump(&mut file, u64::MAX, progress, |_| Ok(())).map_err(|e| e.at(path, path))
}

/// Makes a folder and its parents; the new ones get `mode`.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn create_folders(path: &Path, mode: u32) -> Result<(), FileError> {
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).at("making the folder", path)
}

/// Makes a symbolic link, in place of whatever file or link is there, in one step.
///
/// # Errors
/// [`FileError`] naming the link.
pub fn symlink_atomic(target: &Path, link: &Path) -> Result<(), FileError> {
    let folder = folder_of(link);
    let temp = tempfile::Builder::new()
        .prefix(".metalstrap-")
        .make_in(folder, |path| std::os::unix::fs::symlink(target, path))
        .at("linking", link)?;
    temp.persist(link).map_err(|e| e.error).at("linking", link)?;
    sync_folder(folder)
}

/// The entries of a folder, each with whether it is a plain file (a link is none), by name; nothing when there is no such folder.
///
/// # Errors
/// [`FileError`] naming the folder.
pub fn list_folder(path: &Path) -> Result<Vec<(PathBuf, bool)>, FileError> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.at("reading", path)?,
    };
    let read = |entry: io::Result<std::fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.path(), entry.file_type()?.is_file()))
    };
    let mut found = entries.map(read).collect::<io::Result<Vec<_>>>().at("reading", path)?;
    found.sort();
    Ok(found)
}

/// Removes a file; a file that is not there is fine.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("removing", path),
        _ => Ok(()),
    }
}

/// Renames a file and syncs the folder it arrives in.
///
/// # Errors
/// [`FileError`] naming the new path.
pub fn rename_durable(from: &Path, to: &Path) -> Result<(), FileError> {
    std::fs::rename(from, to).at("renaming to", to)?;
    sync_folder(folder_of(to))
}

/// Makes what happened to names in a folder durable.
///
/// # Errors
/// [`FileError`] naming the folder.
pub fn sync_folder(folder: &Path) -> Result<(), FileError> {
    File::open(folder).and_then(|f| f.sync_all()).at("syncing the folder", folder)
}

/// Writes back everything of the file system that holds `path`.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn sync_file_system(path: &Path) -> Result<(), FileError> {
    let file = File::open(path).at("opening", path)?;
    nix::unistd::syncfs(&file).at("syncing the file system of", path)
}

/// Sets the mode of a file or folder.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn set_mode(path: &Path, mode: u32) -> Result<(), FileError> {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).at("setting the mode of", path)
}

/// A file for somebody's own use that must not be there yet, such as secrets made by `metalstrap init`.
///
/// # Errors
/// [`FileError`]; an existing file is `AlreadyExists` and unchanged.
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).at("creating", path)?;
    file.write_all(bytes).at("writing", path)?;
    file.sync_all().at("syncing", path)?;
    sync_folder(folder_of(path))
}

/// The folder of a path; `.` for a bare name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Which side of a copy failed.
pub(crate) enum PumpError {
    Read(io::Error),
    Write(io::Error),
}

impl PumpError {
    pub(crate) fn at(self, from: &Path, to: &Path) -> FileError {
        match self {
            Self::Read(source) => FileError { action: "reading", path: from.to_owned(), source },
            Self::Write(source) => FileError { action: "writing", path: to.to_owned(), source },
        }
    }
}

/// Moves at most `limit` bytes in chunks, hashing them beside it; `progress` gets the bytes done so far.
pub(crate) fn pump(
    source: &mut dyn Read,
    limit: u64,
    progress: &mut dyn FnMut(u64),
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Digested, PumpError> {
    let (to_hash, full) = sync_channel::<Vec<u8>>(CHUNKS_AHEAD);
    let (spent, to_fill) = channel::<Vec<u8>>();
    std::thread::scope(|scope| {
        let hasher = scope.spawn(move || {
            let mut hash = Sha256::new();
            for chunk in full {
                hash.update(&chunk);
                // Nobody takes the buffers back any more after the last one.
                let _ = spent.send(chunk);
            }
            hex::encode(hash.finalize())
        });
        let mut length = 0u64;
        loop {
            let want = usize::try_from((limit - length).min(CHUNK_BYTES as u64)).unwrap_or(CHUNK_BYTES);
            let mut chunk = to_fill.try_recv().unwrap_or_default();
            chunk.resize(want, 0);
            let filled = fill(source, &mut chunk).map_err(PumpError::Read)?;
            if filled == 0 {
                break;
            }
            chunk.truncate(filled);
            sink(&chunk).map_err(PumpError::Write)?;
            length += filled as u64;
            to_hash.send(chunk).map_err(|_| PumpError::Read(hasher_ended()))?;
            progress(length);
        }
        drop(to_hash);
        let sha256 = hasher.join().map_err(|_| PumpError::Read(hasher_ended()))?;
        Ok(Digested { length, sha256 })
    })
}

fn hasher_ended() -> io::Error {
    io::Error::other("the thread that hashes ended")
}

/// Fills the buffer as far as the source goes: short reads would make unaligned writes.
fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn writes_with_the_mode_asked_for_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write_atomic(&path, b"one", 0o644).unwrap();
        write_atomic(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_names_the_path() {
        let error = write_atomic(Path::new("/nonexistent/x"), b"", 0o600).unwrap_err();
        assert_eq!(error.to_string(), "writing beside /nonexistent/x");
    }

    #[test]
    fn reads_up_to_the_limit_and_no_further() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_capped(&path, 5).unwrap(), b"12345");
        let error = read_capped(&path, 4).unwrap_err();
        assert_eq!(error.source.to_string(), "longer than 4 bytes");
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 4).unwrap_err().source.to_string(), "not UTF-8 text");
    }

    #[test]
    fn of_a_long_file_the_end_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_end(&path, 5).unwrap(), (b"12345".to_vec(), false));
        assert_eq!(read_end(&path, 2).unwrap(), (b"45".to_vec(), true));
        assert!(!read_end(Path::new("/proc/self/stat"), 4096).unwrap().0.is_empty());
    }

    #[test]
    fn lists_plain_files_below_a_folder_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        for name in ["z", "d/a"] {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        symlink_atomic(Path::new("z"), &dir.path().join("l")).unwrap();
        symlink_atomic(Path::new("/"), &dir.path().join("root")).unwrap();
        assert_eq!(list_files(dir.path()).unwrap(), [dir.path().join("d/a"), dir.path().join("z")]);
    }

    #[test]
    fn copying_gives_length_and_hash() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&from, b"abc").unwrap();
        let mut last = 0;
        let digested = copy_atomic(&from, &to, 0o644, &mut |done| last = done).unwrap();
        assert_eq!(digested, hash_file(&to, &mut |_| {}).unwrap());
        assert_eq!(digested.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((digested.length, last), (3, 3));
    }

    #[test]
    fn a_new_file_never_replaces_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        create_new(&path, b"old", 0o600).unwrap();
        let error = create_new(&path, b"new", 0o600).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_link_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("l");
        symlink_atomic(Path::new("a"), &link).unwrap();
        symlink_atomic(Path::new("b"), &link).unwrap();
        assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("b"));
    }
}

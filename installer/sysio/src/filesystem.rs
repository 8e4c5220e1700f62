//! State of a mounted file system: room, mount table, and whether a write really reaches it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::time::Duration;

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Size in bytes.
    pub total_bytes: u64,
    /// Bytes an unprivileged writer can still use.
    pub available_bytes: u64,
    /// Inodes in all; 0 when the file system does not count them.
    pub total_inodes: u64,
    /// Inodes an unprivileged writer can still use.
    pub available_inodes: u64,
}

/// Room on the file system that holds `path`. Blocks for as long as the file system hangs.
///
/// # Errors
/// When `path` does not exist or may not be looked at.
pub fn read_room(path: &Path) -> io::Result<Room> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    let unit = stat.fragment_size();
    Ok(Room {
        total_bytes: stat.blocks().saturating_mul(unit),
        available_bytes: stat.blocks_available().saturating_mul(unit),
        total_inodes: stat.files(),
        available_inodes: stat.files_available(),
    })
}

/// One line of a `mountinfo` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountLine {
    /// `major:minor` of the device.
    pub device: String,
    /// Mount point, unescaped.
    pub mount_point: String,
    /// Options of this mount.
    pub options: Vec<String>,
    /// File system type.
    pub fs_type: String,
    /// Source, such as `/dev/sda5`.
    pub source: String,
    /// Options of the file system itself. Only here does an ext4 that shut itself down show it (`emergency_ro`).
    pub super_options: Vec<String>,
}

/// Parses the text of `/proc/PID/mountinfo`; lines that do not have its form are left out.
pub fn parse_mountinfo(text: &str) -> Vec<MountLine> {
    text.lines().filter_map(parse_mount_line).collect()
}

/// A mount table longer than this is none. A node with 700 containers has one of 3 MiB: each overlay names all its layers.
const MOUNTINFO_MAX_BYTES: u64 = 32 * 1024 * 1024;

/// Reads a `mountinfo` file line by line and keeps the wanted lines only, in their order. Mounts whose names are no UTF-8 do not
/// hinder it.
///
/// # Errors
/// When it cannot be read or is longer than 32 MiB.
pub fn read_mountinfo(path: &Path, wanted: impl Fn(&MountLine) -> bool) -> io::Result<Vec<MountLine>> {
    let mut reader = BufReader::new(fs::File::open(path)?.take(MOUNTINFO_MAX_BYTES + 1));
    let (mut kept, mut bytes, mut length) = (Vec::new(), Vec::new(), 0);
    loop {
        bytes.clear();
        match reader.read_until(b'\n', &mut bytes)? {
            0 => return Ok(kept),
            read => length += read as u64,
        }
        if length > MOUNTINFO_MAX_BYTES {
            return Err(io::Error::other("longer than 32 MiB"));
        }
        let line = String::from_utf8_lossy(&bytes);
        kept.extend(parse_mount_line(line.trim_end_matches('\n')).filter(&wanted));
    }
}

fn parse_mount_line(line: &str) -> Option<MountLine> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    Some(MountLine {
        device: (*left.get(2)?).to_owned(),
        mount_point: unescape(left.get(4)?),
        options: list(left.get(5)?),
        fs_type: (*right.first()?).to_owned(),
        source: unescape(right.get(1)?),
        super_options: list(right.get(2)?),
    })
}

/// The kernel writes blanks and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        let Some(code) = code else {
            out.push('\\');
            rest = &rest[at + 1..];
            continue;
        };
        out.push(char::from(code));
        rest = &rest[at + 4..];
    }
    out.push_str(rest);
    out
}

impl MountLine {
    /// True when `path` is the mount point or lies below it.
    pub fn holds(&self, path: &str) -> bool {
        let point = self.mount_point.as_str();
        point == "/" || path.strip_prefix(point).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The mount that holds `path`: the last one with the longest mount point above it.
pub fn covering<'a>(mounts: &'a [MountLine], path: &str) -> Option<&'a MountLine> {
    mounts.iter().filter(|mount| mount.holds(path)).max_by_key(|mount| mount.mount_point.len())
}

/// Writes a small file into `folder` the careful way (temporary file, fsync, rename) and reads it back.
/// The folder is made if it is missing. Blocks for as long as the file system hangs.
///
/// # Errors
/// When any of it fails or the text read is not the text written.
pub fn probe_write(folder: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join("canary");
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    let read = fs::read(&path)?;
    if read == text.as_bytes() { Ok(()) } else { Err(io::Error::other("read other bytes than were written")) }
}

/// Appends to a new file in `folder` and syncs after every write, as a database's log does; gives how long each write with its
/// sync took. Ends after `writes` or when `limit` is over; the file is removed.
///
/// # Errors
/// When a write or a sync fails.
pub fn measure_sync(
    folder: &Path,
    write_bytes: usize,
    writes: usize,
    limit: Duration,
) -> io::Result<Vec<Duration>> {
    let mut file = tempfile::Builder::new().prefix(".metalstrap-sync-").tempfile_in(folder)?;
    let bytes = vec![0x5a; write_bytes];
    let begin = crate::clock::monotonic()?;
    let mut took = Vec::with_capacity(writes);
    let mut last = begin;
    while took.len() < writes && last.saturating_sub(begin) < limit {
        file.write_all(&bytes)?;
        file.as_file().sync_data()?;
        let now = crate::clock::monotonic()?;
        took.push(now.saturating_sub(last));
        last = now;
    }
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::{covering, measure_sync, parse_mountinfo, probe_write, read_mountinfo, read_room};
    use std::path::Path;

    const TABLE: &str = "\
22 1 0:20 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/ro,upperdir=/rw\n\
30 22 8:5 /var /var rw,noatime shared:9 - ext4 /dev/sda5 rw,errors=remount-ro,emergency_ro\n\
31 30 0:33 / /var/lib/a\\040b rw - tmpfs tmpfs rw\n\
no mount line at all\n";

    #[test]
    fn measures_every_write_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let took = measure_sync(dir.path(), 2300, 5, std::time::Duration::from_secs(600)).unwrap();
        assert_eq!(took.len(), 5);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(
            measure_sync(dir.path(), 2300, 5, std::time::Duration::ZERO).unwrap(),
            Vec::<std::time::Duration>::new()
        );
        assert!(measure_sync(&dir.path().join("none"), 1, 1, std::time::Duration::ZERO).is_err());
    }

    #[test]
    fn finds_the_mount_that_holds_a_path() {
        let mounts = parse_mountinfo(TABLE);
        assert_eq!(mounts.len(), 3);
        let point = |path: &str| covering(&mounts, path).map(|m| m.mount_point.clone()).unwrap();
        assert_eq!(point("/var/lib/metalstrap"), "/var");
        assert_eq!(point("/various"), "/");
        assert_eq!(point("/var/lib/a b"), "/var/lib/a b");
        assert!(covering(&mounts, "/var").unwrap().super_options.contains(&"emergency_ro".to_owned()));
    }

    #[test]
    fn reads_the_wanted_lines_of_a_long_table_and_refuses_an_endless_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mountinfo");
        let overlay = format!(
            "40 22 0:50 / /run/\u{e4}/merged rw - overlay overlay rw,lowerdir={}\n",
            "l".repeat(4000)
        );
        let mut table = overlay.repeat(600).into_bytes();
        table.extend(b"41 22 0:51 / /run/\xff rw - tmpfs tmpfs rw\n");
        table.extend(TABLE.as_bytes());
        assert!(table.len() > 2 * 1024 * 1024);
        std::fs::write(&path, &table).unwrap();
        let kept = read_mountinfo(&path, |mount| mount.holds("/var/lib/metalstrap")).unwrap();
        assert_eq!(kept, parse_mountinfo(TABLE)[..2]);
        std::fs::write(&path, vec![b'x'; 33 * 1024 * 1024]).unwrap();
        let error = read_mountinfo(&path, |_| false).unwrap_err();
        assert_eq!(error.to_string(), "longer than 32 MiB");
        assert!(read_mountinfo(&folder.path().join("none"), |_| true).is_err());
    }

    #[test]
    fn room_is_never_more_than_the_size() {
        let room = read_room(Path::new("/")).unwrap();
        assert!(room.available_bytes <= room.total_bytes && room.total_bytes > 0, "{room:?}");
        assert!(read_room(Path::new("/no/such/folder")).is_err());
    }

    #[test]
    fn canary_is_written_once_and_leaves_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("agent");
        probe_write(&place, "one").unwrap();
        probe_write(&place, "two").unwrap();
        let names: Vec<_> = std::fs::read_dir(&place).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["canary"]);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(probe_write(&file, "x").is_err());
    }
}

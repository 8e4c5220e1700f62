//! Reading `/sys`, `/proc`, `/run` and `/etc` below a root that tests can move to a fixture tree.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest attribute that is read; longer ones are cut. `/proc/cpuinfo` of a large machine has a few hundred KiB.
const ATTRIBUTE_MAX_BYTES: u64 = 4 << 20;

/// The root of a system: `/`, or a fixture tree.
#[derive(Clone, Debug)]
pub struct SysRoot {
    root: PathBuf,
}

impl Default for SysRoot {
    fn default() -> Self {
        Self::new("/")
    }
}

impl SysRoot {
    /// A root; paths given to the readers are below it, with or without a leading slash.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The path below the root.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// An attribute without surrounding white space; `None` when it is absent, unreadable or empty (firmware fills in nothing).
    pub fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let text = self.read_raw(path)?;
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A file as it is, bytes that are not UTF-8 replaced; `None` when it is absent or unreadable.
    pub fn read_raw(&self, path: impl AsRef<Path>) -> Option<String> {
        self.read_bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A file as bytes; `None` when it is absent or unreadable.
    pub fn read_bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let path = self.path(path);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(ATTRIBUTE_MAX_BYTES).read_to_end(&mut bytes));
        match read {
            Ok(_) => Some(bytes),
            Err(error) => {
                tracing::trace!(path = %path.display(), %error, "attribute not readable");
                None
            }
        }
    }

    /// An attribute as a number.
    pub fn read_number(&self, path: impl AsRef<Path>) -> Option<i64> {
        self.read(path)?.parse().ok()
    }

    /// Names in a folder, sorted; empty when it is absent.
    pub fn list(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Last part of what a link points to, such as the driver's name.
    pub fn link_name(&self, path: impl AsRef<Path>) -> Option<String> {
        let target = std::fs::read_link(self.path(path)).ok()?;
        target.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    /// Whole target of a link.
    pub fn link(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        std::fs::read_link(self.path(path)).ok()
    }

    /// True when something is there.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }
}

#[cfg(test)]
mod tests {
    use super::SysRoot;

    #[test]
    fn reads_below_the_root_and_trims() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("sys/a")).unwrap();
        std::fs::write(dir.path().join("sys/a/size"), " 42\n\0").unwrap();
        std::fs::write(dir.path().join("sys/a/blank"), " \n").unwrap();
        let sys = SysRoot::new(dir.path());
        assert_eq!(sys.read_number("/sys/a/size"), Some(42));
        assert_eq!(sys.read("sys/a/blank"), None);
        assert_eq!(sys.read("sys/a/none"), None);
        assert_eq!(sys.list("/sys/a"), ["blank", "size"]);
    }
}

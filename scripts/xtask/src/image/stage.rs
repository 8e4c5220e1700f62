//! Cached stages of an image build: a folder per key, made once, complete or absent.

use crate::host;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How many results of one stage are kept: that of this build and the one before.
const KEPT: usize = 2;

/// The key of a stage: a hash over all its inputs, each with its name.
#[derive(Clone, Default)]
pub struct Key(Sha256);

impl Key {
    /// A key for a stage; change `version` when the stage's own code changes its result.
    pub fn new(stage: &str, version: u32) -> Self {
        Self::default().with(stage, version.to_be_bytes())
    }

    /// Adds one input.
    #[must_use]
    pub fn with(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        // Lengths keep two different lists of inputs from being the same bytes.
        for part in [name.as_bytes(), content] {
            self.0.update((part.len() as u64).to_be_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds a file, or all files of a folder with their names and whether they can be executed.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn with_path(self, path: &Path) -> Result<Self> {
        let mut key = self;
        for entry in walk(path)? {
            let name = entry.strip_prefix(path).unwrap_or(&entry).to_string_lossy().into_owned();
            key = match std::fs::read_link(&entry) {
                Ok(to) => key.with(&name, to.to_string_lossy().as_bytes()),
                Err(_) => key.with(&name, read(&entry)?).with("mode", [u8::from(is_executable(&entry)?)]),
            };
        }
        Ok(key)
    }

    /// The key as it names a folder.
    pub fn text(&self) -> String {
        hex::encode(self.0.clone().finalize())[..24].to_owned()
    }
}

/// Files and symbolic links under a path (or the path itself), sorted.
///
/// # Errors
/// A folder cannot be read.
pub fn walk(path: &Path) -> Result<Vec<PathBuf>> {
    let meta = path.symlink_metadata().with_context(|| format!("reading {}", path.display()))?;
    if !meta.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))? {
        let entry = entry.with_context(|| format!("reading {}", path.display()))?;
        found.extend(walk(&entry.path())?);
    }
    found.sort();
    Ok(found)
}

/// True when the owner may execute the file.
///
/// # Errors
/// It cannot be read.
pub fn is_executable(path: &Path) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let meta = path.metadata().with_context(|| format!("reading {}", path.display()))?;
    Ok(meta.permissions().mode() & 0o100 != 0)
}

/// The content of a file.
///
/// # Errors
/// It cannot be read; the error names it.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Length and sha256 of a file.
///
/// # Errors
/// It cannot be read.
pub fn measure(path: &Path) -> Result<(u64, String)> {
    let mut file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut length = 0;
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        let count = file.read(&mut buffer).with_context(|| format!("reading {}", path.display()))?;
        if count == 0 {
            return Ok((length, hex::encode(hash.finalize())));
        }
        hash.update(buffer.get(..count).unwrap_or_default());
        length += count as u64;
    }
}

/// The folder of a stage's result: made by `make` in an empty folder if it is not there yet.
///
/// # Errors
/// What `make` says; nothing is left that a later build would take for a result.
pub fn ensure(
    cache: &Path,
    stage: &str,
    key: &Key,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<(PathBuf, bool)> {
    let folder = cache.join(stage);
    let done = folder.join(key.text());
    if done.is_dir() {
        touch(&done)?;
        return Ok((done, false));
    }
    let unfinished = folder.join("unfinished");
    remove(&unfinished)?;
    std::fs::create_dir_all(&unfinished).with_context(|| format!("making {}", unfinished.display()))?;
    make(&unfinished)?;
    std::fs::rename(&unfinished, &done).with_context(|| format!("renaming {}", unfinished.display()))?;
    prune(&folder, &done)?;
    Ok((done, true))
}

/// Removes a tree that root may own.
///
/// # Errors
/// It cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        host::output(host::privileged("rm").arg("-rf").arg("--").arg(path))?;
    }
    Ok(())
}

/// Marks a result as used now; [`prune`] goes by that.
fn touch(done: &Path) -> Result<()> {
    host::output(host::privileged("touch").arg("--").arg(done)).map(|_| ())
}

fn prune(folder: &Path, newest: &Path) -> Result<()> {
    let mut results = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
        if path != newest {
            results.push((path.metadata().and_then(|meta| meta.modified()).ok(), path));
        }
    }
    results.sort();
    let surplus = (results.len() + 1).saturating_sub(KEPT);
    results.iter().take(surplus).try_for_each(|(_, path)| remove(path))
}

#[cfg(test)]
mod tests {
    use super::{Key, ensure};
    use crate::host;

    #[test]
    fn key_changes_with_every_input_and_is_else_the_same() {
        let folder = tempfile::tempdir().unwrap();
        host::write(&folder.path().join("a/one"), "1").unwrap();
        let key = || Key::new("stage", 1).with("x", "y").with_path(folder.path()).unwrap().text();
        let first = key();
        assert_eq!(first, key());
        host::write(&folder.path().join("a/one"), "2").unwrap();
        assert_ne!(first, key());
        host::write(&folder.path().join("a/one"), "1").unwrap();
        assert_eq!(first, key());
        std::fs::rename(folder.path().join("a/one"), folder.path().join("a/two")).unwrap();
        assert_ne!(first, key());
        assert_ne!(Key::new("s", 1).with("ab", "c").text(), Key::new("s", 1).with("a", "bc").text());
    }

    #[test]
    fn stage_is_made_once_and_a_failed_one_is_no_result() {
        let cache = tempfile::tempdir().unwrap();
        let key = Key::new("stage", 1);
        let failed = ensure(cache.path(), "stage", &key, |folder| {
            host::write(&folder.join("half"), "")?;
            anyhow::bail!("power cut")
        });
        assert_eq!(failed.unwrap_err().to_string(), "power cut");
        let (done, made) =
            ensure(cache.path(), "stage", &key, |folder| host::write(&folder.join("whole"), "")).unwrap();
        assert!(made && done.join("whole").exists() && !done.join("half").exists());
        let (_, made) = ensure(cache.path(), "stage", &key, |_| anyhow::bail!("made twice")).unwrap();
        assert!(!made);
    }
}

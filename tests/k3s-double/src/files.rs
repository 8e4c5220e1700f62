//! Where files are, and how they are written: beside, then renamed.

use anyhow::{Context, Result};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Environment variable with a folder that stands for `/` in tests.
pub const ROOT_VARIABLE: &str = "K3S_DOUBLE_ROOT";

/// The paths of one node.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
    data: PathBuf,
}

impl Paths {
    /// Paths under `K3S_DOUBLE_ROOT`, or the real ones.
    pub fn from_env() -> Self {
        Self::under(std::env::var_os(ROOT_VARIABLE).map_or_else(|| PathBuf::from("/"), PathBuf::from))
    }

    /// Paths under a root folder.
    pub fn under(root: PathBuf) -> Self {
        Self { root, data: PathBuf::from("/var/lib/rancher/k3s") }
    }

    /// The same with another `data-dir`.
    pub fn with_data_dir(mut self, data: &str) -> Self {
        self.data = PathBuf::from(data);
        self
    }

    /// An absolute path of the node, under the root.
    pub fn at(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let absolute = absolute.as_ref();
        self.root.join(absolute.strip_prefix("/").unwrap_or(absolute))
    }

    /// A path under `data-dir`.
    pub fn data(&self, relative: &str) -> PathBuf {
        self.at(self.data.join(relative))
    }

    /// A path under `server/`.
    pub fn server(&self, relative: &str) -> PathBuf {
        self.data("server").join(relative)
    }

    /// A path under `server/tls/`.
    pub fn tls(&self, relative: &str) -> PathBuf {
        self.server("tls").join(relative)
    }

    /// A path under `agent/`.
    pub fn agent(&self, relative: &str) -> PathBuf {
        self.data("agent").join(relative)
    }

    /// The admin kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.at("/etc/rancher/k3s/k3s.yaml")
    }

    /// The pid file of the kube-vip stand-in.
    pub fn kube_vip_pid(&self) -> PathBuf {
        self.at("/run/k3s/double-kube-vip.pid")
    }
}

/// Writes a file with a mode: temporary file, fsync, rename. Makes the folder.
///
/// # Errors
/// I/O, with the path.
pub fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().context("path without a folder")?;
    make_dir(folder)?;
    let name = path.file_name().context("path without a name")?.to_string_lossy();
    let temp = folder.join(format!(".{name}.tmp"));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temp)
        .with_context(|| format!("creating {}", temp.display()))?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("writing {}", temp.display()))?;
    std::fs::rename(&temp, path).with_context(|| format!("replacing {}", path.display()))
}

/// Reads a text file.
///
/// # Errors
/// I/O, with the path.
pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Makes a folder and its parents.
///
/// # Errors
/// I/O, with the path.
pub fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))
}

/// Permission bits of a file.
///
/// # Errors
/// I/O, with the path.
pub fn mode(path: &Path) -> Result<u32> {
    let meta = std::fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(meta.permissions().mode() & 0o7777)
}

//! The data disks of a node: for each a check of its file system and a mount unit.
//!
//! Neither stops a boot: a node whose data disk is missing comes up, can be logged into and says what is wrong. k3s, which needs all of
//! them (see `k3s_unit`), stays down instead of filling the folder below the mount point.

use super::Input;
use super::error::RenderError;
use super::output::Output;
use super::text::{IniFile, word};
use crate::plan::data::PlannedDataDisk;
use crate::record::RecordedDataDisk;
use uuid::Uuid;

/// A file system of the node on a disk of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataMount {
    /// Where it is mounted.
    pub mount: String,
    /// PARTUUID of its partition.
    pub partition: Uuid,
}

impl From<&PlannedDataDisk> for DataMount {
    fn from(data: &PlannedDataDisk) -> Self {
        Self { mount: data.mount.clone(), partition: data.ids.data }
    }
}

impl From<&RecordedDataDisk> for DataMount {
    fn from(data: &RecordedDataDisk) -> Self {
        Self { mount: data.mount.clone(), partition: data.partition }
    }
}

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    for data in &input.context.data_mounts {
        let name = escape_path(word("mount point of a data disk", &data.mount, "/._-")?);
        let check = format!("metalstrap-fsck-{name}.service");
        let mount = format!("{name}.mount");
        output.file(&format!("/etc/systemd/system/{check}"), check_unit(data, &mount)?);
        output.file(&format!("/etc/systemd/system/{mount}"), mount_unit(data, &check)?);
        output.enable(&mount);
    }
    Ok(())
}

fn device(data: &DataMount) -> String {
    format!("/dev/disk/by-partuuid/{}", data.partition)
}

/// systemd's own check of a file system turns the machine into a rescue shell when it fails; this one only keeps the disk unmounted.
fn check_unit(data: &DataMount, mount: &str) -> Result<String, RenderError> {
    let device_unit = format!("{}.device", escape_path(&device(data)));
    IniFile::new()
        .section("Unit")
        .entry("Description", format!("check of the data disk for {}", data.mount))
        .entry("DefaultDependencies", "no")
        .entry("Requires", &device_unit)
        .entry("After", format!("{device_unit} local-fs-pre.target"))
        .entry("Before", format!("{mount} shutdown.target"))
        .entry("Conflicts", "shutdown.target")
        .section("Service")
        .entry("Type", "oneshot")
        .entry("RemainAfterExit", "yes")
        .entry("ExecStart", format!("/usr/sbin/e2fsck -p {}", device(data)))
        .entry("SuccessExitStatus", "1")
        .finish()
}

/// `nofail` only takes the mount out of the way of `local-fs.target`; who needs it says so.
fn mount_unit(data: &DataMount, check: &str) -> Result<String, RenderError> {
    IniFile::new()
        .section("Unit")
        .entry("Description", format!("data disk for {}", data.mount))
        .entry("Requires", check)
        .entry("After", check)
        .section("Mount")
        .entry("What", device(data))
        .entry("Where", &data.mount)
        .entry("Type", "ext4")
        .entry("Options", "rw,noatime,errors=remount-ro,nofail")
        .section("Install")
        .entry("WantedBy", "multi-user.target")
        .finish()
}

/// A path as systemd writes it in the name of a unit.
fn escape_path(path: &str) -> String {
    let mut name = String::new();
    for (at, byte) in path.trim_matches('/').bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if at == 0 => name.push_str("\\x2e"),
            b'.' | b'_' | b':' => name.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::escape_path;

    #[test]
    fn escapes_as_systemd_does() {
        for (path, name) in [
            ("/var/lib/rancher", "var-lib-rancher"),
            ("/var/lib/my-data", "var-lib-my\\x2ddata"),
            ("/var/lib/.a.b_c", "var-lib-.a.b_c"),
            (
                "/dev/disk/by-partuuid/00000000-0000-0000-0000-000000000007",
                "dev-disk-by\\x2dpartuuid-00000000\\x2d0000\\x2d0000\\x2d0000\\x2d000000000007",
            ),
        ] {
            assert_eq!(escape_path(path), name);
        }
    }
}

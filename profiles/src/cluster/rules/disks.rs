//! Disk selectors that no disk can fit, and data disks in places where none can be: better said now than by a machine in a rack.

use super::findings::Findings;
use super::view::{NodeView, View};
use crate::cluster::disk_table::DiskTable;
use crate::code::Code;
use crate::disk::{DATA_DISK_MIN_MIB, is_possible};
use crate::node::Role;
use crate::path::KeyPath;
use std::collections::BTreeMap;

/// The least `disk_min_mib` of any node: nothing smaller holds the partitions.
const LAYOUT_MIN_MIB: u64 = 4608;

/// Folders of `/var/lib` that the system needs before any data disk is mounted, or that come with the image.
const SYSTEM_FOLDERS: [&str; 11] =
    ["apt", "chrony", "dbus", "dpkg", "metalstrap", "misc", "pam", "polkit-1", "private", "systemd", "ucf"];

/// Where k3s keeps everything.
const K3S_FOLDER: &str = "/var/lib/rancher";

/// The system disk and the data disks of a node, with where they are written.
pub(super) fn tables(node: &NodeView) -> impl Iterator<Item = (&DiskTable, KeyPath)> {
    let data = node.entry.data_disks.iter().enumerate();
    let data = data.map(|(n, entry)| (&entry.disk, node.path.key("data_disks").index(n).key("disk")));
    std::iter::once((&node.entry.disk, node.path.key("disk"))).chain(data)
}

/// Every selector can be fitted by some disk.
pub(super) fn selectors(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for (number, (disk, path)) in view.nodes.iter().flat_map(|node| tables(node).enumerate()) {
        let (least_mib, what) =
            if number == 0 { (LAYOUT_MIN_MIB, "a node") } else { (DATA_DISK_MIN_MIB, "a data disk") };
        if let Some(size) = &disk.size {
            let why = if size.is_empty() {
                Some("no size lies in this range".to_owned())
            } else if size.most_bytes() >> 20 < least_mib {
                Some(format!("no disk of this size can hold {what}: {least_mib} MiB are needed"))
            } else {
                None
            };
            if let Some(why) = why {
                findings.value(Code::DiskSelector, &path.key("size"), why);
            }
        }
        excludes(disk.kind.zip(disk.transport), &path, findings);
    }
}

/// Data disks are mounted in different places, none of them one that the system or the role cannot have there.
pub(super) fn data_mounts(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for node in &view.nodes {
        let mut seen: BTreeMap<&str, KeyPath> = BTreeMap::new();
        for (number, entry) in node.entry.data_disks.iter().enumerate() {
            let (mount, path) =
                (entry.mount.as_str(), node.path.key("data_disks").index(number).key("mount"));
            if let Some(first) = seen.get(mount) {
                findings.value(
                    Code::DataMount,
                    &path,
                    format!("`{mount}` is already given at {}", view.place(first)),
                );
                continue;
            }
            let top = mount.split('/').nth(3).unwrap_or_default();
            if SYSTEM_FOLDERS.contains(&top) {
                let message = format!("`/var/lib/{top}` belongs to the system and is never a data disk");
                findings.value(Code::DataMount, &path, message);
            } else if node.is(Role::Proxy) && (mount == K3S_FOLDER || mount.starts_with("/var/lib/rancher/"))
            {
                let message = format!("a proxy runs no k3s and has nothing to keep in `{mount}`");
                findings.value(Code::DataMount, &path, message);
            }
            seen.insert(mount, path);
        }
    }
}

fn excludes(
    both: Option<(crate::disk::DiskKind, crate::disk::DiskTransport)>,
    path: &KeyPath,
    findings: &mut Findings<'_, '_>,
) {
    if let Some((kind, transport)) = both.filter(|(kind, transport)| !is_possible(*kind, *transport)) {
        let message = format!("no `{}` disk is attached by `{}`", kind.as_str(), transport.as_str());
        findings.value(Code::DiskSelector, &path.key("transport"), message);
    }
}

//! Disk selectors that no disk can fit: better said now than by a machine in a rack.

use super::findings::Findings;
use super::view::View;
use crate::code::Code;
use crate::disk::is_possible;
use crate::path::KeyPath;

/// The least `disk_min_mib` of any node: nothing smaller holds the partitions.
const LAYOUT_MIN_MIB: u64 = 4608;

/// Every selector can be fitted by some disk.
pub(super) fn selectors(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for node in &view.nodes {
        let (disk, path) = (&node.entry.disk, node.path.key("disk"));
        if let Some(size) = &disk.size {
            let why = if size.is_empty() {
                Some("no size lies in this range".to_owned())
            } else if size.most_bytes() >> 20 < LAYOUT_MIN_MIB {
                Some(format!("no disk of this size can hold a node: {LAYOUT_MIN_MIB} MiB are needed"))
            } else {
                None
            };
            if let Some(why) = why {
                findings.value(Code::DiskSelector, &path.key("size"), why);
            }
        }
        excludes(node.entry.disk.kind.zip(disk.transport), &path, findings);
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

//! What the plan takes from the inventory and from the disk that was chosen.

use super::data::DataChoice;
use super::{Nic, PlannedDisk};
use crate::disks::{DataTarget, TargetDisk};
use crate::inventory::Inventory;

/// The real Ethernet ports of the machine that have an address.
pub fn machine_nics(inventory: &Inventory) -> Vec<Nic> {
    let nic = |nic: &crate::inventory::Nic| {
        Some(Nic { name: nic.name.clone(), mac: nic.mac?, carrier: nic.carrier })
    };
    inventory.ports().filter_map(nic).collect()
}

impl From<&TargetDisk> for PlannedDisk {
    fn from(target: &TargetDisk) -> Self {
        let disk = target.disk();
        Self {
            path: disk.path.clone(),
            serial: target.serial().to_owned(),
            by_id: disk.by_id.first().cloned(),
            sequence: disk.sequence,
            model: disk.model.clone().unwrap_or_default(),
            size_bytes: disk.size_bytes,
            sector_bytes: disk.logical_sector_bytes,
            reason: target.reason().to_owned(),
        }
    }
}

impl From<&DataTarget> for DataChoice {
    fn from(data: &DataTarget) -> Self {
        Self { mount: data.mount().to_owned(), disk: data.target().into(), kept: data.kept().cloned() }
    }
}

//! The identities an install gives to its disk: GPT GUIDs, file system ids. All derived from one install id, so that
//! a plan with a derived install id is the same in every run and an install with a random one never repeats.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Namespace of every derived identity of this project.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d65_7461_6c73_4172_8061_7000_0000_0001);

/// The identities of one install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallIds {
    /// Identity of this install; stands in the unfinished mark and in the install record.
    pub install: Uuid,
    /// GUID of the partition table.
    pub disk: Uuid,
    /// PARTUUID of the BIOS boot partition.
    pub bios: Uuid,
    /// PARTUUID of the ESP.
    pub esp: Uuid,
    /// PARTUUID of root slot a.
    pub root_a: Uuid,
    /// PARTUUID of root slot b.
    pub root_b: Uuid,
    /// PARTUUID of the state partition.
    pub state: Uuid,
    /// UUID of the state's ext4.
    pub state_fs: Uuid,
    /// Volume id of the ESP's FAT, in GRUB's form `XXXX-XXXX`.
    pub esp_volume: String,
}

impl InstallIds {
    /// All identities of the install with this id.
    pub fn from_install(install: Uuid) -> Self {
        let derived = |name: &str| Uuid::new_v5(&install, name.as_bytes());
        let volume = derived("esp-volume");
        let [a, b, c, d, ..] = *volume.as_bytes();
        Self {
            install,
            disk: derived("disk"),
            bios: derived("bios"),
            esp: derived("esp"),
            root_a: derived("root-a"),
            root_b: derived("root-b"),
            state: derived("state"),
            state_fs: derived("state-fs"),
            esp_volume: format!("{a:02X}{b:02X}-{c:02X}{d:02X}"),
        }
    }

    /// The identities shown by `metalstrap plan`: the same for the same node on the same disk.
    pub fn for_plan(cluster: &str, hostname: &str, disk_serial: &str) -> Self {
        let name = format!("{cluster}\n{hostname}\n{disk_serial}");
        Self::from_install(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }

    /// The identities of a real install: new every time.
    pub fn random() -> Self {
        Self::from_install(Uuid::new_v4())
    }
}

#[cfg(test)]
mod tests {
    use super::InstallIds;
    use std::collections::BTreeSet;

    #[test]
    fn the_same_node_on_the_same_disk_gets_the_same_identities() {
        let ids = InstallIds::for_plan("lab", "master-1", "S1");
        assert_eq!(ids, InstallIds::for_plan("lab", "master-1", "S1"));
        assert_ne!(ids, InstallIds::for_plan("lab", "master-1", "S2"));
        assert_ne!(ids, InstallIds::for_plan("labm", "aster-1", "S1"));
    }

    #[test]
    fn no_identity_is_used_twice() {
        let ids = InstallIds::random();
        let all = BTreeSet::from([
            ids.install,
            ids.disk,
            ids.bios,
            ids.esp,
            ids.root_a,
            ids.root_b,
            ids.state,
            ids.state_fs,
        ]);
        assert_eq!(all.len(), 8);
        assert_eq!(ids.esp_volume.len(), 9);
    }
}

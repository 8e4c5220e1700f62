//! The ids of all preflight checks: stable names shared by the cluster file (`[preflight] skip`), the installer, which makes
//! the checks, and the health agent, which uses the same id where it watches the same thing on a running node.
//!
//! What a check looks at and how it judges is the installer's business (`installer/src/preflight/`).

/// A preflight check by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckId {
    /// The id, such as `memory.size`.
    pub name: &'static str,
    /// Whether an operator may leave the check out. What protects data or secrets, and what an install cannot do without,
    /// may not be left out.
    pub skippable: bool,
}

macro_rules! ids {
    ($($constant:ident $name:literal $skippable:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`.")]
            pub const $constant: CheckId = CheckId { name: $name, skippable: $skippable };
        )*

        /// Every preflight check, in the order in which they are shown.
        pub const ALL: &[CheckId] = &[$($constant,)*];
    };
}

ids! {
    CPU_LEVEL "cpu.level" true;
    CPU_CORES "cpu.cores" true;
    CPU_STEAL "cpu.steal" true;
    MEMORY_SIZE "memory.size" false;
    MEMORY_ERRORS "memory.errors" true;
    FIRMWARE_LOADER "firmware.loader" true;
    FIRMWARE_SECURE_BOOT "firmware.secure-boot" true;
    FIRMWARE_IDENTITY "firmware.identity" true;
    HARDWARE_MESSAGES "hardware.messages" true;
    HARDWARE_TEMPERATURE "hardware.temperature" true;
    RANDOM_READY "random.ready" true;
    DISK_CHOICE "disk.choice" false;
    DISK_UNCHANGED "disk.unchanged" false;
    DISK_STATE_ROOM "disk.state-room" false;
    DISK_ROTATIONAL "disk.rotational" true;
    DISK_HEALTH "disk.health" true;
    DISK_WEAR "disk.wear" true;
    DISK_MEDIA_ERRORS "disk.media-errors" true;
    DISK_TEMPERATURE "disk.temperature" true;
    DISK_OTHER_INSTALL "disk.other-install" true;
    DISK_FSYNC "disk.fsync" true;
    NETWORK_PORTS "network.ports" false;
    NETWORK_SAME_MAC "network.same-mac" true;
    NETWORK_CARRIER "network.carrier" true;
    NETWORK_ADDRESS "network.address" true;
    NETWORK_VIP "network.vip" true;
    NETWORK_SPEED "network.speed" true;
    NETWORK_DUPLEX "network.duplex" true;
    NETWORK_MTU "network.mtu" true;
    NETWORK_GATEWAY "network.gateway" true;
    NETWORK_DNS "network.dns" true;
    NETWORK_PATH_MTU "network.path-mtu" true;
    NETWORK_DRIVER "network.driver" true;
    NETWORK_FIRMWARE "network.firmware" true;
    NETWORK_RANGES "network.ranges" true;
    CLOCK_FLOOR "clock.floor" true;
    CLOCK_CEILING "clock.ceiling" true;
    CLOCK_RTC "clock.rtc" true;
    CLOCK_SYNC "clock.sync" true;
    NTP_SERVERS "ntp.servers" true;
    NTP_OFFSET "ntp.offset" true;
    TIME_ZONE "time.zone" true;
    CLUSTER_TOKENS "cluster.tokens" false;
    CLUSTER_PLAN "cluster.plan" false;
    CLUSTER_SECOND "cluster.second" true;
    CLUSTER_CA "cluster.ca" false;
    VIP_REACH "vip.reach" true;
    MEDIUM_READABLE "medium.readable" false;
    MEDIUM_FILES "medium.files" false;
    MEDIUM_HASHES "medium.hashes" false;
    MEDIUM_SLOT "medium.slot" false;
    MEDIUM_SAME_IMAGE "medium.same-image" true;
    IMAGE_UNITS "image.units" false;
    IMAGE_LOADERS "image.loaders" false;
    IMAGE_TOOLS "image.tools" false;
    IMAGE_SCRATCH "image.scratch" true;
    KERNEL_MODULES "kernel.modules" true;
    KERNEL_FILE_SYSTEMS "kernel.file-systems" false;
    KERNEL_CGROUPS "kernel.cgroups" true;
    KERNEL_FEATURES "kernel.features" true;
    KERNEL_SYSCTLS "kernel.sysctls" true;
    KERNEL_TAINT "kernel.taint" true;
    FIREWALL_RULES "firewall.rules" true;
}

/// Likeness from which on an id is worth suggesting.
const SUGGEST_FROM: f64 = 0.6;

/// The check with this id.
pub fn find(name: &str) -> Option<CheckId> {
    ALL.iter().copied().find(|id| id.name == name)
}

/// What is wrong with leaving out the check of this id, in a few words; `None` when it may be left out.
pub fn why_not_skippable(name: &str) -> Option<String> {
    match find(name) {
        Some(id) if id.skippable => None,
        Some(_) => Some(
            "it cannot be left out: without it data would be at risk or the install could not end".to_owned(),
        ),
        None => Some(format!("there is no such check{}", suggestion(name))),
    }
}

fn suggestion(name: &str) -> String {
    let rated = ALL.iter().map(|id| (strsim::normalized_damerau_levenshtein(name, id.name), id.name));
    let best = rated.filter(|(likeness, _)| *likeness >= SUGGEST_FROM).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, name)| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{ALL, why_not_skippable};
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_well_formed() {
        let mut seen = BTreeSet::new();
        for id in ALL {
            let parts: Vec<&str> = id.name.split('.').collect();
            assert_eq!(parts.len(), 2, "{}", id.name);
            let good =
                |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            assert!(parts.iter().all(good), "{}", id.name);
            assert!(seen.insert(id.name), "{} twice", id.name);
        }
        assert!(ALL.len() >= 40);
    }

    #[test]
    fn what_protects_data_and_what_does_not_exist_cannot_be_left_out() {
        assert_eq!(why_not_skippable("cpu.cores"), None);
        assert_eq!(
            why_not_skippable("disk.choice").unwrap(),
            "it cannot be left out: without it data would be at risk or the install could not end"
        );
        assert_eq!(
            why_not_skippable("cpu.core").unwrap(),
            "there is no such check (did you mean `cpu.cores`?)"
        );
        assert_eq!(why_not_skippable("xyzzy").unwrap(), "there is no such check");
    }
}

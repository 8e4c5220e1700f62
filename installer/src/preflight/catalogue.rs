//! The list of all preflight checks. A new check is its id in `profiles::preflight`, an entry in `checks/` and one line here.

use super::checks::{
    api, clock, cpu, disk_age, disk_choice, disk_speed, firewall, firmware, hardware, image, kernel, links,
    medium, memory, nodes, ntp, ports, segment,
};
use super::model::Check;

/// Every check, in the order of the report and of the refusals.
pub const CATALOGUE: &[&Check] = &[
    &cpu::LEVEL,
    &cpu::CORES,
    &cpu::STEAL,
    &memory::SIZE,
    &memory::ERRORS,
    &firmware::LOADER,
    &firmware::SECURE_BOOT,
    &firmware::IDENTITY,
    &hardware::MESSAGES,
    &hardware::TEMPERATURE,
    &hardware::RANDOM,
    &disk_choice::CHOICE,
    &disk_choice::UNCHANGED,
    &disk_choice::STATE_ROOM,
    &disk_speed::ROTATIONAL,
    &disk_choice::HEALTH,
    &disk_age::WEAR,
    &disk_age::MEDIA_ERRORS,
    &disk_age::TEMPERATURE,
    &disk_choice::OTHER_INSTALL,
    &disk_speed::FSYNC,
    &ports::PORTS,
    &ports::SAME_MAC,
    &segment::CARRIER,
    &segment::ADDRESS,
    &segment::VIP,
    &ports::SPEED,
    &ports::DUPLEX,
    &ports::MTU,
    &segment::GATEWAY,
    &segment::DNS,
    &segment::PATH_MTU,
    &links::DRIVER,
    &links::FIRMWARE,
    &links::RANGES,
    &clock::FLOOR,
    &clock::CEILING_CHECK,
    &clock::RTC,
    &clock::SYNC,
    &ntp::SERVERS,
    &ntp::OFFSET,
    &clock::ZONE,
    &nodes::TOKENS,
    &nodes::PLAN,
    &api::SECOND,
    &api::CA,
    &api::REACH,
    &medium::READABLE,
    &medium::FILES,
    &medium::HASHES,
    &medium::SLOT,
    &medium::SAME_IMAGE,
    &image::UNITS,
    &image::LOADERS,
    &image::TOOLS,
    &image::SCRATCH,
    &kernel::MODULES,
    &kernel::FILE_SYSTEMS_CHECK,
    &kernel::CGROUPS,
    &kernel::FEATURES_CHECK,
    &kernel::SYSCTLS,
    &kernel::TAINT,
    &firewall::RULES,
];

#[cfg(test)]
mod tests {
    use super::CATALOGUE;
    use profiles::preflight::ALL;

    #[test]
    fn the_ids_are_those_of_the_shared_list_in_its_order() {
        let names: Vec<&str> = CATALOGUE.iter().map(|check| check.id.name).collect();
        let shared: Vec<&str> = ALL.iter().map(|id| id.name).collect();
        assert_eq!(names, shared);
    }

    #[test]
    fn classes_stand_together_and_every_text_says_something() {
        assert!(CATALOGUE.windows(2).all(|pair| pair[0].class <= pair[1].class));
        for check in CATALOGUE {
            for text in [check.title, check.source, check.limits, check.why, check.remedy] {
                assert!(text.len() > 8 && !text.ends_with('.'), "{}: {text}", check.id.name);
            }
            assert!(check.codes.iter().all(|code| code.starts_with("E_")), "{}", check.id.name);
        }
    }
}

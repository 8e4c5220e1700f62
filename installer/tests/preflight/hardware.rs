use crate::world::{Case, case, unknown};
use installer::inventory::Firmware;
use installer::preflight::Outcome::{CouldNotRun, Fail, NotApplicable, Pass, Warn};
use installer::preflight::{KernelMessages, Sensor};

const NO_NODE: &str = "no cluster file says what this machine is to become";

pub const CASES: &[Case] = &[
    case("cpu.level", |_| {}, Pass, "x86-64-v3"),
    case("cpu.level", |w| w.inventory.cpu.level = Some("x86-64-v1".to_owned()), Warn, "x86-64-v1"),
    case(
        "cpu.level",
        |w| w.inventory.cpu.level = None,
        CouldNotRun,
        "the features of the processor are not known",
    ),
    case("cpu.cores", |w| w.inventory.cpu.cores = 2, Pass, "2"),
    case("cpu.cores", |w| w.inventory.cpu.cores = 1, Warn, "1, a master should have 2"),
    case(
        "cpu.cores",
        |w| {
            w.become_node("worker-1");
            w.inventory.cpu.cores = 1;
        },
        Pass,
        "1",
    ),
    case(
        "cpu.cores",
        |w| w.inventory.cpu.cores = 0,
        CouldNotRun,
        "the kernel does not tell how many processors there are",
    ),
    case("cpu.cores", |w| w.forget_node(), CouldNotRun, NO_NODE),
    case("cpu.steal", |_| {}, NotApplicable, "no virtual machine"),
    case(
        "cpu.steal",
        |w| w.inventory.virtualisation = Some("kvm".to_owned()),
        Pass,
        "0.5 % stolen since boot",
    ),
    case(
        "cpu.steal",
        |w| {
            w.inventory.virtualisation = Some("kvm".to_owned());
            w.facts.steal_percent = Ok(10.1);
        },
        Warn,
        "10.1 % stolen since boot",
    ),
    case(
        "cpu.steal",
        |w| {
            w.inventory.virtualisation = Some("kvm".to_owned());
            w.facts.steal_percent = unknown();
        },
        CouldNotRun,
        "nobody could look",
    ),
    case("memory.size", |w| w.inventory.memory_mib = 1792, Pass, "1792 MiB, 1792 are needed"),
    case(
        "memory.size",
        |w| w.inventory.memory_mib = 1791,
        Fail,
        "this machine has 1791 MiB of usable memory, this node needs 1792 MiB; add memory or lower memory_min_mib",
    ),
    case("memory.size", |w| w.forget_node(), CouldNotRun, NO_NODE),
    case("memory.errors", |_| {}, Pass, "no errors to speak of"),
    case(
        "memory.errors",
        |w| w.facts.memory_controllers.as_mut().unwrap()[0].corrected = 10,
        Warn,
        "mc0: 10 corrected, 0 uncorrected errors",
    ),
    case(
        "memory.errors",
        |w| w.facts.memory_controllers.as_mut().unwrap()[0].uncorrected = 1,
        Fail,
        "the memory makes errors that cannot be corrected (mc0: 2 corrected, 1 uncorrected errors)",
    ),
    case(
        "memory.errors",
        |w| w.facts.memory_controllers = Ok(vec![]),
        CouldNotRun,
        "no driver tells of memory errors on this machine (EDAC)",
    ),
    case(
        "memory.errors",
        |w| w.inventory.virtualisation = Some("kvm".to_owned()),
        NotApplicable,
        "a virtual machine has no memory controller",
    ),
    case("firmware.loader", |_| {}, Pass, "64-bit UEFI"),
    case(
        "firmware.loader",
        |w| w.inventory.firmware = Firmware::Bios,
        Pass,
        "BIOS, and a disk with 512-byte sectors",
    ),
    case(
        "firmware.loader",
        |w| w.facts.efi_bits = Ok(Some(32)),
        Fail,
        "the firmware is 32-bit UEFI, the boot loader is made for 64-bit UEFI and for BIOS",
    ),
    case(
        "firmware.loader",
        |w| {
            w.inventory.firmware = Firmware::Bios;
            w.inventory.disks[0].logical_sector_bytes = 4096;
            w.plan();
        },
        Fail,
        "this machine was started by BIOS, which cannot start a disk with 4096-byte sectors; boot by UEFI",
    ),
    case(
        "firmware.loader",
        |w| w.facts.efi_bits = Ok(None),
        CouldNotRun,
        "the kernel does not tell the width of the firmware",
    ),
    case("firmware.secure-boot", |_| {}, Pass, "off"),
    case(
        "firmware.secure-boot",
        |w| w.inventory.secure_boot = Some(true),
        Pass,
        "on, the kernel is locked down (integrity)",
    ),
    case(
        "firmware.secure-boot",
        |w| {
            w.inventory.secure_boot = Some(true);
            w.facts.lockdown = Ok(Some("none".to_owned()));
        },
        Warn,
        "on, but the kernel is not locked down",
    ),
    case(
        "firmware.secure-boot",
        |w| w.inventory.secure_boot = None,
        CouldNotRun,
        "the variable SecureBoot cannot be read",
    ),
    case("firmware.secure-boot", |w| w.inventory.firmware = Firmware::Bios, NotApplicable, "started by BIOS"),
    case("firmware.identity", |_| {}, Pass, "1 of 1 identities fit"),
    case(
        "firmware.identity",
        |w| {
            w.inventory.dmi.serial = Some("NEW".to_owned());
            w.node.as_mut().unwrap().identity.serial = Some("OLD".to_owned());
        },
        Warn,
        "1 fit, but not serial OLD (the machine has NEW)",
    ),
    case("firmware.identity", |w| w.forget_node(), CouldNotRun, NO_NODE),
    case("hardware.messages", |_| {}, Pass, "no complaint"),
    case(
        "hardware.messages",
        |w| {
            let hardware_errors = vec!["mce: [Hardware Error]: x".to_owned(), "y".to_owned(), "z".to_owned()];
            w.facts.messages = Ok(KernelMessages { hardware_errors, ..KernelMessages::default() });
        },
        Warn,
        "mce: [Hardware Error]: x (and 2 more)",
    ),
    case("hardware.messages", |w| w.facts.messages = unknown(), CouldNotRun, "nobody could look"),
    case("hardware.temperature", |_| {}, Pass, "41 °C at most (coretemp)"),
    case(
        "hardware.temperature",
        |w| w.facts.sensors.as_mut().unwrap()[0].celsius = 90.0,
        Warn,
        "coretemp 90 °C",
    ),
    case(
        "hardware.temperature",
        |w| {
            w.facts.sensors.as_mut().unwrap().push(Sensor {
                name: "x".to_owned(),
                celsius: 89.0,
                critical: None,
            });
        },
        Pass,
        "89 °C at most (x)",
    ),
    case(
        "hardware.temperature",
        |w| w.facts.sensors = Ok(vec![]),
        CouldNotRun,
        "no sensor tells a temperature",
    ),
    case("random.ready", |_| {}, Pass, "256 bits"),
    case("random.ready", |w| w.facts.random_bits = Ok(255), Warn, "255 bits"),
    case("random.ready", |w| w.facts.random_bits = unknown(), CouldNotRun, "nobody could look"),
];

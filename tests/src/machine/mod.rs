//! A machine to boot: its description, the QEMU arguments made from it (pure), and the running machine.

mod arguments;
mod network;
mod switch;
mod trunk;
mod vm;

pub use arguments::qemu_arguments;
pub use network::{AGENT_GUEST_ADDRESS, Network, WEB_ADDRESS, free_port};
pub use switch::{PortTraffic, Switch};
pub use trunk::Trunk;
pub use vm::{Echo, Vm};

use std::path::PathBuf;

/// Firmware of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF without Secure Boot.
    Uefi,
}

/// How a drive is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A disk.
    Disk {
        /// What it is attached to.
        bus: Bus,
        /// Serial number the guest sees, at most 20 characters.
        serial: String,
        /// Bytes of a logical sector, 512 or 4096.
        sector_bytes: u16,
    },
    /// A SATA CD-ROM.
    Cd,
    /// A USB stick.
    Stick,
}

/// What a disk is attached to. SeaBIOS reads from SATA twice as fast as from virtio where there is no KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// virtio-blk, `/dev/vda`.
    Virtio,
    /// AHCI, `/dev/sda`; up to six with the CD, 512-byte sectors only.
    Sata,
    /// NVMe, `/dev/nvme0n1`.
    Nvme,
}

/// One drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// Id in QEMU's answers, such as `disk0`.
    pub id: String,
    /// The file behind it, raw.
    pub file: PathBuf,
    /// How it is attached.
    pub attachment: Attachment,
    /// Place in the firmware's boot order; lower is earlier.
    pub boot_order: Option<u8>,
    /// Whether the host forbids writes.
    pub read_only: bool,
    /// Sectors of 512 bytes that fail when they are read.
    pub unreadable_sectors: Vec<u64>,
}

impl Drive {
    /// A virtio disk with 512-byte sectors.
    pub fn disk(id: &str, file: impl Into<PathBuf>, serial: &str) -> Self {
        let attachment = Attachment::Disk { bus: Bus::Virtio, serial: serial.to_owned(), sector_bytes: 512 };
        Self::new(id, file.into(), attachment)
    }

    /// Attaches a disk to another bus; no effect on other drives.
    #[must_use]
    pub fn on(mut self, other: Bus) -> Self {
        if let Attachment::Disk { bus, .. } = &mut self.attachment {
            *bus = other;
        }
        self
    }

    /// A CD, read-only.
    pub fn cd(id: &str, file: impl Into<PathBuf>) -> Self {
        Self { read_only: true, ..Self::new(id, file.into(), Attachment::Cd) }
    }

    /// A USB stick, writable as sticks are.
    pub fn stick(id: &str, file: impl Into<PathBuf>) -> Self {
        Self::new(id, file.into(), Attachment::Stick)
    }

    fn new(id: &str, file: PathBuf, attachment: Attachment) -> Self {
        let id = id.to_owned();
        Self { id, file, attachment, boot_order: None, read_only: false, unreadable_sectors: Vec::new() }
    }

    /// Makes sectors fail when they are read.
    #[must_use]
    pub fn unreadable(mut self, sectors: &[u64]) -> Self {
        self.unreadable_sectors.extend(sectors);
        self
    }

    /// Puts it into the boot order.
    #[must_use]
    pub fn boot(mut self, order: u8) -> Self {
        self.boot_order = Some(order);
        self
    }

    /// Gives a disk logical sectors of another size; no effect on other drives.
    #[must_use]
    pub fn sectors(mut self, bytes: u16) -> Self {
        if let Attachment::Disk { sector_bytes, .. } = &mut self.attachment {
            *sector_bytes = bytes;
        }
        self
    }
}

/// A kernel started by QEMU itself, past firmware and boot loader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectKernel {
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initramfs.
    pub initrd: PathBuf,
    /// Kernel arguments.
    pub arguments: String,
}

/// Description of a machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Name: folder of its evidence under `target/vm/`.
    pub name: String,
    /// Firmware.
    pub firmware: Firmware,
    /// Memory.
    pub memory_mib: u32,
    /// Virtual CPUs.
    pub cpus: u32,
    /// DMI serial number.
    pub serial_number: Option<String>,
    /// Drives in the order the guest sees them.
    pub drives: Vec<Drive>,
    /// Its network card; `None` for a machine without.
    pub network: Option<Network>,
    /// Cards that have that network behind a switch, in the place of the one card.
    pub trunk: Option<Trunk>,
    /// Ethernet addresses of further cards, with no cable in.
    pub spare_cards: Vec<String>,
    /// Ethernet addresses of further cards, all on one segment with nobody else. For QEMU they are `neighbour0`, `neighbour1` and so on.
    pub neighbours: Vec<String>,
    /// The machine ends where another one would start again.
    pub ends_at_reboot: bool,
    /// Kernel started directly, instead of what firmware finds.
    pub kernel: Option<DirectKernel>,
    /// Hard limit: the machine is killed after so many seconds, whatever it does.
    pub limit_secs: u64,
    /// Console texts that are no failure here although they hold a bad sign.
    pub allowed_signs: Vec<&'static str>,
    /// Console texts at which every wait gives up at once.
    pub give_up_on: Vec<&'static str>,
}

impl Machine {
    /// A BIOS machine with 2 GiB, two CPUs, no drive and no network, killed after 15 minutes.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            firmware: Firmware::Bios,
            memory_mib: 2048,
            cpus: 2,
            serial_number: None,
            drives: Vec::new(),
            network: None,
            trunk: None,
            spare_cards: Vec::new(),
            neighbours: Vec::new(),
            ends_at_reboot: false,
            kernel: None,
            limit_secs: 900,
            allowed_signs: Vec::new(),
            give_up_on: vec!["metalstrap: stopped with exit code ", "metalstrap: cannot "],
        }
    }

    /// With other firmware.
    #[must_use]
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = firmware;
        self
    }

    /// With so much memory.
    #[must_use]
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// With one more drive.
    #[must_use]
    pub fn drive(mut self, drive: Drive) -> Self {
        self.drives.push(drive);
        self
    }

    /// With a network card.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }
}

//! QEMU's arguments for a machine. Pure.

use super::{Attachment, Bus, Drive, Firmware, Machine};
use crate::accel::Accel;
use std::path::Path;

/// OVMF's code, as Debian ships it; the variables are copied for each machine.
pub(super) const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// OVMF's empty variables.
pub(super) const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// The arguments after `qemu-system-x86_64`. `qmp` is the control socket, `vars` the machine's copy of OVMF's variables.
pub fn qemu_arguments(machine: &Machine, accel: Accel, qmp: &Path, vars: &Path) -> Vec<String> {
    let mut list = Arguments::default();
    list.0.extend(accel.arguments().map(str::to_owned));
    list.add("-nodefaults");
    list.add("-no-user-config");
    list.pair("-name", &machine.name);
    list.pair("-machine", "q35");
    list.pair("-m", &machine.memory_mib.to_string());
    list.pair("-smp", &machine.cpus.to_string());
    list.pair("-display", "none");
    list.pair("-vga", "std");
    list.pair("-chardev", "stdio,id=console,signal=off");
    list.pair("-serial", "chardev:console");
    list.pair("-qmp", &format!("unix:{},server=on,wait=off", escape(qmp)));
    list.pair("-device", "virtio-rng-pci");
    list.pair("-device", "qemu-xhci,id=usb");
    if let Some(serial) = &machine.serial_number {
        list.pair("-smbios", &format!("type=1,serial={}", serial.replace(',', ",,")));
    }
    if machine.firmware == Firmware::Uefi {
        list.pair("-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={OVMF_CODE}"));
        list.pair("-drive", &format!("if=pflash,format=raw,unit=1,file={}", escape(vars)));
    }
    let mut sata_ports = 0..SATA_PORTS;
    for drive in &machine.drives {
        list.drive(drive, &mut sata_ports);
    }
    if let Some(network) = &machine.network {
        list.pair("-netdev", &network.netdev());
        let order = boot_index(network.boot_order);
        match &machine.trunk {
            Some(trunk) => trunk.arguments().iter().for_each(|(option, value)| list.pair(option, value)),
            None => {
                list.pair("-device", &format!("virtio-net-pci,netdev=net0,mac={}{order}", network.mac));
            }
        }
    }
    for (number, mac) in machine.neighbours.iter().enumerate() {
        list.pair("-netdev", &format!("hubport,id=segment{number},hubid=1"));
        list.pair(
            "-device",
            &format!("virtio-net-pci,id=neighbour{number},netdev=segment{number},mac={mac}"),
        );
    }
    for mac in &machine.spare_cards {
        list.pair("-device", &format!("virtio-net-pci,mac={mac}"));
    }
    if machine.ends_at_reboot {
        list.add("-no-reboot");
    }
    if let Some(kernel) = &machine.kernel {
        list.pair("-kernel", &kernel.kernel.display().to_string());
        list.pair("-initrd", &kernel.initrd.display().to_string());
        list.pair("-append", &kernel.arguments);
    }
    list.0
}

/// Ports of the SATA controller that the machine type brings along.
const SATA_PORTS: u8 = 6;

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn add(&mut self, word: &str) {
        self.0.push(word.to_owned());
    }

    fn pair(&mut self, option: &str, value: &str) {
        self.add(option);
        self.add(value);
    }

    fn drive(&mut self, drive: &Drive, sata_ports: &mut std::ops::Range<u8>) {
        // QEMU puts every drive without a port on the first one, and a seventh is its error to tell.
        let mut port = || format!("bus=ide.{}", sata_ports.next().unwrap_or(SATA_PORTS));
        let Drive { id, .. } = drive;
        let read_only = if drive.read_only { ",readonly=on" } else { "" };
        // cache=unsafe: a machine that the harness kills leaves its writes in the host's page cache all the same.
        let head = format!("if=none,id={id},format=raw,cache=unsafe,discard=unmap{read_only}");
        self.pair("-drive", &format!("{head},{}", backing(drive)));
        let device = match &drive.attachment {
            Attachment::Disk { bus, serial, sector_bytes } => format!(
                "{},drive={id},serial={serial},logical_block_size={sector_bytes},physical_block_size={}",
                match bus {
                    Bus::Virtio => "virtio-blk-pci".to_owned(),
                    Bus::Sata => format!("ide-hd,{}", port()),
                    Bus::Nvme => "nvme".to_owned(),
                },
                (*sector_bytes).max(4096)
            ),
            Attachment::Cd => format!("ide-cd,{},drive={id}", port()),
            Attachment::Stick => format!("usb-storage,bus=usb.0,removable=on,drive={id}"),
        };
        self.pair("-device", &format!("{device}{}", boot_index(drive.boot_order)));
    }
}

/// The file behind a drive; with unreadable sectors, QEMU's fault injector between the two.
fn backing(drive: &Drive) -> String {
    let file = escape(&drive.file);
    if drive.unreadable_sectors.is_empty() {
        return format!("file={file}");
    }
    let faults = drive.unreadable_sectors.iter().enumerate().map(|(number, sector)| {
        let rule = format!("file.inject-error.{number}");
        format!(",{rule}.event=none,{rule}.iotype=read,{rule}.errno=5,{rule}.sector={sector}")
    });
    format!(
        "file.driver=blkdebug,file.image.driver=file,file.image.filename={file}{}",
        faults.collect::<String>()
    )
}

fn boot_index(order: Option<u8>) -> String {
    order.map(|order| format!(",bootindex={order}")).unwrap_or_default()
}

/// QEMU separates options by commas; one that belongs to a path is doubled.
fn escape(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::qemu_arguments;
    use crate::accel::Accel;
    use crate::machine::{Bus, DirectKernel, Drive, Firmware, Machine, Network};
    use std::path::{Path, PathBuf};

    fn text(machine: &Machine) -> String {
        qemu_arguments(machine, Accel::Tcg, Path::new("/t/qmp"), Path::new("/t/vars")).join(" ")
    }

    #[test]
    fn boots_an_iso_with_the_disk_before_it() {
        let machine = Machine::new("iso-bios")
            .drive(Drive::disk("disk0", "/t/disk,0", "MS0001").boot(0))
            .drive(Drive::cd("medium", "/t/a.iso").boot(1))
            .network(Network::new("52:54:00:00:00:11"));
        let text = text(&machine);
        assert!(text.starts_with("-accel tcg,thread=multi,tb-size=128 -cpu max -nodefaults "), "{text}");
        assert!(
            text.contains(
                "-drive if=none,id=disk0,format=raw,cache=unsafe,discard=unmap,file=/t/disk,,0 -device \
                 virtio-blk-pci,drive=disk0,serial=MS0001,logical_block_size=512,physical_block_size=4096,bootindex=0"
            ),
            "{text}"
        );
        assert!(
            text.contains("readonly=on,file=/t/a.iso -device ide-cd,bus=ide.0,drive=medium,bootindex=1"),
            "{text}"
        );
        assert!(text.ends_with("-device virtio-net-pci,netdev=net0,mac=52:54:00:00:00:11"), "{text}");
        assert!(!text.contains("pflash"), "{text}");
    }

    #[test]
    fn gives_each_sata_drive_a_port_of_its_own() {
        let machine = Machine::new("x")
            .drive(Drive::disk("a", "/t/a", "A").on(Bus::Sata))
            .drive(Drive::disk("b", "/t/b", "B").on(Bus::Nvme))
            .drive(Drive::cd("c", "/t/c"));
        let text = text(&machine);
        assert!(text.contains("-device ide-hd,bus=ide.0,drive=a,serial=A,logical_block_size=512,"), "{text}");
        assert!(text.contains("-device nvme,drive=b,serial=B,"), "{text}");
        assert!(text.contains("-device ide-cd,bus=ide.1,drive=c"), "{text}");
    }

    #[test]
    fn puts_the_fault_injector_before_a_file_with_unreadable_sectors() {
        let machine = Machine::new("x").drive(Drive::disk("broken", "/t/b", "S").unreadable(&[7, 900]));
        let text = text(&machine);
        assert!(
            text.contains(
                "file.driver=blkdebug,file.image.driver=file,file.image.filename=/t/b,\
                 file.inject-error.0.event=none,file.inject-error.0.iotype=read,file.inject-error.0.errno=5,\
                 file.inject-error.0.sector=7,file.inject-error.1.event=none,file.inject-error.1.iotype=read,\
                 file.inject-error.1.errno=5,file.inject-error.1.sector=900 "
            ),
            "{text}"
        );
    }

    #[test]
    fn puts_neighbours_on_one_segment_and_ends_at_a_reboot() {
        let mut machine = Machine::new("x");
        assert!(!text(&machine).contains("-no-reboot"));
        machine.neighbours = vec!["52:54:00:00:00:11".to_owned(), "52:54:00:00:00:12".to_owned()];
        machine.ends_at_reboot = true;
        let text = text(&machine);
        assert!(
            text.ends_with(
                "-netdev hubport,id=segment0,hubid=1 -device virtio-net-pci,id=neighbour0,netdev=segment0,mac=52:54:00:00:00:11 \
                 -netdev hubport,id=segment1,hubid=1 -device virtio-net-pci,id=neighbour1,netdev=segment1,mac=52:54:00:00:00:12 \
                 -no-reboot"
            ),
            "{text}"
        );
    }

    #[test]
    fn gives_uefi_its_own_variables_and_a_kernel_its_arguments() {
        let mut machine = Machine::new("x").firmware(Firmware::Uefi).memory_mib(768);
        machine = machine
            .drive(Drive::stick("stick", "/t/s").boot(1))
            .drive(Drive::disk("d", "/t/d", "S").sectors(4096));
        machine.kernel = Some(DirectKernel {
            kernel: PathBuf::from("/k"),
            initrd: PathBuf::from("/i"),
            arguments: "console=ttyS0 metalstrap.mode=wait".to_owned(),
        });
        let text = text(&machine);
        assert!(text.contains("unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"), "{text}");
        assert!(text.contains("unit=1,file=/t/vars"), "{text}");
        assert!(text.contains("-m 768 "), "{text}");
        assert!(text.contains("usb-storage,bus=usb.0,removable=on,drive=stick,bootindex=1"), "{text}");
        assert!(text.contains("logical_block_size=4096,physical_block_size=4096"), "{text}");
        assert!(text.ends_with("-kernel /k -initrd /i -append console=ttyS0 metalstrap.mode=wait"), "{text}");
    }
}

//! A live system on a machine that is installed already: writes nothing and starts the installed system.

use crate::apply::esp::Esp;
use crate::apply::partitions::partition_name;
use crate::exit::ExitCode;
use crate::inventory::{Disk, Inventory, sanitise};
use crate::plan::boot::{Slot, fresh_boot_state, parse_grubenv, slots_to_try};
use crate::refusal::Refusal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sysio::command::Cmd;
use sysio::files::create_folders;

/// Number of the ESP in our layout.
const ESP_NUMBER: u32 = 2;
/// Where kernel and initrd are put for the load; in memory.
const FOLDER: &str = "/run/metalstrap/handover";
/// Loading a kernel reads two files from memory.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

/// The disk on which this node is installed already, if there is exactly one.
///
/// # Errors
/// `E_INSTALLED_TWICE` with both disks, when two carry an install record of this node.
pub fn find_installed<'a>(
    inventory: &'a Inventory,
    cluster: &str,
    hostname: &str,
) -> Result<Option<&'a Disk>, Refusal> {
    let is_ours = |disk: &&Disk| {
        disk.install_record.as_ref().is_some_and(|r| r.cluster == cluster && r.hostname == hostname)
    };
    let found: Vec<&Disk> = inventory.disks.iter().filter(is_ours).collect();
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        several => {
            let message = format!(
                "{} disks carry an installed {hostname} of cluster {cluster}; detach all but the right one",
                several.len()
            );
            Err(Refusal::new("E_INSTALLED_TWICE", ExitCode::Environment, message)
                .with_details(several.iter().map(|disk| describe(disk))))
        }
    }
}

fn describe(disk: &Disk) -> String {
    let serial = disk.serial.as_deref().unwrap_or("unknown");
    let install = disk.install_record.as_ref().map(|r| r.install_id.to_string()).unwrap_or_default();
    format!("{} serial {}: install {install}", sanitise(&disk.path), sanitise(serial))
}

/// What is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Slot it comes from.
    pub slot: Slot,
    kernel: PathBuf,
    initrd: PathBuf,
    command_line: String,
}

/// Takes the kernel of the first slot that can be read. Only reads from the disk and mounts nothing.
///
/// # Errors
/// `E_HANDOVER` with what was tried.
pub fn fetch_kernel(disk: &Disk) -> Result<Kernel, Refusal> {
    let name = Path::new(&disk.path).file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let esp = Esp::new(Path::new("/dev").join(partition_name(name, ESP_NUMBER)));
    // GRUB does the same when its state cannot be read: any slot that has a kernel.
    let state = esp.read("/grub/grubenv").ok().and_then(|block| parse_grubenv(&block));
    let mut slots = slots_to_try(&state.unwrap_or_else(fresh_boot_state));
    slots.extend(Slot::ALL.into_iter().filter(|s| !slots.contains(s)).collect::<Vec<_>>());
    let mut tried = Vec::new();
    for slot in slots {
        match fetch_slot(&esp, slot) {
            Ok(kernel) => return Ok(kernel),
            Err(error) => tried.push(format!("slot {}: {error:#}", slot.name())),
        }
    }
    Err(refuse(format!("no kernel can be read from the system installed on {}", disk.path))
        .with_details(tried))
}

fn fetch_slot(esp: &Esp, slot: Slot) -> anyhow::Result<Kernel> {
    let folder = Path::new(FOLDER);
    create_folders(folder, 0o700)?;
    let (kernel, initrd) = (folder.join("vmlinuz"), folder.join("initrd"));
    let place = format!("/slots/{}", slot.name());
    for file in [&kernel, &initrd] {
        sysio::files::remove_if_there(file)?;
    }
    esp.get(&format!("{place}/vmlinuz"), &kernel)?;
    esp.get(&format!("{place}/initrd"), &initrd)?;
    let command_line = String::from_utf8(esp.read(&format!("{place}/cmdline"))?)?.trim().to_owned();
    Ok(Kernel { slot, kernel, initrd, command_line })
}

/// Loads the kernel: by the call that checks signatures, else by the older one.
///
/// # Errors
/// `E_HANDOVER` when neither works.
pub fn load_kernel(kernel: &Kernel) -> Result<(), Refusal> {
    let Err(first) = sysio::power::kexec_load(&kernel.kernel, &kernel.initrd, &kernel.command_line) else {
        return Ok(());
    };
    let second = Cmd::new("kexec")
        .arg("--load")
        .arg(&kernel.kernel)
        .arg(format!("--initrd={}", kernel.initrd.display()))
        .arg(format!("--command-line={}", kernel.command_line))
        .time_limit(LOAD_LIMIT)
        .run();
    second.map(drop).map_err(|second| {
        refuse("the installed kernel cannot be started from here; start the machine from its disk".to_owned())
            .with_details([first.to_string(), second.to_string()])
    })
}

fn refuse(message: String) -> Refusal {
    Refusal::new("E_HANDOVER", ExitCode::Environment, message)
}

#[cfg(test)]
mod tests {
    use super::find_installed;
    use crate::exit::ExitCode;
    use crate::inventory::{Inventory, parse_inventory};

    fn installed() -> Inventory {
        parse_inventory(include_str!("../../tests/fixtures/inventory/installed.json")).unwrap()
    }

    #[test]
    fn only_the_disk_of_this_node_of_this_cluster_is_handed_over_to() {
        let inventory = installed();
        let path =
            |cluster, host| find_installed(&inventory, cluster, host).unwrap().map(|d| d.path.as_str());
        assert_eq!(path("ha", "master-1"), Some("/dev/vda"));
        assert_eq!(path("ha", "master-2"), None);
        assert_eq!(path("lab", "master-1"), None);
    }

    #[test]
    fn two_disks_of_the_same_node_are_refused_with_both() {
        let mut inventory = installed();
        let mut copy = inventory.disks.iter().find(|d| d.install_record.is_some()).unwrap().clone();
        let install = copy.install_record.as_ref().unwrap().install_id;
        copy.path = "/dev/vdb".to_owned();
        copy.serial = None;
        inventory.disks.push(copy);
        let refusal = find_installed(&inventory, "ha", "master-1").unwrap_err();
        assert_eq!(refusal.exit, ExitCode::Environment);
        assert_eq!(
            refusal.to_string(),
            format!(
                "E_INSTALLED_TWICE: 2 disks carry an installed master-1 of cluster ha; detach all but the right one\n  \
                 /dev/vda serial MS-0001: install {install}\n  /dev/vdb serial unknown: install {install}"
            )
        );
    }
}

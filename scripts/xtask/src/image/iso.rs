//! The hybrid ISO: BIOS (El Torito and MBR), UEFI (Debian's signed shim and GRUB), and the config volume at its end.

use super::base::Base;
use super::{live, stage};
use crate::host;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Volume id of the ISO; the boot menu and the initramfs look for it.
const VOLUME: &str = "METALSTRAP_ISO";
/// Size of the EFI partition: shim, GRUB and MokManager are 5 MiB.
const EFI_MIB: u64 = 8;
/// Size of the config volume: the least that FAT16 makes sense for, far more than a cluster file needs.
const CONFIG_MIB: u64 = 16;
/// Name of the config volume.
const CONFIG_LABEL: &str = "METALSTRAP";
/// Name that xorriso gives the third partition of the table: by it `cargo xtask medium` finds the config volume.
pub const CONFIG_PARTITION: &str = "Appended3";
/// GPT type of the config volume, "basic data": Windows and macOS show it.
const BASIC_DATA: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";
/// GRUB modules in the core image for BIOS; the others are beside it on the ISO.
const CORE_MODULES: [&str; 5] = ["biosdisk", "iso9660", "part_gpt", "part_msdos", "normal"];
/// Where Debian's packages put GRUB for BIOS.
const GRUB_PC: &str = "usr/lib/grub/i386-pc";

/// Writes the ISO at `out`.
///
/// # Errors
/// A tool failed.
pub fn write(base: &Base, live_files: &Path, title: &str, out: &Path) -> Result<()> {
    let work =
        tempfile::tempdir_in(out.parent().unwrap_or(Path::new("."))).context("making a temporary folder")?;
    let iso = work.path().join("iso");
    copy_live(live_files, &iso.join("live"))?;
    let menu = read_template("grub/iso.cfg")?.replace("@TITLE@", title);
    host::write(&iso.join("boot/grub/grub.cfg"), menu)?;
    host::write(&iso.join(".disk/metalstrap"), format!("{title}\n"))?;
    write_bios(base, &iso)?;
    let efi = write_efi(base, work.path())?;
    let config = write_config_volume(base, work.path())?;

    let date = timestamp(base.seconds, "%Y%m%d%H%M%S00")?;
    let mut command = at(base, "xorriso");
    command.args(["-as", "mkisofs", "-quiet", "-no-pad", "-r", "-J", "-iso-level", "3", "-V", VOLUME]);
    command.arg(format!("--modification-date={date}"));
    command.args(["--set_all_file_dates", &date]);
    command.arg("--grub2-mbr").arg(base.tree.join(GRUB_PC).join("boot_hybrid.img"));
    command.args(["--mbr-force-bootable", "-partition_offset", "16"]);
    command.args(["-append_partition", "2", "0xef"]).arg(&efi);
    command.args(["-append_partition", "3", BASIC_DATA]).arg(&config);
    command.args(["-appended_part_as_gpt", "-c", "boot/boot.cat", "-b", "boot/grub/bios.img"]);
    command.args(["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "--grub2-boot-info"]);
    command.args(["-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot"]);
    command.arg("-o").arg(out).arg(&iso);
    host::output(&mut command).map(|_| ())
}

/// A command whose own times are that of the image.
fn at(base: &Base, program: &str) -> Command {
    let mut command = host::command(program);
    command.env("SOURCE_DATE_EPOCH", base.seconds.to_string()).env("TZ", "UTC");
    command
}

fn timestamp(seconds: i64, format: &str) -> Result<String> {
    Ok(jiff::Timestamp::from_second(seconds)?.strftime(format).to_string())
}

fn read_template(name: &str) -> Result<String> {
    let path = host::workspace().join("images").join(name);
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

fn copy_live(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for file in stage::walk(from)? {
        if let Some(name) = file.file_name() {
            live::link(&file, &to.join(name))?;
        }
    }
    Ok(())
}

fn write_bios(base: &Base, iso: &Path) -> Result<()> {
    let grub = base.tree.join(GRUB_PC);
    for file in stage::walk(&grub)? {
        let wanted = file.extension().is_some_and(|extension| extension == "mod" || extension == "lst");
        if let (true, Some(name)) = (wanted, file.file_name()) {
            host::write(&iso.join("boot/grub/i386-pc").join(name), stage::read(&file)?)?;
        }
    }
    let mut command = at(base, "grub-mkimage");
    command.arg("-d").arg(&grub).args(["-O", "i386-pc-eltorito", "-p", "/boot/grub", "-o"]);
    command.arg(iso.join("boot/grub/bios.img")).args(CORE_MODULES);
    host::output(&mut command).map(|_| ())
}

fn write_efi(base: &Base, work: &Path) -> Result<PathBuf> {
    let image = work.join("efi.img");
    make_fat(base, &image, EFI_MIB, "METALEFI", "4d455446")?;
    let stub = work.join("efi-stub.cfg");
    host::write(&stub, read_template("grub/efi-stub.cfg")?)?;
    let mut folders = at(base, "mmd");
    host::output(folders.arg("-i").arg(&image).args(["::/EFI", "::/EFI/BOOT", "::/EFI/debian"]))?;
    let packaged = |path: &str| base.tree.join(path);
    let files = [
        (packaged("usr/lib/shim/shimx64.efi.signed"), "::/EFI/BOOT/BOOTX64.EFI"),
        (packaged("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"), "::/EFI/BOOT/grubx64.efi"),
        (packaged("usr/lib/shim/mmx64.efi.signed"), "::/EFI/BOOT/mmx64.efi"),
        (stub, "::/EFI/debian/grub.cfg"),
    ];
    for (from, to) in files {
        host::output(at(base, "mcopy").arg("-i").arg(&image).arg(&from).arg(to))?;
    }
    Ok(image)
}

fn write_config_volume(base: &Base, work: &Path) -> Result<PathBuf> {
    let image = work.join("config.img");
    make_fat(base, &image, CONFIG_MIB, CONFIG_LABEL, "4d455453")?;
    let readme = work.join("README.txt");
    // Windows' editors of old want the carriage return.
    host::write(&readme, read_template("grub/config-volume.txt")?.replace('\n', "\r\n"))?;
    host::output(at(base, "mmd").arg("-i").arg(&image).arg("::/metalstrap"))?;
    host::output(at(base, "mcopy").arg("-i").arg(&image).arg(&readme).arg("::/README.txt"))?;
    Ok(image)
}

fn make_fat(base: &Base, image: &Path, mib: u64, label: &str, id: &str) -> Result<()> {
    host::write(image, "")?;
    let file = std::fs::OpenOptions::new().write(true).open(image)?;
    file.set_len(mib * 1024 * 1024).with_context(|| format!("sizing {}", image.display()))?;
    host::output(at(base, "/sbin/mkfs.vfat").args(["--invariant", "-n", label, "-i", id]).arg(image))
        .map(|_| ())
}

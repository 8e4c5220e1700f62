//! The recipe files, checked by the tools that read them.

use super::stage::{read, walk};
use crate::host;

/// Longest shell file that STYLE allows.
const SHELL_LINES_MAX: usize = 50;

fn shell_files() -> Vec<std::path::PathBuf> {
    let images = host::workspace().join("images");
    let mut files: Vec<_> = ["build", "initramfs/hooks", "initramfs/scripts", "overlay/usr/lib/metalstrap"]
        .iter()
        .flat_map(|folder| walk(&images.join(folder)).unwrap())
        .collect();
    files.retain(|file| {
        let text = String::from_utf8(read(file).unwrap()).unwrap();
        text.starts_with("#!/bin/sh") || text.contains("shellcheck shell=sh")
    });
    files
}

#[test]
fn shell_files_are_short_and_shellcheck_has_nothing_to_say() {
    let files = shell_files();
    assert!(files.len() >= 8, "{files:?}");
    for file in &files {
        let lines = String::from_utf8(read(file).unwrap()).unwrap().lines().count();
        assert!(lines <= SHELL_LINES_MAX, "{} has {lines} lines", file.display());
    }
    host::output(host::command("shellcheck").args(&files)).unwrap();
}

#[test]
fn shellcheck_does_find_a_fault() {
    let file = tempfile::Builder::new().suffix(".sh").tempfile().unwrap();
    host::write(file.path(), "#!/bin/sh\nrm $1\n").unwrap();
    assert!(host::output(host::command("shellcheck").arg(file.path())).is_err());
}

#[test]
fn dnsmasq_accepts_its_examples() {
    let pxe = host::workspace().join("images/pxe");
    for name in ["dnsmasq-proxy.conf", "dnsmasq-dhcp.conf"] {
        let file = format!("--conf-file={}", pxe.join(name).display());
        host::output(host::command("/usr/sbin/dnsmasq").args(["--test", &file])).unwrap();
    }
}

#[test]
fn grub_accepts_its_menus() {
    let grub = host::workspace().join("images/grub");
    for name in ["iso.cfg", "efi-stub.cfg", "netboot.cfg"] {
        host::output(host::command("grub-script-check").arg(grub.join(name))).unwrap();
    }
}

#[test]
fn systemd_accepts_the_units() {
    // The programs they start are only in the image: systemd-analyze gets the unit without them.
    let units = host::workspace().join("images/overlay/usr/lib/systemd/system");
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "metalstrap-install",
        "metalstrap-firewall",
        "metalstrap-firewall-minimal",
        "metalstrap-ssh-host-key",
    ] {
        let text = String::from_utf8(read(&units.join(format!("{name}.service"))).unwrap()).unwrap();
        let text: String = text
            .lines()
            .map(|line| match line.split_once('=') {
                Some((key @ ("ExecStart" | "ExecStartPost" | "ExecReload"), _)) => {
                    format!("{key}=/bin/true\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        let file = folder.path().join(format!("{name}.service"));
        host::write(&file, text).unwrap();
        host::output(
            host::command("systemd-analyze").args(["verify", "--man=no", "--recursive-errors=no"]).arg(&file),
        )
        .unwrap();
    }
}

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

/// A tree with what the last step on the Debian packages expects, and programs that would need a whole system, doing nothing.
fn tree_of_packages(tree: &std::path::Path) -> std::path::PathBuf {
    let folders = [
        "etc/ssh",
        "etc/nvme",
        "opt",
        "srv",
        "usr/lib",
        "usr/libexec",
        "usr/share",
        "var/lib/dpkg",
        "var/log",
    ];
    for folder in folders {
        std::fs::create_dir_all(tree.join("root").join(folder)).unwrap();
    }
    for program in ["chroot", "systemctl"] {
        let link = tree.join("bin").join(program);
        std::fs::create_dir_all(tree.join("bin")).unwrap();
        std::os::unix::fs::symlink("/bin/true", link).unwrap();
    }
    tree.join("root")
}

#[test]
fn what_is_written_outside_of_the_state_leads_below_var() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path().canonicalize().map(|tree| tree_of_packages(&tree)).unwrap();
    let path = format!("{}:{}", tree.path().join("bin").display(), std::env::var("PATH").unwrap());
    let script = host::workspace().join("images/build/customize-base.sh");
    host::output(host::command("sh").arg(&script).arg(&root).env("PATH", path)).unwrap();
    for (link, place) in
        [("opt", "var/opt"), ("srv", "var/srv"), ("usr/libexec/kubernetes", "var/lib/kubelet-plugins")]
    {
        assert_eq!(root.join(link).canonicalize().unwrap(), root.join(place), "{link}");
        let target = std::fs::read_link(root.join(link)).unwrap();
        assert!(target.is_relative(), "{link}: also the installer's view of the image finds it");
    }
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
        "metalstrap-shell",
        "metalstrap-install-failed",
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

#[test]
fn an_installer_that_is_gone_is_told_on_every_console() {
    let script = host::workspace().join("images/overlay/usr/lib/metalstrap/install-failed");
    let root = tempfile::tempdir().unwrap();
    let active = root.path().join("sys/class/tty/console/active");
    host::write(&root.path().join("dev/null"), "").unwrap();
    host::write(&active, "tty0 ttyS0\n").unwrap();
    host::output(host::command(script.to_str().unwrap()).arg(root.path())).unwrap();
    for console in ["tty0", "ttyS0"] {
        assert_eq!(
            String::from_utf8(read(&root.path().join("dev").join(console)).unwrap()).unwrap(),
            "metalstrap: stopped: the installer ended unexpectedly three times\r\n\
             metalstrap: nothing more is done; Alt+F2: journalctl -u metalstrap-install\r\n"
        );
    }
}

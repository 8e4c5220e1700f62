//! What must never stand on the console of a machine that works.

use crate::serial::SerialLine;

/// Texts that are a failure wherever they appear. Complaints that depend on the speed of the host (soft lockups,
/// RCU stalls) are not among them: an emulated CPU on a busy host earns them without fault of ours.
pub const BAD_SIGNS: &[&str] = &[
    // boot loader
    "error: out of memory",
    "alloc magic is broken",
    "error: no such partition",
    "grub rescue>",
    // kernel
    "Kernel panic",
    "Oops: ",
    "kernel BUG at",
    "BUG: unable to handle",
    "BUG: kernel NULL pointer",
    "general protection fault",
    "WARNING: CPU:",
    "I/O error, dev",
    "Buffer I/O error",
    "EXT4-fs error",
    "SQUASHFS error",
    "FAT-fs (vda2): error",
    "Initramfs unpacking failed",
    "oom-killer",
    "Out of memory: Killed process",
    "segfault at",
    "traps: ",
    // initramfs
    "(initramfs)",
    "Gave up waiting for",
    // systemd
    "emergency mode",
    "Entering rescue mode",
    "dumped core",
    "core dumped",
    "ordering cycle",
    "Failed to start ",
    "Dependency failed for ",
    "Timed out waiting for device",
    "Failed with result",
    "Failed to mount ",
    // Rust programs
    "panicked at",
];

/// One bad line.
#[derive(Clone, Debug, PartialEq)]
pub struct BadLine {
    /// The sign it contains.
    pub sign: &'static str,
    /// The line.
    pub line: SerialLine,
}

/// The bad sign in `text`, unless `allowed` holds a text that the line contains too.
pub fn bad_sign(text: &str, allowed: &[&str]) -> Option<&'static str> {
    let sign = BAD_SIGNS.iter().find(|sign| text.contains(**sign))?;
    (!allowed.iter().any(|known| text.contains(known))).then_some(*sign)
}

/// Every bad line, in order.
pub fn find_bad_lines(lines: &[SerialLine], allowed: &[&str]) -> Vec<BadLine> {
    lines
        .iter()
        .filter_map(|line| bad_sign(&line.text, allowed).map(|sign| BadLine { sign, line: line.clone() }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{BAD_SIGNS, bad_sign, find_bad_lines};
    use crate::serial::SerialLine;

    fn line(text: &str) -> SerialLine {
        SerialLine { secs: 1.0, text: text.to_owned() }
    }

    #[test]
    fn sees_each_sign_inside_a_line() {
        for sign in BAD_SIGNS {
            assert!(bad_sign(&format!("[   12.3] x {sign} y"), &[]).is_some(), "{sign}");
        }
    }

    #[test]
    fn sees_real_lines_of_each_kind() {
        for text in [
            "[    1.9] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
            "[FAILED] Failed to start k3s.service - Lightweight Kubernetes.",
            "You are in emergency mode. After logging in, type \"journalctl -xb\" to view",
            "thread 'main' panicked at agent/src/main.rs:3:5:",
            "[   33.1] I/O error, dev vda, sector 2048 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
            "[   40.0] k3s[600]: segfault at 0 ip 000055 sp 00007f error 4 in k3s[55]",
        ] {
            assert!(bad_sign(text, &[]).is_some(), "{text}");
        }
    }

    #[test]
    fn lets_lines_of_a_good_boot_pass() {
        for text in [
            "[    0.0] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org)",
            "[  OK  ] Started metalstrap-agent.service - metalstrap health agent.",
            "metalstrap: phase (3/11) root image done in 6.1 s",
            "metalstrap-agent: master-1 not healthy: unit.k3s: connecting to systemd over D-Bus: I/O error: timed out",
            "[    0.5] pcieport 0000:00:01.0: AER: enabled with IRQ 24",
        ] {
            assert_eq!(bad_sign(text, &[]), None, "{text}");
        }
    }

    #[test]
    fn allows_only_the_line_it_was_told_to() {
        let lines = [line("I/O error, dev vdb, sector 8"), line("I/O error, dev vda, sector 8")];
        let bad = find_bad_lines(&lines, &["dev vdb"]);
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0].sign, "I/O error, dev");
        assert_eq!(bad[0].line.text, "I/O error, dev vda, sector 8");
    }
}

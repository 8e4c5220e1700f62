//! Which accelerator QEMU uses. `/dev/kvm` may exist and open and still not work, so the CPU flags decide.

use anyhow::{Result, bail};
use std::fs;

/// Environment variable that overrides the choice: `kvm` or `tcg`.
pub const ACCEL_VARIABLE: &str = "METALSTRAP_ACCEL";

/// An accelerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// The host's virtualisation extensions.
    Kvm,
    /// Emulation.
    Tcg,
}

impl Accel {
    /// The QEMU arguments for it. A small buffer for translated code: what one boot has left there costs the next one, after a
    /// warm restart, ten times as much for each page it writes to (QEMU 7.2 to 10.0: 122 s instead of 39 s until the initramfs runs).
    pub fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi,tb-size=128", "-cpu", "max"],
        }
    }

    /// What a duration measured with it is worth, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG (no KVM)",
        }
    }
}

/// Chooses: the override if there is one, else KVM when the CPU has vmx or svm *and* `/dev/kvm` opens, else TCG.
///
/// # Errors
/// The override is neither `kvm` nor `tcg`.
pub fn choose(wanted: Option<&str>, cpuinfo: &str, kvm_opens: bool) -> Result<Accel> {
    match wanted {
        Some("kvm") => Ok(Accel::Kvm),
        Some("tcg") => Ok(Accel::Tcg),
        Some(other) => bail!("{ACCEL_VARIABLE} is `{other}`: it may be `kvm` or `tcg`"),
        None if kvm_opens && has_virtualisation(cpuinfo) => Ok(Accel::Kvm),
        None => Ok(Accel::Tcg),
    }
}

/// Chooses for this machine.
///
/// # Errors
/// As [`choose`].
pub fn detect() -> Result<Accel> {
    let wanted = std::env::var(ACCEL_VARIABLE).ok().filter(|value| !value.is_empty());
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kvm_opens = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    choose(wanted.as_deref(), &cpuinfo, kvm_opens)
}

fn has_virtualisation(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| line.split_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

#[cfg(test)]
mod tests {
    use super::{Accel, choose};

    const WITH_VMX: &str = "processor : 0\nflags\t\t: fpu vmx sse2\n";
    const WITHOUT: &str = "processor : 0\nflags\t\t: fpu sse2 svmx\nvmx flags : svm\n";

    #[test]
    fn takes_kvm_only_with_the_flag_and_the_device() {
        assert_eq!(choose(None, WITH_VMX, true).unwrap(), Accel::Kvm);
        assert_eq!(choose(None, WITH_VMX, false).unwrap(), Accel::Tcg);
        assert_eq!(choose(None, WITHOUT, true).unwrap(), Accel::Tcg);
    }

    #[test]
    fn override_wins_over_what_the_machine_shows() {
        assert_eq!(choose(Some("tcg"), WITH_VMX, true).unwrap(), Accel::Tcg);
        assert_eq!(choose(Some("kvm"), WITHOUT, false).unwrap(), Accel::Kvm);
    }

    #[test]
    fn refuses_an_unknown_override() {
        let error = choose(Some("hvf"), WITH_VMX, true).unwrap_err();
        assert_eq!(error.to_string(), "METALSTRAP_ACCEL is `hvf`: it may be `kvm` or `tcg`");
    }
}

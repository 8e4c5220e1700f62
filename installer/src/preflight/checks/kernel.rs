//! The kernel, which is that of the installed system, too.

use crate::exit::ExitCode;
use crate::preflight::model::{Check, Class, Finding, Input, Judged, known};
use crate::refusal::Refusal;
use profiles::preflight::{
    KERNEL_CGROUPS, KERNEL_FEATURES, KERNEL_FILE_SYSTEMS, KERNEL_MODULES, KERNEL_SYSCTLS, KERNEL_TAINT,
};

/// File systems that the installed system stands on.
pub(crate) const FILE_SYSTEMS: [&str; 3] = ["ext4", "overlay", "squashfs"];
/// Controllers without which the kubelet does not start (k3s checks the same at its start).
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
/// What `k3s check-config` calls generally necessary, each with how it shows itself at run time: Debian's kernel does not carry its
/// configuration.
pub(crate) const FEATURES: [(&str, Trace); 18] = [
    ("network namespaces", Trace::Path("/proc/self/ns/net")),
    ("process namespaces", Trace::Path("/proc/self/ns/pid")),
    ("IPC namespaces", Trace::Path("/proc/self/ns/ipc")),
    ("host name namespaces", Trace::Path("/proc/self/ns/uts")),
    ("mount namespaces", Trace::Path("/proc/self/ns/mnt")),
    ("cgroup namespaces", Trace::Path("/proc/self/ns/cgroup")),
    ("kernel keys", Trace::Path("/proc/keys")),
    ("seccomp filters", Trace::Path("/proc/sys/kernel/seccomp/actions_avail")),
    ("POSIX message queues", Trace::FileSystem("mqueue")),
    ("pairs of interfaces", Trace::Module("veth")),
    ("bridges", Trace::Module("bridge")),
    ("xt addrtype", Trace::Module("xt_addrtype")),
    ("xt conntrack", Trace::Module("xt_conntrack")),
    ("xt comment", Trace::Module("xt_comment")),
    ("xt multiport", Trace::Module("xt_multiport")),
    ("xt MASQUERADE", Trace::Module("xt_MASQUERADE")),
    ("address translation", Trace::Module("nf_nat")),
    ("iptables over nftables", Trace::Module("nft_compat")),
];

/// How a feature of the kernel shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trace {
    /// A path that is there.
    Path(&'static str),
    /// A file system that is known.
    FileSystem(&'static str),
    /// A module that is built in, loaded, or beside the kernel.
    Module(&'static str),
}

/// Bits of `tainted` that speak of damage, not of licences: number and what happened.
const DAMAGE: [(u32, &str); 4] =
    [(4, "a machine check"), (5, "a bad page"), (7, "an oops"), (14, "a soft lockup")];

fn refuse(code: &'static str, message: String) -> Finding {
    Finding::fail(Refusal::new(code, ExitCode::Environment, message))
}

/// `kernel.modules`
pub const MODULES: Check = Check {
    id: KERNEL_MODULES,
    class: Class::Artefacts,
    title: "The kernel has every module the node loads",
    source: "`/lib/modules/RELEASE/modules.{dep,builtin}` and `/sys/module`, against `kernel_modules` of the node",
    limits: "one missing: fails",
    why: "k3s and the container network do not start without them",
    remedy: "boot a live medium of metalstrap; a module of your own belongs into the image before it belongs into the profile",
    codes: &["E_KERNEL_MODULE"],
    during_install: false,
    judge: |input| {
        let wanted = &input.node()?.kernel_modules;
        let lacks = known(&input.facts.modules_missing)?;
        let missing: Vec<&str> =
            wanted.iter().filter(|name| lacks.contains(*name)).map(String::as_str).collect();
        Ok(if missing.is_empty() {
            Finding::pass(format!("{} modules", wanted.len()))
        } else {
            refuse(
                "E_KERNEL_MODULE",
                format!("the kernel has no module {}, the node loads it", missing.join(", ")),
            )
        })
    },
};

/// `kernel.file-systems`
pub const FILE_SYSTEMS_CHECK: Check = Check {
    id: KERNEL_FILE_SYSTEMS,
    class: Class::Artefacts,
    title: "The kernel can mount what is installed",
    source: "`/proc/filesystems` and the modules beside the kernel",
    limits: "squashfs, ext4 or overlay missing: fails",
    why: "the installed system stands on these three",
    remedy: "boot a live medium of metalstrap",
    codes: &["E_KERNEL_FILE_SYSTEM"],
    during_install: false,
    judge: |input| {
        let has = known(&input.facts.file_systems)?;
        let missing: Vec<&str> = FILE_SYSTEMS.into_iter().filter(|name| !has.contains(*name)).collect();
        Ok(if missing.is_empty() {
            Finding::pass(FILE_SYSTEMS.join(", "))
        } else {
            refuse("E_KERNEL_FILE_SYSTEM", format!("the kernel cannot mount {}", missing.join(", ")))
        })
    },
};

/// `kernel.cgroups`
pub const CGROUPS: Check = Check {
    id: KERNEL_CGROUPS,
    class: Class::Artefacts,
    title: "cgroup v2 has the controllers of the kubelet",
    source: "`/sys/fs/cgroup/cgroup.controllers`; masters and workers",
    limits: "not mounted, or cpu, cpuset, memory or pids missing: fails",
    why: "the kubelet does not start without them",
    remedy: "take `cgroup_disable=` and `systemd.unified_cgroup_hierarchy=0` from the kernel's command line",
    codes: &["E_CGROUPS"],
    during_install: false,
    judge: cgroups,
};

fn cgroups(input: &Input<'_>) -> Judged {
    if input.node()?.kubernetes.is_none() {
        return Ok(Finding::not_applicable("no kubelet on this node"));
    }
    let Some(has) = known(&input.facts.cgroups)? else {
        return Ok(refuse("E_CGROUPS", "cgroup v2 is not mounted at /sys/fs/cgroup".to_owned()));
    };
    let missing: Vec<&str> = CONTROLLERS.into_iter().filter(|name| !has.contains(*name)).collect();
    Ok(if missing.is_empty() {
        Finding::pass(CONTROLLERS.join(", "))
    } else {
        refuse("E_CGROUPS", format!("cgroup v2 lacks the controllers {}", missing.join(", ")))
    })
}

/// `kernel.features`
pub const FEATURES_CHECK: Check = Check {
    id: KERNEL_FEATURES,
    class: Class::Artefacts,
    title: "The kernel has what containers need",
    source: "`/proc`, `/proc/filesystems` and the modules beside the kernel, by the list of `k3s check-config`; masters and workers",
    limits: "a feature missing: warning",
    why: "pods fail in ways that name a socket or a mount, not the kernel",
    remedy: "boot a live medium of metalstrap, or build the feature into your own kernel",
    codes: &[],
    during_install: false,
    judge: |input| {
        if input.node()?.kubernetes.is_none() {
            return Ok(Finding::not_applicable("no containers on this node"));
        }
        Ok(match known(&input.facts.features_missing)?.as_slice() {
            [] => Finding::pass(format!("{} features", FEATURES.len())),
            missing => Finding::warn(format!("without {}", missing.join(", "))),
        })
    },
};

/// `kernel.sysctls`
pub const SYSCTLS: Check = Check {
    id: KERNEL_SYSCTLS,
    class: Class::Artefacts,
    title: "The kernel knows every parameter the node sets",
    source: "`/proc/sys`, against `sysctls` of the node; what comes with a module the node loads is not asked for",
    limits: "one unknown: warning",
    why: "it is not set, and only a line in the journal says so",
    remedy: "correct `sysctls` in the profile",
    codes: &[],
    during_install: false,
    judge: |input| {
        let wanted = &input.node()?.sysctls;
        let lacks = known(&input.facts.sysctls_missing)?;
        let missing: Vec<&str> =
            wanted.keys().filter(|key| lacks.contains(*key)).map(String::as_str).collect();
        Ok(if missing.is_empty() {
            Finding::pass(format!("{} parameters", wanted.len()))
        } else {
            Finding::warn(format!("unknown: {}", missing.join(", ")))
        })
    },
};

/// `kernel.taint`
pub const TAINT: Check = Check {
    id: KERNEL_TAINT,
    class: Class::Artefacts,
    title: "Nothing has damaged the running kernel",
    source: "`/proc/sys/kernel/tainted`: machine check, bad page, oops, soft lockup",
    limits: "one of them: warning",
    why: "what a damaged kernel writes to a disk nobody can vouch for",
    remedy: "`dmesg`; start the machine again, and look at memory and firmware if it comes back",
    codes: &[],
    during_install: false,
    judge: |input| {
        let bits = *known(&input.facts.taint)?;
        let found: Vec<&str> =
            DAMAGE.iter().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| *name).collect();
        Ok(if found.is_empty() { Finding::pass("no damage") } else { Finding::warn(found.join(", ")) })
    },
};

//! Processors.

use crate::preflight::model::{Check, Class, Finding, Input, Judged, NotRun, known};
use profiles::node::Role;
use profiles::preflight::{CPU_CORES, CPU_LEVEL, CPU_STEAL};

/// Cores that k3s asks for (its requirements page): a server two, an agent one. A proxy needs one.
const MASTER_CORES: u32 = 2;
/// Share of stolen time from which on a virtual machine is starved; etcd loses its leader over less than a second.
const STEAL_WARN_PERCENT: f64 = 10.0;

/// `cpu.level`
pub const LEVEL: Check = Check {
    id: CPU_LEVEL,
    class: Class::Hardware,
    title: "The processor has the instructions that container images are built for",
    source: "`/proc/cpuinfo`, by the levels of the x86-64 psABI",
    limits: "x86-64-v1: warning",
    why: "k3s itself runs on any 64-bit processor, but many images (UBI 9 and others) end with `CPU does not support x86-64-v2`",
    remedy: "give the virtual machine a newer CPU model (`host`), or run only images that are built for x86-64-v1",
    codes: &[],
    during_install: false,
    judge: |input| {
        let level = input.inventory.cpu.level.as_deref();
        let level = level.ok_or_else(|| NotRun::new("the features of the processor are not known"))?;
        Ok(if level == "x86-64-v1" { Finding::warn(level) } else { Finding::pass(level) })
    },
};

/// `cpu.cores`
pub const CORES: Check = Check {
    id: CPU_CORES,
    class: Class::Hardware,
    title: "There are enough processors for the role",
    source: "`/proc/cpuinfo`",
    limits: "master with one processor: warning (k3s: two for a server)",
    why: "etcd, the API server and the controllers share one processor and miss their deadlines",
    remedy: "give the machine a second processor, or make it a worker",
    codes: &[],
    during_install: false,
    judge: |input| {
        let role = input.role()?;
        let wanted = if role == Role::Master { MASTER_CORES } else { 1 };
        match input.inventory.cpu.cores {
            0 => Err(NotRun::new("the kernel does not tell how many processors there are")),
            cores if cores < wanted => Ok(Finding::warn(format!("{cores}, a {role} should have {wanted}"))),
            cores => Ok(Finding::pass(format!("{cores}"))),
        }
    },
};

/// `cpu.steal`
pub const STEAL: Check = Check {
    id: CPU_STEAL,
    class: Class::Hardware,
    title: "The hypervisor gives this machine its processor time",
    source: "`steal` in `/proc/stat`, since boot",
    limits: "over 10 %: warning; on bare metal it does not apply",
    why: "a node that does not run when it should misses heartbeats: etcd elects, the node goes NotReady",
    remedy: "take load off the host or reserve processors for this machine",
    codes: &[],
    during_install: false,
    judge: steal,
};

fn steal(input: &Input<'_>) -> Judged {
    if !input.is_virtual() {
        return Ok(Finding::not_applicable("no virtual machine"));
    }
    let percent = *known(&input.facts.steal_percent)?;
    let text = format!("{percent:.1} % stolen since boot");
    Ok(if percent > STEAL_WARN_PERCENT { Finding::warn(text) } else { Finding::pass(text) })
}

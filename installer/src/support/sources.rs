//! What goes into a bundle: one line per source. No file that is made to hold a secret is among them; what the others hold by
//! accident is redacted.

use super::Machine;
use super::bundle::Bundle;
use super::redact::Redactor;

/// Of a file or an output longer than this the end is kept: that is where a failure is.
const ITEM_MAX_BYTES: u64 = 4 << 20;
/// Files taken from one folder.
const FOLDER_FILES_MAX: usize = 200;

/// Where something comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(&'static str),
    /// Every plain file below a folder; each keeps its name.
    Folder(&'static str),
    /// What a program prints.
    Command(&'static [&'static str]),
    /// The inventory.
    Inventory,
    /// The report of the health agent.
    Health,
}

/// On which systems it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// On all.
    Both,
    /// In a live system.
    Live,
    /// On an installed node.
    Installed,
}

/// One source and its name in the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Path in the bundle; of a folder the part before the names of its files.
    pub name: &'static str,
    /// Where it comes from.
    pub source: Source,
    /// Where it is looked for.
    pub on: Where,
}

impl Item {
    /// True when it is looked for on this kind of system.
    pub fn is_for(&self, is_installed: bool) -> bool {
        match self.on {
            Where::Both => true,
            Where::Live => !is_installed,
            Where::Installed => is_installed,
        }
    }
}

const fn both(name: &'static str, source: Source) -> Item {
    Item { name, source, on: Where::Both }
}
const fn live(name: &'static str, source: Source) -> Item {
    Item { name, source, on: Where::Live }
}
const fn node(name: &'static str, source: Source) -> Item {
    Item { name, source, on: Where::Installed }
}

/// The journal of one unit since the start of the machine.
macro_rules! journal {
    ($unit:literal) => {
        Source::Command(&[
            "journalctl",
            "--boot",
            "--no-pager",
            "--output=short-iso",
            "--lines=5000",
            "--unit",
            $unit,
        ])
    };
}

/// Every source, in the order they are asked.
pub const SOURCES: &[Item] = &[
    // What happened.
    both("install/outcome.json", Source::File("/run/metalstrap/install.json")),
    live("install/plan.json", Source::File("/run/metalstrap/plan.json")),
    live("install/rendered", Source::Folder("/run/metalstrap/rendered")),
    node("install/record.json", Source::File("/var/lib/metalstrap/install.json")),
    node("health/report.json", Source::Health),
    // What the machine is.
    both("machine/inventory.json", Source::Inventory),
    both("machine/cmdline.txt", Source::File("/proc/cmdline")),
    both("machine/image.json", Source::File("/usr/share/metalstrap/image.json")),
    both("machine/medium.json", Source::File("/run/metalstrap/medium/live/image.json")),
    both("machine/artifacts.json", Source::File("/usr/share/metalstrap/artifacts/manifest.json")),
    both("machine/os-release.txt", Source::File("/usr/lib/os-release")),
    both("machine/uname.txt", Source::Command(&["uname", "--all"])),
    both("machine/cpuinfo.txt", Source::File("/proc/cpuinfo")),
    both("machine/meminfo.txt", Source::File("/proc/meminfo")),
    both("machine/modules.txt", Source::File("/proc/modules")),
    both("machine/uptime.txt", Source::File("/proc/uptime")),
    both("machine/clock.txt", Source::Command(&["timedatectl", "status", "--no-pager"])),
    // Disks.
    both("disks/lsblk.json", Source::Command(&["lsblk", "--json", "--bytes", "--output-all"])),
    both("disks/mounts.txt", Source::File("/proc/self/mountinfo")),
    both("disks/df.txt", Source::Command(&["df", "--human-readable", "--print-type"])),
    both("disks/pressure.txt", Source::File("/proc/pressure/io")),
    // Network.
    both("network/addresses.json", Source::Command(&["ip", "-details", "-json", "address"])),
    both("network/routes.json", Source::Command(&["ip", "-json", "route", "show", "table", "all"])),
    both("network/routes6.json", Source::Command(&["ip", "-6", "-json", "route", "show", "table", "all"])),
    both("network/neighbours.json", Source::Command(&["ip", "-json", "neighbour"])),
    both("network/counters.txt", Source::File("/proc/net/dev")),
    both(
        "network/networkctl.txt",
        Source::Command(&["networkctl", "status", "--all", "--no-pager", "--lines=0"]),
    ),
    both("network/lldp.txt", Source::Command(&["networkctl", "lldp", "--no-pager"])),
    both("network/resolvectl.txt", Source::Command(&["resolvectl", "status", "--no-pager"])),
    both("network/sockets.txt", Source::Command(&["ss", "--all", "--tcp", "--udp", "--numeric"])),
    both("network/chrony.txt", Source::Command(&["chronyc", "-n", "sources"])),
    both("network/run-networkd", Source::Folder("/run/systemd/network")),
    both("network/etc-networkd", Source::Folder("/etc/systemd/network")),
    // Firewall.
    both("firewall/ruleset.txt", Source::Command(&["nft", "list", "ruleset"])),
    node("firewall/seal.json", Source::File("/run/metalstrap/firewall.json")),
    // What was rendered for the node.
    node("node/metalstrap", Source::Folder("/etc/metalstrap")),
    node("node/hosts.txt", Source::File("/etc/hosts")),
    node("node/k3s-config.yaml", Source::File("/etc/rancher/k3s/config.yaml")),
    node("node/pod-manifests", Source::Folder("/var/lib/rancher/k3s/agent/pod-manifests")),
    node("node/haproxy.cfg", Source::File("/etc/haproxy/haproxy.cfg")),
    node("node/keepalived.conf", Source::File("/etc/keepalived/keepalived.conf")),
    node("node/chrony", Source::Folder("/etc/chrony")),
    node("node/sysctl", Source::Folder("/etc/sysctl.d")),
    node("node/units", Source::Folder("/etc/systemd/system")),
    // Units and Kubernetes.
    both("units/failed.txt", Source::Command(&["systemctl", "--failed", "--no-pager", "--full"])),
    both(
        "units/all.txt",
        Source::Command(&["systemctl", "list-units", "--all", "--no-pager", "--type=service"]),
    ),
    node(
        "units/k3s.txt",
        Source::Command(&["systemctl", "show", "--no-pager", "k3s.service", "k3s-agent.service"]),
    ),
    node("k3s/version.txt", Source::Command(&["k3s", "--version"])),
    node(
        "k3s/nodes.txt",
        Source::Command(&["k3s", "kubectl", "--request-timeout=10s", "get", "nodes", "--output=wide"]),
    ),
    node(
        "k3s/pods.txt",
        Source::Command(&[
            "k3s",
            "kubectl",
            "--request-timeout=10s",
            "get",
            "pods",
            "--all-namespaces",
            "--output=wide",
        ]),
    ),
    node(
        "k3s/events.txt",
        Source::Command(&["k3s", "kubectl", "--request-timeout=10s", "get", "events", "--all-namespaces"]),
    ),
    // Logs.
    both(
        "logs/kernel.txt",
        Source::Command(&[
            "journalctl",
            "--boot",
            "--dmesg",
            "--no-pager",
            "--output=short-iso",
            "--lines=20000",
        ]),
    ),
    both("logs/kernel-errors.txt", Source::Command(&["dmesg", "--level=emerg,alert,crit,err,warn"])),
    live("logs/install.txt", journal!("metalstrap-install.service")),
    live("logs/install-failed.txt", journal!("metalstrap-install-failed.service")),
    live("logs/early-network.txt", journal!("metalstrap-early-network.service")),
    node("logs/recover.txt", journal!("metalstrap-recover.service")),
    both("logs/ssh-host-key.txt", journal!("metalstrap-ssh-host-key.service")),
    both("logs/networkd.txt", journal!("systemd-networkd.service")),
    both("logs/resolved.txt", journal!("systemd-resolved.service")),
    both("logs/chrony.txt", journal!("chrony.service")),
    node("logs/agent.txt", journal!("metalstrap-agent.service")),
    node("logs/firewall.txt", journal!("metalstrap-firewall.service")),
    node("logs/firewall-minimal.txt", journal!("metalstrap-firewall-minimal.service")),
    node("logs/settle.txt", journal!("metalstrap-settle.service")),
    node("logs/k3s.txt", journal!("k3s.service")),
    node("logs/k3s-agent.txt", journal!("k3s-agent.service")),
    node("logs/haproxy.txt", journal!("haproxy.service")),
    node("logs/keepalived.txt", journal!("keepalived.service")),
    node(
        "logs/boot-before.txt",
        Source::Command(&[
            "journalctl",
            "--boot=-1",
            "--no-pager",
            "--output=short-iso",
            "--lines=2000",
            "--priority=warning",
        ]),
    ),
];

/// Takes one source into the bundle, redacted; what cannot be had is noted.
pub(super) fn take(item: &Item, machine: &mut dyn Machine, redactor: &Redactor, bundle: &mut Bundle) {
    let name = item.name;
    match item.source {
        Source::File(path) => {
            let read = machine.read(path, ITEM_MAX_BYTES);
            bundle.take(name, path, read, redactor);
        }
        Source::Folder(folder) => take_folder(name, folder, machine, redactor, bundle),
        Source::Command(command) => {
            let ran = machine.run(command).map(cut);
            bundle.take(name, &command.join(" "), ran, redactor);
        }
        Source::Inventory => {
            let inventory = machine.inventory().map(|bytes| (bytes, false));
            bundle.take(name, "metalstrap inventory", inventory, redactor);
        }
        Source::Health => {
            let report = machine.health().map(|bytes| (bytes, false));
            bundle.take(name, "the health agent of this node", report, redactor);
        }
    }
}

fn take_folder(
    name: &str,
    folder: &str,
    machine: &mut dyn Machine,
    redactor: &Redactor,
    bundle: &mut Bundle,
) {
    let files = match machine.list(folder) {
        Ok(files) => files,
        Err(why) => return bundle.take(name, folder, Err(why), redactor),
    };
    for path in files.iter().take(FOLDER_FILES_MAX) {
        let below = path.strip_prefix(folder).unwrap_or(path).trim_start_matches('/');
        // A file that is made for a secret is never taken, wherever somebody put it.
        let read = if is_secret_file(below) {
            Err("left out: a file of this name holds a secret".to_owned())
        } else {
            machine.read(path, ITEM_MAX_BYTES)
        };
        bundle.take(&format!("{name}/{below}"), path, read, redactor);
    }
    if files.len() > FOLDER_FILES_MAX {
        let why = format!("{} files; only the first {FOLDER_FILES_MAX} were taken", files.len());
        bundle.take(&format!("{name}/…"), folder, Err(why), redactor);
    }
}

fn is_secret_file(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    file.ends_with(".key") || file.ends_with("token") || file == "secrets.toml" || file.ends_with("password")
}

/// The end of an output that is too long.
fn cut(bytes: Vec<u8>) -> (Vec<u8>, bool) {
    let from = bytes.len().saturating_sub(usize::try_from(ITEM_MAX_BYTES).unwrap_or(usize::MAX));
    if from == 0 { (bytes, false) } else { (bytes.get(from..).unwrap_or_default().to_vec(), true) }
}

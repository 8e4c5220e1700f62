//! Who has to be told about a changed file, in the order in which it is done. Pure, but for [`Action::commands`], which names commands
//! and runs none.

use super::change::{State, read_state};
use super::journal::Direction;
use crate::render::RenderedNode;
use profiles::node::{NodeConfig, Role};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use sysio::files::FileError;
use sysio::sysfs::SysRoot;

/// Something done after the files were written. The order of the variants is that of the doing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// systemd reads its units again.
    DaemonReload,
    /// Kernel modules are loaded.
    Modules,
    /// Kernel parameters are set.
    Sysctl,
    /// The packet filter of this node is replaced in one transaction.
    Firewall,
    /// networkd reads its files again; links whose files changed are configured anew.
    Network,
    /// A unit is disabled and stopped. Before the masking: systemctl disables no masked unit.
    Disable(String),
    /// A unit is masked and stopped.
    Mask(String),
    /// A unit is no longer masked.
    Unmask(String),
    /// A unit is enabled and started.
    Enable(String),
    /// A unit reads its configuration again without a break.
    Reload(String),
    /// A unit is restarted.
    Restart(String),
    /// It takes effect at the next boot only.
    Reboot(String),
}

impl Action {
    /// The programs that do it, each with its arguments; none for what only a boot does.
    pub fn commands(&self) -> Vec<Vec<String>> {
        let one = |words: &[&str]| vec![words.iter().map(|word| (*word).to_owned()).collect()];
        match self {
            Self::DaemonReload => one(&["systemctl", "daemon-reload"]),
            Self::Modules => one(&["systemctl", "restart", "systemd-modules-load.service"]),
            Self::Sysctl => one(&["systemctl", "restart", "systemd-sysctl.service"]),
            Self::Firewall => one(&["systemctl", "reload-or-restart", "metalstrap-firewall.service"]),
            Self::Network => one(&["networkctl", "reload"]),
            Self::Mask(unit) => one(&["systemctl", "mask", "--now", unit]),
            Self::Unmask(unit) => one(&["systemctl", "unmask", unit]),
            Self::Enable(unit) => one(&["systemctl", "enable", "--now", unit]),
            Self::Disable(unit) => one(&["systemctl", "disable", "--now", unit]),
            Self::Reload(unit) => one(&["systemctl", "reload-or-restart", unit]),
            Self::Restart(unit) => one(&["systemctl", "restart", unit]),
            Self::Reboot(_) => Vec::new(),
        }
    }

    /// The programs that do it early in a boot: links of units are made and removed, nothing is stopped, and what is started is only queued,
    /// for the boot was planned before these links were right.
    pub fn boot_commands(&self) -> Vec<Vec<String>> {
        let one = |words: &[&str]| vec![words.iter().map(|word| (*word).to_owned()).collect()];
        match self {
            Self::DaemonReload => self.commands(),
            Self::Disable(unit) => one(&["systemctl", "--no-reload", "disable", unit]),
            Self::Mask(unit) => one(&["systemctl", "--no-reload", "mask", unit]),
            Self::Unmask(unit) => one(&["systemctl", "--no-reload", "unmask", unit]),
            Self::Enable(unit) => one(&["systemctl", "--no-reload", "enable", unit]),
            Self::Reload(unit) | Self::Restart(unit) => one(&["systemctl", "--no-block", "start", unit]),
            Self::Modules | Self::Sysctl | Self::Firewall | Self::Network | Self::Reboot(_) => Vec::new(),
        }
    }

    /// True for what makes or removes links of a unit: no boot does it by itself.
    pub(super) fn is_link(&self) -> bool {
        matches!(self, Self::Disable(_) | Self::Mask(_) | Self::Unmask(_) | Self::Enable(_))
    }

    /// The action that takes this one back, when doing it again with the old files does not.
    #[must_use]
    pub fn inverse(&self) -> Self {
        match self {
            Self::Mask(unit) => Self::Unmask(unit.clone()),
            Self::Unmask(unit) => Self::Mask(unit.clone()),
            Self::Enable(unit) => Self::Disable(unit.clone()),
            Self::Disable(unit) => Self::Enable(unit.clone()),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DaemonReload => f.write_str("systemd reads its units again"),
            Self::Modules => f.write_str("kernel modules are loaded"),
            Self::Sysctl => f.write_str("kernel parameters are set"),
            Self::Firewall => f.write_str("the packet filter is replaced in one transaction"),
            Self::Network => f.write_str("networkd configures the changed links anew"),
            Self::Mask(unit) => write!(f, "{unit} is masked and stopped"),
            Self::Unmask(unit) => write!(f, "{unit} is no longer masked"),
            Self::Enable(unit) => write!(f, "{unit} is enabled and started"),
            Self::Disable(unit) => write!(f, "{unit} is disabled and stopped"),
            Self::Reload(unit) => write!(f, "{unit} reads its configuration again"),
            Self::Restart(unit) if unit == "k3s.service" => {
                write!(
                    f,
                    "{unit} is restarted: pods go on, the API of this node is away until it is up again"
                )
            }
            Self::Restart(unit) if unit == "k3s-agent.service" => {
                write!(f, "{unit} is restarted: pods go on, the node may be NotReady for a moment")
            }
            Self::Restart(unit) => write!(f, "{unit} is restarted"),
            Self::Reboot(why) => write!(f, "a reboot is needed for {why}"),
        }
    }
}

/// What is done in a direction. A unit that ends up masked is told nothing else: systemctl refuses it.
pub(super) fn directed(actions: &BTreeSet<Action>, direction: Direction) -> BTreeSet<Action> {
    let all: BTreeSet<Action> = match direction {
        Direction::Forward => actions.clone(),
        Direction::Back => actions.iter().map(Action::inverse).collect(),
    };
    let masked = |action: &Action| match action {
        Action::Reload(unit) | Action::Restart(unit) => all.contains(&Action::Mask(unit.clone())),
        _ => false,
    };
    all.iter().filter(|action| !masked(action)).cloned().collect()
}

/// What a boot still does when the links are right: the units that were masked or disabled when it was planned are not in its plan.
pub(super) fn left_for_boot(directed: &BTreeSet<Action>) -> BTreeSet<Action> {
    let started = |action: &Action| match action {
        Action::Enable(unit) => Some(Action::Restart(unit.clone())),
        Action::Reload(unit) | Action::Restart(unit) if directed.contains(&Action::Unmask(unit.clone())) => {
            Some(Action::Restart(unit.clone()))
        }
        _ => None,
    };
    directed.iter().filter_map(started).chain([Action::DaemonReload]).collect()
}

/// Who reads a path.
pub(super) fn of_path(path: &str, node: &NodeConfig) -> Vec<Action> {
    let restart = |unit: &str| vec![Action::Restart(unit.to_owned())];
    let k3s = match node.role.role() {
        Role::Master => "k3s.service",
        _ => "k3s-agent.service",
    };
    match path {
        crate::render::firewall::RULES => vec![Action::Firewall],
        "/etc/metalstrap/node.json" => restart("metalstrap-agent.service"),
        "/etc/chrony/chrony.conf" => restart("chrony.service"),
        "/etc/haproxy/haproxy.cfg" => vec![Action::Reload("haproxy.service".to_owned())],
        "/etc/keepalived/keepalived.conf" => vec![Action::Reload("keepalived.service".to_owned())],
        // Every login and every lookup reads them anew; the kubelet and k3s' deploy controller watch their folders.
        "/etc/hosts" | "/etc/resolv.conf" | "/root/.ssh/authorized_keys" => Vec::new(),
        "/etc/localtime" | "/etc/timezone" => {
            vec![Action::Reboot("the time zone of running services".to_owned())]
        }
        _ if path.starts_with("/etc/rancher/k3s/") => restart(k3s),
        _ if path.starts_with("/etc/sysctl.d/") => vec![Action::Sysctl],
        _ if path.starts_with("/etc/modules-load.d/") => vec![Action::Modules],
        _ if path.starts_with("/etc/ssh/") => vec![Action::Reload("ssh.service".to_owned())],
        _ if path.starts_with("/etc/systemd/networkd.conf.d/") => restart("systemd-networkd.service"),
        _ if path.starts_with("/etc/systemd/network/") => of_network(path),
        _ if path.starts_with("/etc/systemd/system/") => of_unit(path),
        _ => Vec::new(),
    }
}

/// networkd makes a new bond, bridge or VLAN at once, and changes none that is there; udev names cards when they appear.
fn of_network(path: &str) -> Vec<Action> {
    let file = path.rsplit('/').next().unwrap_or(path);
    match file.rsplit_once('.') {
        Some((_, "link")) => vec![Action::Reboot(format!("the name or MTU of a card ({file})"))],
        Some((_, "netdev")) => {
            vec![
                Action::Network,
                Action::Reboot(format!("a bond, bridge or VLAN that is there already ({file})")),
            ]
        }
        _ => vec![Action::Network],
    }
}

fn of_unit(path: &str) -> Vec<Action> {
    let below = path.trim_start_matches("/etc/systemd/system/");
    let unit = below.split('/').next().unwrap_or(below).trim_end_matches(".d");
    vec![Action::DaemonReload, Action::Restart(unit.to_owned())]
}

/// Units that are to run and were not, and the other way round. What is masked is looked up on the node: a change that was cut off, or
/// somebody at a shell, may have left it otherwise than the config says.
///
/// # Errors
/// A link cannot be read.
pub(super) fn of_units(
    root: &SysRoot,
    before: &RenderedNode,
    after: &RenderedNode,
) -> Result<BTreeSet<Action>, FileError> {
    let set = |units: &[String]| units.iter().cloned().collect::<BTreeSet<String>>();
    let (mask, enabled, enable) = (set(&after.mask), set(&before.enable), set(&after.enable));
    let mut masked = BTreeSet::new();
    for unit in before.mask.iter().chain(&mask).chain(&enable) {
        if is_masked(root, unit)? {
            masked.insert(unit.clone());
        }
    }
    let mut actions = BTreeSet::new();
    actions.extend(mask.difference(&masked).cloned().map(Action::Mask));
    for unit in masked.difference(&mask) {
        actions.insert(Action::Unmask(unit.clone()));
        // Whether it still is enabled, nobody saw while it was masked.
        actions.extend(enable.get(unit).cloned().map(Action::Enable));
    }
    actions.extend(enable.difference(&enabled).cloned().map(Action::Enable));
    actions.extend(
        enabled.difference(&enable).filter(|unit| !mask.contains(*unit)).cloned().map(Action::Disable),
    );
    Ok(actions)
}

fn is_masked(root: &SysRoot, unit: &str) -> Result<bool, FileError> {
    let state = read_state(root, &format!("/etc/systemd/system/{unit}"))?;
    Ok(matches!(state, Some(State::Link { target }) if target == Path::new("/dev/null")))
}

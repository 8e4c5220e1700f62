//! The list of all checks. A new check is one file in `checks/` and one line here.

use crate::checks;
use crate::context::Context;
use crate::verdict::Verdict;
use jiff::Timestamp;
use profiles::node::{NodeConfig, Role};
use report::State;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Every check, in the order of the report: what others depend on comes first.
pub const CATALOGUE: &[&Check] = &[
    &checks::unit::K3S,
    &checks::unit::K3S_AGENT,
    &checks::unit::HAPROXY,
    &checks::unit::KEEPALIVED,
    &checks::unit::CHRONY,
    &checks::unit::NETWORKD,
    &checks::unit::FIREWALL,
    &checks::unit::SSH,
    &checks::units_failed::CHECK,
    &checks::link_state::CHECK,
    &checks::k3s_supervisor::CHECK,
    &checks::apiserver_ready::CHECK,
    &checks::kubelet_health::CHECK,
    &checks::node_ready::CHECK,
    &checks::etcd_member::CHECK,
    &checks::etcd_quorum::CHECK,
    &checks::cert_files::CHECK,
    &checks::vip_local::CHECK,
    &checks::vip_reach::CHECK,
    &checks::vip_proxy::CHECK,
    &checks::haproxy_config::CHECK,
    &checks::haproxy_backends::CHECK,
    &checks::firewall_table::CHECK,
    &checks::firewall_drift::CHECK,
    &checks::firewall_coverage::CHECK,
    &checks::disk_state::CHECK,
    &checks::disk_data::CHECK,
    &checks::memory_available::CHECK,
    &checks::clock_sync::CHECK,
    &checks::boot_slot::CHECK,
    &checks::install_record::CHECK,
];

/// All roles, for checks that every node has.
pub const ALL_ROLES: &[Role] = &[Role::Master, Role::Worker, Role::Proxy];

/// A check whose time limit is at most this is cheap: the agent calls itself started once all of these have run.
const CHEAP_MAX: Duration = Duration::from_secs(2);

/// What a running look gives.
pub type Looking = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// When a look takes place, passed to the judges so that they read no clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Time since boot, suspended time included.
    pub boottime: Duration,
    /// Time since boot on systemd's clock, without suspended time.
    pub monotonic: Duration,
    /// Time of day.
    pub realtime: Timestamp,
    /// State the check had before.
    pub was: State,
}

/// How long a bad observation must last before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// An ok check stays ok this long.
    pub warn_after: Duration,
    /// A critical observation only warns this long.
    pub critical_after: Duration,
}

/// Does a node want a check, beyond its role?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Yes, and this is what exactly is looked at (empty when there is only one).
    Yes(String),
    /// No, and why.
    No(String),
}

/// One entry of the catalogue.
pub struct Check {
    /// Stable id, such as `unit.k3s`.
    pub id: &'static str,
    /// One line: what is true when it is ok.
    pub title: &'static str,
    /// Where the truth comes from.
    pub source: &'static str,
    /// When it is not ok.
    pub limits: &'static str,
    /// Roles that have it.
    pub roles: &'static [Role],
    /// Whether a node of such a role wants it.
    pub applies: fn(&NodeConfig) -> Wanted,
    /// Time between two looks.
    pub interval: Duration,
    /// Time limit of one look; afterwards the check is unknown.
    pub timeout: Duration,
    /// How long a bad observation must last before it counts.
    pub patience: Patience,
    /// While one of these is warning or critical, a bad verdict here is a consequence and shown as unknown.
    pub depends_on: &'static [&'static str],
    /// What to do next when it is not ok.
    pub action: &'static str,
    /// What `look` is given; lets one file serve several checks.
    pub subject: &'static str,
    /// Looks and judges.
    pub look: fn(&'static str, Arc<Context>, Moment) -> Looking,
}

impl Check {
    /// Whether this node wants the check, and why not.
    pub fn wanted(&self, node: &NodeConfig) -> Wanted {
        let role = node.role.role();
        if self.roles.contains(&role) {
            (self.applies)(node)
        } else {
            Wanted::No(format!("a {role} has no such thing"))
        }
    }

    /// Cheap checks run before the agent calls itself started.
    pub fn is_cheap(&self) -> bool {
        self.timeout <= CHEAP_MAX
    }
}

/// For checks that every node of the role wants.
pub fn always(_: &NodeConfig) -> Wanted {
    Wanted::Yes(String::new())
}

/// Seconds, for the catalogue entries.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Counts at once.
pub const AT_ONCE: Patience = Patience { warn_after: secs(0), critical_after: secs(0) };

/// For what has to answer all the time: three missed looks warn, two minutes are critical.
pub const ENDPOINT: Patience = Patience { warn_after: secs(25), critical_after: secs(120) };

#[cfg(test)]
mod tests {
    use super::CATALOGUE;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_dependencies_come_first() {
        let mut seen = BTreeSet::new();
        for check in CATALOGUE {
            for dependency in check.depends_on {
                assert!(seen.contains(dependency), "{} depends on {dependency}", check.id);
            }
            assert!(seen.insert(check.id), "{} twice", check.id);
        }
    }

    #[test]
    fn every_look_ends_before_the_next_is_due() {
        for check in CATALOGUE {
            assert!(check.timeout <= check.interval, "{}", check.id);
            assert!(!check.roles.is_empty() && !check.action.is_empty(), "{}", check.id);
        }
    }
}

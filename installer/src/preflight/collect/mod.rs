//! Looking at the machine for the checks. Every fact on its own: what cannot be looked at says why and holds up nobody.
//! Writes nothing, to no disk; asks others only what any passer-by may ask.

mod api;
mod clock;
mod disk;
mod hardware;
mod image;
mod kernel;
mod network;

pub use disk::parse_wear;
pub use kernel::{parse_kernel_messages, parse_kernel_version_date, parse_modules};
pub use network::{parse_links, parse_routes};
pub use sysio::sntp::parse_answer;

use super::facts::Facts;
use super::model::{Fact, NotRun};
use crate::disks::{NodeDisks, TargetDisk};
use crate::inventory::Inventory;
use crate::medium::Sources;
use crate::plan::Planned;
use profiles::node::NodeConfig;
use std::time::Duration;
use sysio::command::{Cmd, Output};
use sysio::sysfs::SysRoot;

/// The small tools answer in milliseconds; a disk that does not answer `smartctl` for so long is not well.
const TOOL_LIMIT: Duration = Duration::from_secs(15);

/// What is known already and decides what is worth looking at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The node, when it is known.
    pub node: Option<&'a NodeConfig>,
    /// The machine.
    pub inventory: &'a Inventory,
    /// The disks that were chosen.
    pub disks: Option<&'a NodeDisks>,
    /// A port that is off may be switched on to ask its segment; for a live system.
    pub may_change: bool,
}

impl<'a> Subject<'a> {
    fn system_disk(&self) -> Option<&'a TargetDisk> {
        self.disks.map(NodeDisks::system)
    }
}

/// Looks at this machine and asks its network; all at the same time. Takes as long as the slowest: some seconds for the segment,
/// which is asked several times before it counts as silent.
pub fn collect_facts(subject: &Subject<'_>) -> Facts {
    let sys = SysRoot::default();
    std::thread::scope(|scope| {
        let legs = scope.spawn(|| network::ask_segments(subject));
        let ntp = scope.spawn(|| clock::ask_time_servers(subject.node));
        let api = scope.spawn(|| api::ask_api(subject.node));
        let wear = scope.spawn(|| disk::read_wear(subject.system_disk()));
        let mut facts = Facts::unmeasured("no plan could be made");
        hardware::collect(&sys, &mut facts);
        kernel::collect(&sys, subject.node, &mut facts);
        clock::collect(&sys, subject.node, &mut facts);
        network::collect(&sys, &mut facts);
        disk::collect(subject.system_disk(), &mut facts);
        image::collect(&sys, &mut facts);
        facts.legs = joined(legs.join());
        facts.ntp = joined(ntp.join());
        facts.api = joined(api.join());
        facts.wear = joined(wear.join());
        facts
    })
}

/// Adds what depends on the plan: its files, and whether the kernel takes its firewall.
pub fn collect_planned(planned: &Planned, sources: Option<&Sources>, facts: &mut Facts) {
    facts.firewall = kernel::rehearse_firewall(planned);
    image::collect_planned(planned, sources, facts);
}

/// What a thread found; one that came to grief found nothing.
fn joined<T>(result: std::thread::Result<Fact<T>>) -> Fact<T> {
    result.unwrap_or_else(|_| Err(NotRun::new("looking ended early")))
}

/// The value, or that this path cannot be read.
fn readable<T>(value: Option<T>, path: &str) -> Fact<T> {
    value.ok_or_else(|| NotRun::new(format!("{path} cannot be read")))
}

/// Runs a tool that must succeed.
fn run(cmd: &Cmd) -> Fact<Output> {
    cmd.clone().time_limit(TOOL_LIMIT).run().map_err(|error| NotRun::new(chain(&error)))
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

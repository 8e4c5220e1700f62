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
use crate::apply::Sources;
use crate::disks::{NodeDisks, TargetDisk};
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
    /// The disks that were chosen.
    pub disks: Option<&'a NodeDisks>,
    /// The plan.
    pub planned: Option<&'a Planned>,
    /// Where the bytes of the install come from.
    pub sources: Option<&'a Sources>,
}

impl<'a> Subject<'a> {
    fn system_disk(&self) -> Option<&'a TargetDisk> {
        self.disks.map(NodeDisks::system)
    }
}

/// Looks at this machine. Takes as long as the slowest of its questions, some two seconds when nobody answers.
pub fn collect_facts(subject: &Subject<'_>) -> Facts {
    let sys = SysRoot::default();
    std::thread::scope(|scope| {
        let ntp = scope.spawn(|| clock::ask_time_servers(subject.node));
        let api = scope.spawn(|| api::ask_api(subject.node));
        let wear = scope.spawn(|| disk::read_wear(subject.system_disk()));
        let firewall = scope.spawn(|| kernel::rehearse_firewall(subject.planned));
        let mut facts = Facts::unmeasured("nobody looked");
        hardware::collect(&sys, &mut facts);
        kernel::collect(&sys, subject.node, &mut facts);
        clock::collect(&sys, subject.node, &mut facts);
        network::collect(&sys, &mut facts);
        disk::collect(subject.system_disk(), &mut facts);
        image::collect(&sys, subject, &mut facts);
        facts.ntp = joined(ntp.join());
        facts.api = joined(api.join());
        facts.wear = joined(wear.join());
        facts.firewall = joined(firewall.join());
        facts
    })
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

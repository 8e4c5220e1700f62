//! Clocks and time servers.

use super::kernel::parse_kernel_version_date;
use super::readable;
use crate::preflight::facts::{Facts, NtpAnswer};
use crate::preflight::model::{Fact, NotRun};
use jiff::Timestamp;
use profiles::node::NodeConfig;
use std::sync::mpsc::channel;
use std::time::Duration;
use sysio::sysfs::SysRoot;

/// A time server in the rack answers in a millisecond, one on the other side of the world in a third of a second.
const NTP_LIMIT: Duration = Duration::from_secs(1);
/// For all of them together, names included.
const NTP_ALL_LIMIT: Duration = Duration::from_secs(2);
/// Zones of the image.
const ZONES_FOLDER: &str = "/usr/share/zoneinfo";

pub(super) fn collect(sys: &SysRoot, node: Option<&NodeConfig>, facts: &mut Facts) {
    facts.now = sysio::clock::realtime().map_err(|error| NotRun::new(error.to_string()));
    facts.kernel_built = readable(sys.read("/proc/version"), "/proc/version").and_then(|text| {
        parse_kernel_version_date(&text).ok_or_else(|| NotRun::new("/proc/version names no date"))
    });
    facts.rtc = read_rtc(sys);
    facts.clock_error = sysio::clock::max_error().map_err(|error| NotRun::new(error.to_string()));
    facts.time_zone_known = match node {
        None => Err(NotRun::new("no cluster file names a time zone")),
        Some(node) if !sys.exists(ZONES_FOLDER) => {
            // Debian's C library knows UTC without any file.
            Ok(node.cluster.timezone == "UTC")
        }
        Some(node) => Ok(sys.path(format!("{ZONES_FOLDER}/{}", node.cluster.timezone)).is_file()),
    };
}

fn read_rtc(sys: &SysRoot) -> Fact<Option<Timestamp>> {
    if !sys.exists("/sys/class/rtc/rtc0") {
        return Ok(None);
    }
    let path = "/sys/class/rtc/rtc0/since_epoch";
    let seconds = readable(sys.read_number(path), path)?;
    Timestamp::from_second(seconds).map(Some).map_err(|error| NotRun::new(error.to_string()))
}

/// All at once, and no longer than [`NTP_ALL_LIMIT`]: a name that does not resolve may keep the C library busy for half a minute.
pub(super) fn ask_time_servers(node: Option<&NodeConfig>) -> Fact<Vec<NtpAnswer>> {
    let Some(node) = node else { return Err(NotRun::new("no cluster file names a time server")) };
    let servers = &node.cluster.ntp_servers;
    let (sender, answers) = channel();
    for (number, server) in servers.iter().cloned().enumerate() {
        let sender = sender.clone();
        // Not joined: nobody waits for one that is late.
        std::thread::spawn(move || {
            let offset = sysio::sntp::ask(&server, NTP_LIMIT).map_err(|error| error.to_string());
            let _nobody_waits_any_more = sender.send((number, offset));
        });
    }
    drop(sender);
    let mut all: Vec<Result<f64, String>> = vec![Err("no answer".to_owned()); servers.len()];
    let now = || sysio::clock::monotonic().unwrap_or_default();
    let end = now() + NTP_ALL_LIMIT;
    while let Ok((number, offset)) = answers.recv_timeout(end.saturating_sub(now())) {
        if let Some(slot) = all.get_mut(number) {
            *slot = offset;
        }
    }
    let answer = |(server, offset_secs): (&String, _)| NtpAnswer { server: server.clone(), offset_secs };
    Ok(servers.iter().zip(all).map(answer).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_gets_an_answer_or_a_reason_in_its_order() {
        let text = include_str!("../../../../profiles/examples/ha.toml");
        let cluster = profiles::load("ha.toml", text.as_bytes(), None).cluster.unwrap();
        let mut node = cluster.resolve("master-1").unwrap();
        node.cluster.ntp_servers = ["no-such-host.invalid", "127.0.0.1"].map(str::to_owned).into();
        let answers = ask_time_servers(Some(&node)).unwrap();
        let names: Vec<&str> = answers.iter().map(|answer| answer.server.as_str()).collect();
        assert_eq!(names, ["no-such-host.invalid", "127.0.0.1"]);
        assert!(answers[0].offset_secs.is_err(), "{answers:?}");
        assert!(ask_time_servers(None).is_err());
    }
}

//! Clocks and time servers.

use super::kernel::parse_kernel_version_date;
use super::readable;
use crate::preflight::facts::{Facts, NtpAnswer};
use crate::preflight::model::{Fact, NotRun};
use jiff::Timestamp;
use profiles::node::NodeConfig;
use std::time::Duration;
use sysio::sysfs::SysRoot;

/// A time server in the rack answers in a millisecond, one on the other side of the world in a third of a second.
const NTP_LIMIT: Duration = Duration::from_secs(1);
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

/// All at once: together they take as long as the slowest.
pub(super) fn ask_time_servers(node: Option<&NodeConfig>) -> Fact<Vec<NtpAnswer>> {
    let Some(node) = node else { return Err(NotRun::new("no cluster file names a time server")) };
    let ask = |server: &String| NtpAnswer {
        server: server.clone(),
        offset_secs: sysio::sntp::ask(server, NTP_LIMIT).map_err(|error| error.to_string()),
    };
    Ok(std::thread::scope(|scope| {
        let asked: Vec<_> =
            node.cluster.ntp_servers.iter().map(|server| (server, scope.spawn(|| ask(server)))).collect();
        asked
            .into_iter()
            .map(|(server, answer)| {
                answer.join().unwrap_or_else(|_| NtpAnswer {
                    server: server.clone(),
                    offset_secs: Err("asking ended early".to_owned()),
                })
            })
            .collect()
    }))
}

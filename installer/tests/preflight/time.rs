use crate::world::{Case, World, case, unknown};
use installer::preflight::NtpAnswer;
use installer::preflight::Outcome::{CouldNotRun, Fail, NotApplicable, Pass, Warn};
use std::time::Duration;

fn at(w: &mut World, now: &str) {
    w.facts.now = Ok(now.parse().unwrap());
}

fn answers(w: &mut World, all: &[Result<f64, &str>]) {
    let answer = |offset: &Result<f64, &str>| NtpAnswer {
        server: "10.0.0.1".to_owned(),
        offset_secs: offset.map_err(str::to_owned),
    };
    w.facts.ntp = Ok(all.iter().map(answer).collect());
}

pub const CASES: &[Case] = &[
    case("clock.floor", |_| {}, Pass, "2026-11-21, the kernel is of 2025-08-26"),
    case(
        "clock.floor",
        |w| at(w, "1970-01-01T00:01:00Z"),
        Fail,
        "the clock says 1970-01-01, but the kernel of this image was built on 2025-08-26; set the clock",
    ),
    case("clock.floor", |w| w.facts.kernel_built = unknown(), CouldNotRun, "nobody could look"),
    case("clock.ceiling", |_| {}, Pass, "2026-11-21"),
    case(
        "clock.ceiling",
        |w| at(w, "2099-01-01T00:00:00Z"),
        Fail,
        "the clock says 2099-01-01, more than ten years after the kernel of this image was built (2025-08-26); set the clock",
    ),
    case("clock.ceiling", |w| w.facts.now = unknown(), CouldNotRun, "nobody could look"),
    case("clock.rtc", |_| {}, Pass, "2 s off"),
    case("clock.rtc", |w| w.facts.rtc = Ok(None), Warn, "there is none"),
    case(
        "clock.rtc",
        |w| w.facts.rtc = Ok(Some("2026-11-21T13:00:00Z".parse().unwrap())),
        Warn,
        "3600 s off",
    ),
    case("clock.rtc", |w| w.facts.rtc = unknown(), CouldNotRun, "nobody could look"),
    case("clock.sync", |_| {}, Pass, "at most 0.012 s off"),
    case(
        "clock.sync",
        |w| w.facts.clock_error = Ok(Duration::from_secs(16)),
        Warn,
        "nobody has set the clock by a time server yet",
    ),
    case("clock.sync", |w| w.facts.clock_error = unknown(), CouldNotRun, "nobody could look"),
    case("ntp.servers", |_| {}, Pass, "1 of 1 answer"),
    case(
        "ntp.servers",
        |w| answers(w, &[Ok(0.0), Err("no answer")]),
        Warn,
        "1 of 2 do not answer: 10.0.0.1 (no answer)",
    ),
    case(
        "ntp.servers",
        |w| w.node.as_mut().unwrap().cluster.ntp_servers.clear(),
        NotApplicable,
        "the cluster file names no time server; Debian's pool is used",
    ),
    case("ntp.servers", |w| w.facts.ntp = unknown(), CouldNotRun, "nobody could look"),
    case("ntp.offset", |_| {}, Pass, "0.004 s slow"),
    case("ntp.offset", |w| answers(w, &[Ok(-1.5), Ok(-1.25)]), Warn, "1.500 s fast"),
    case("ntp.offset", |w| answers(w, &[Ok(-0.6), Ok(0.6)]), Warn, "the servers are 1.200 s apart"),
    case("ntp.offset", |w| answers(w, &[Err("no answer")]), CouldNotRun, "no time server answers"),
    case("time.zone", |_| {}, Pass, "UTC"),
    case(
        "time.zone",
        |w| {
            w.node.as_mut().unwrap().cluster.timezone = "Mars/Base".to_owned();
            w.facts.time_zone_known = Ok(false);
        },
        Fail,
        "the image has no time zone Mars/Base; correct cluster.timezone",
    ),
    case("time.zone", |w| w.facts.time_zone_known = unknown(), CouldNotRun, "nobody could look"),
];

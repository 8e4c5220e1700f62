//! The clocks of the kernel. The only place that reads them; everything above gets times passed in.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use std::io;
use std::time::Duration;

/// The kernel calls its clock synchronised while its error bound is below this; systemd's `ntp_synced` draws the same line.
pub const SYNCHRONISED_MAX_ERROR: Duration = Duration::from_secs(16);

/// Time since boot, without the time spent suspended.
///
/// # Errors
/// When the kernel refuses, which it does not on Linux.
pub fn monotonic() -> io::Result<Duration> {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Time since boot, with the time spent suspended. What intervals and ages are measured with.
///
/// # Errors
/// When the kernel refuses, which it does not on Linux.
pub fn boottime() -> io::Result<Duration> {
    read(ClockId::CLOCK_BOOTTIME)
}

/// Sleeps.
pub fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// Time of day. May jump in both directions.
///
/// # Errors
/// When the clock stands outside the years jiff knows.
pub fn realtime() -> io::Result<Timestamp> {
    let now = read(ClockId::CLOCK_REALTIME)?;
    let seconds = i64::try_from(now.as_secs()).map_err(io::Error::other)?;
    let nanos = i32::try_from(now.subsec_nanos()).map_err(io::Error::other)?;
    Timestamp::new(seconds, nanos).map_err(io::Error::other)
}

/// Upper bound of the error of the time of day, as the kernel keeps it for whoever disciplines the clock.
/// It grows while nobody does; see [`SYNCHRONISED_MAX_ERROR`]. Needs no privilege.
///
/// # Errors
/// When a seccomp filter forbids `adjtimex`.
pub fn max_error() -> io::Result<Duration> {
    // `modes = 0` only reads.
    let micros = adjtimex_read()?.maxerror;
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

#[allow(unsafe_code)]
fn adjtimex_read() -> io::Result<libc::timex> {
    // SAFETY: `timex` is plain old data for which all bits zero is valid, and the pointer is to a live one.
    let (code, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(timex) }
}

fn read(clock: ClockId) -> io::Result<Duration> {
    let time = clock_gettime(clock)?;
    Ok(Duration::from(time))
}

#[cfg(test)]
mod tests {
    use super::{boottime, max_error, monotonic, realtime};

    #[test]
    fn boottime_is_not_behind_monotonic() {
        let (before, after) = (monotonic().unwrap(), boottime().unwrap());
        assert!(after >= before, "{after:?} < {before:?}");
    }

    #[test]
    fn time_of_day_is_after_this_was_written() {
        assert!(realtime().unwrap().as_second() > 1_700_000_000);
    }

    #[test]
    fn kernel_tells_its_error_bound() {
        assert!(max_error().unwrap().as_secs() < 3600);
    }
}

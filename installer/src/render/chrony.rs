//! chrony: the operator's servers and no others, and a bounded wait for trusted time.

use super::Input;
use super::error::RenderError;
use super::output::Output;
use super::text::{HEADER, IniFile, word};

/// Debian's own pool, when the cluster file names no server.
const DEBIAN_POOL: &str = "2.debian.pool.ntp.org";

/// Seconds (one try each) to wait for a first good time: long enough for four `iburst` samples, short enough for a site without
/// any time server, which goes on with its hardware clock and is told by the health agent's clock check.
const WAIT_TRIES: u32 = 8;
/// Seconds to wait on when a time server has answered by then: good time is near.
const WAIT_ON_TRIES: u32 = 22;

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    // The whole file and not a drop-in: Debian's file names a public pool that a drop-in cannot take away.
    output.file("/etc/chrony/chrony.conf", configuration(&input.node.cluster.ntp_servers)?);
    output.file("/etc/systemd/system/chrony-wait.service.d/metalstrap.conf", bounded_wait()?);
    Ok(())
}

fn configuration(servers: &[String]) -> Result<String, RenderError> {
    let mut text = HEADER.to_owned();
    if servers.is_empty() {
        text.push_str(&format!("pool {DEBIAN_POOL} iburst\n"));
    }
    for server in servers {
        text.push_str(&format!("server {} iburst\n", word("ntp server", server, "-.:")?));
    }
    text.push_str(
        "driftfile /var/lib/chrony/chrony.drift\n\
         ntsdumpdir /var/lib/chrony\n\
         logdir /var/log/chrony\n\
         maxupdateskew 100.0\n\
         rtcsync\n\
         makestep 1 3\n\
         leapsectz right/UTC\n\
         port 0\n",
    );
    Ok(text)
}

fn bounded_wait() -> Result<String, RenderError> {
    let ask = "/usr/bin/chronyc -h 127.0.0.1,::1";
    let wait = |tries: u32| format!("{ask} waitsync {tries} 0.1 0.0 1");
    // The sixth field of a source tells which of the last eight questions were answered.
    let has_answered = format!("{ask} -n -c sources | cut -d, -f6 | grep -q '[1-7]'");
    let wait_on = format!("-/bin/sh -c \"{has_answered} && exec {}\"", wait(WAIT_ON_TRIES));
    IniFile::new()
        .section("Service")
        .reset("ExecStart")
        .entry("ExecStart", format!("-{}", wait(WAIT_TRIES)))
        .entry("ExecStart", wait_on)
        .finish()
}

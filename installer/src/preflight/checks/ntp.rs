//! Time servers of the cluster file.

use crate::preflight::facts::NtpAnswer;
use crate::preflight::model::{Check, Class, Finding, Input, Judged, NotRun, known};
use profiles::preflight::{NTP_OFFSET, NTP_SERVERS};

/// From here on leases, tokens and logs of two nodes contradict each other.
const OFFSET_WARN_SECS: f64 = 1.0;

/// `ntp.servers`
pub const SERVERS: Check = Check {
    id: NTP_SERVERS,
    class: Class::Time,
    title: "The time servers of the cluster file answer",
    source: "one SNTP question to each, all at once",
    limits: "one that does not answer within a second: warning",
    why: "without a time server the clocks of the nodes drift apart, and etcd and certificates with them",
    remedy: "is the name right, does the firewall of the site let UDP 123 through?",
    codes: &[],
    during_install: false,
    judge: |input| {
        let answers = asked(input)?;
        let Some(answers) = answers else { return Ok(none_named()) };
        let silent: Vec<String> = answers
            .iter()
            .filter_map(|a| a.offset_secs.as_ref().err().map(|why| format!("{} ({why})", a.server)))
            .collect();
        Ok(match silent.as_slice() {
            [] => Finding::pass(format!("{} of {} answer", answers.len(), answers.len())),
            silent => Finding::warn(format!(
                "{} of {} do not answer: {}",
                silent.len(),
                answers.len(),
                silent.join(", ")
            )),
        })
    },
};

/// `ntp.offset`
pub const OFFSET: Check = Check {
    id: NTP_OFFSET,
    class: Class::Time,
    title: "The clock agrees with the time servers",
    source: "the answers of the time servers",
    limits: "one second off, or the servers contradict each other by as much: warning; no answer: could not run",
    why: "chrony sets the clock at the first start; what was made before, such as logs and the install record, bears the wrong time",
    remedy: "nothing, when the servers agree: the installed system sets the clock; find the server that lies, when they do not",
    codes: &[],
    during_install: false,
    judge: offset,
};

/// The answers; `None` when the cluster file names no server.
fn asked<'a>(input: &Input<'a>) -> Result<Option<&'a [NtpAnswer]>, NotRun> {
    if input.node()?.cluster.ntp_servers.is_empty() {
        return Ok(None);
    }
    known(&input.facts.ntp).map(|answers| Some(answers.as_slice()))
}

fn none_named() -> Finding {
    Finding::not_applicable("the cluster file names no time server; Debian's pool is used")
}

fn offset(input: &Input<'_>) -> Judged {
    let Some(answers) = asked(input)? else { return Ok(none_named()) };
    let mut offsets: Vec<f64> = answers.iter().filter_map(|a| a.offset_secs.as_ref().ok().copied()).collect();
    offsets.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (offsets.first(), offsets.last()) else {
        return Err(NotRun::new("no time server answers"));
    };
    if most - least >= OFFSET_WARN_SECS {
        return Ok(Finding::warn(format!("the servers are {:.3} s apart", most - least)));
    }
    let worst = if least.abs() > most.abs() { *least } else { *most };
    let text = format!("{:.3} s {}", worst.abs(), if worst < 0.0 { "fast" } else { "slow" });
    Ok(if worst.abs() >= OFFSET_WARN_SECS { Finding::warn(text) } else { Finding::pass(text) })
}

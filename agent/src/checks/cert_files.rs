//! `cert.files`: the certificates of k3s on the disk are valid, and will be for a while.
//!
//! Read are the files, not what is served: the agent is root and these are root's. Of the folder `agent` only the top
//! is read, because containerd keeps the files of whole images below it.

use crate::catalogue::{AT_ONCE, Check, Looking, Moment, always, secs};
use crate::context::Context;
use crate::verdict::Verdict;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use profiles::node::Role;
use report::State;
use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::pem::Pem;

/// Folder of k3s that names in messages start from.
const BASE: &str = "var/lib/rancher/k3s";

/// What k3s reads from, with how many folders deep to look.
const FOLDERS: [(&str, u8); 2] = [("server/tls", 3), ("agent", 0)];

/// The API server writes here what it shows to itself alone, and makes it anew by itself.
const SKIPPED: &str = "temporary-certs";

/// k3s has some thirty; whoever has more than this has something else there.
const FILES_MAX: usize = 200;

/// A chain of three certificates has some 4 KiB.
const FILE_MAX_BYTES: u64 = 64 * 1024;

/// As many findings are told, the most urgent first.
const TOLD_MAX: usize = 3;

const DAY_SECS: i64 = 86_400;

/// Days before the end below which a certificate is reported.
struct Limits {
    warn_days: i64,
    critical_days: i64,
}

/// k3s renews these when it starts and less than 90 days are left, so that 60 mean: it has not started for long.
const LEAF: Limits = Limits { warn_days: 60, critical_days: 7 };

/// These last for ten years and are never renewed by k3s alone.
const CA: Limits = Limits { warn_days: 365, critical_days: 30 };

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "cert.files",
    title: "The certificates of k3s are valid and will be for a while",
    source: "validity in `/var/lib/rancher/k3s/server/tls/**/*.crt` and `/var/lib/rancher/k3s/agent/*.crt`, of at most 200 files of 64 KiB; the files, not what is served from memory; the certificate of port 6443 is in no such file, k3s renews it while it runs",
    limits: "Under 60 days left: warning; under 7 days, expired or not valid yet: critical; a CA under 365 days: warning, under 30 days: critical; a file that cannot be read, or no file: unknown, unless another is worse",
    roles: &[Role::Master, Role::Worker],
    applies: always,
    interval: secs(300),
    timeout: secs(10),
    patience: AT_ONCE,
    depends_on: &[],
    action: "restart k3s, one master at a time (on a worker k3s-agent): it renews what has under 90 days left; it never renews a CA: k3s certificate rotate-ca; not valid yet: look at the clock first",
    subject: "",
    look,
};

/// What was seen of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// File below [`BASE`].
    pub file: String,
    /// It signs others.
    pub is_ca: bool,
    /// First second of its validity, Unix time.
    pub not_before: i64,
    /// Last second of its validity, Unix time.
    pub not_after: i64,
}

/// What was seen of all files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Certificates, in the order of their files.
    pub certificates: Vec<Certificate>,
    /// Files and folders that could not be read, each with the reason.
    pub unreadable: Vec<String>,
}

fn look(_: &'static str, context: Arc<Context>, moment: Moment) -> Looking {
    Box::pin(async move {
        let base = context.path(BASE);
        match context.blocking.run("cert.files", move || observe(&base)).await {
            Ok(seen) => judge(&seen, moment.realtime),
            Err(hung) => Verdict::unknown("Hung", format!("the disk does not answer: {hung}")),
        }
    })
}

/// Reads every file; one that cannot be read does not hide the others.
fn observe(base: &Path) -> Observation {
    let (mut seen, mut files) = (Observation::default(), Vec::new());
    for (folder, depth) in FOLDERS {
        if let Err(error) = collect_files(&base.join(folder), depth, &mut files) {
            seen.unreadable.push(format!("{folder}: {error}"));
        }
    }
    files.sort();
    if files.len() > FILES_MAX {
        seen.unreadable.push(format!("{} more files than {FILES_MAX}", files.len() - FILES_MAX));
        files.truncate(FILES_MAX);
    }
    for path in files {
        let file = path.strip_prefix(base).unwrap_or(&path).display().to_string();
        match read_file(&path).and_then(|bytes| parse(&file, &bytes)) {
            Ok(certificates) => seen.certificates.extend(certificates),
            Err(why) => seen.unreadable.push(format!("{file}: {why}")),
        }
    }
    seen
}

/// Names of all `*.crt` in a folder and, `depth` deep, below it. A folder that is not there holds none.
fn collect_files(folder: &Path, depth: u8, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        // Not followed: a link to a folder could lead in a circle.
        if path.is_dir() && !path.is_symlink() {
            if depth > 0 && !path.ends_with(SKIPPED) {
                collect_files(&path, depth - 1, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "crt") && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes));
    let bounded = match read {
        Ok(length) if length as u64 > FILE_MAX_BYTES => Err(Error::other("longer than 64 KiB")),
        other => other,
    };
    bounded.map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The certificates of a file: all of a CA's, else the first. Behind a leaf stand those of its CA, which has a file of
/// its own.
fn parse(file: &str, bytes: &[u8]) -> Result<Vec<Certificate>, String> {
    let mut certificates = Vec::new();
    for pem in Pem::iter_from_buffer(bytes) {
        let pem = pem.map_err(|_| "not PEM")?;
        let certificate = pem.parse_x509().map_err(|_| "not a certificate")?;
        certificates.push(Certificate {
            file: file.to_owned(),
            is_ca: certificate.is_ca(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        });
        if !certificate.is_ca() {
            break;
        }
    }
    if certificates.is_empty() { Err("no certificate".to_owned()) } else { Ok(certificates) }
}

/// All certificates at a time: the state of the worst, and the most urgent ones by name.
pub fn judge(seen: &Observation, now: Timestamp) -> Verdict {
    let mut findings: Vec<(State, &'static str, &Certificate)> = seen
        .certificates
        .iter()
        .filter_map(|certificate| {
            let (state, reason) = judge_one(certificate, now.as_second())?;
            Some((state, reason, certificate))
        })
        .collect();
    findings.sort_by_key(|(state, _, certificate)| {
        (*state != State::Critical, certificate.not_after, certificate.file.clone())
    });
    let mut texts: Vec<String> =
        findings.iter().map(|(_, reason, certificate)| describe(reason, certificate, now)).collect();
    texts.extend(seen.unreadable.iter().map(|what| format!("cannot read {what}")));
    match findings.first() {
        Some((state, reason, _)) => Verdict::new(*state, reason, told(&texts)),
        None if !texts.is_empty() => Verdict::unknown("Unreadable", told(&texts)),
        None => judge_valid(&seen.certificates),
    }
}

fn judge_valid(certificates: &[Certificate]) -> Verdict {
    let Some(first) = certificates.iter().min_by_key(|certificate| certificate.not_after) else {
        return Verdict::unknown("NoCertificates", "k3s has made no certificates yet");
    };
    let (count, end) = (certificates.len(), date(first.not_after));
    let text = format!("none of {count} certificates ends before {end}: {}", name(first));
    Verdict::ok("Valid", text)
}

fn judge_one(certificate: &Certificate, now: i64) -> Option<(State, &'static str)> {
    let limits = if certificate.is_ca { CA } else { LEAF };
    let left = certificate.not_after.saturating_sub(now);
    if left < 0 {
        Some((State::Critical, "Expired"))
    } else if certificate.not_before > now {
        Some((State::Critical, "NotYetValid"))
    } else if left < limits.critical_days * DAY_SECS {
        Some((State::Critical, "AboutToExpire"))
    } else if left < limits.warn_days * DAY_SECS {
        Some((State::Warning, "ExpiresSoon"))
    } else {
        None
    }
}

fn describe(reason: &str, certificate: &Certificate, now: Timestamp) -> String {
    let (name, end) = (name(certificate), date(certificate.not_after));
    let days = certificate.not_after.saturating_sub(now.as_second()) / DAY_SECS;
    match reason {
        "Expired" => format!("{name} expired on {end}"),
        "NotYetValid" => format!("{name} is not valid before {}", date(certificate.not_before)),
        _ => format!("{name} expires on {end}, in {days} days"),
    }
}

fn name(certificate: &Certificate) -> String {
    let kind = if certificate.is_ca { "CA " } else { "" };
    format!("{kind}{}", certificate.file)
}

/// Day of a Unix time; what lies beyond the calendar of the clock is its last day.
fn date(unix: i64) -> String {
    let time = Timestamp::from_second(unix).unwrap_or(Timestamp::MAX);
    time.to_zoned(TimeZone::UTC).date().to_string()
}

fn told(texts: &[String]) -> String {
    let more = texts.len().saturating_sub(TOLD_MAX);
    let mut text = texts.iter().take(TOLD_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

#[cfg(test)]
#[path = "cert_files_tests.rs"]
mod tests;

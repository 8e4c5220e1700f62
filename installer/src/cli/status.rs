//! `metalstrap status`, also `metalstrap health`: asks a health agent and shows what it says.

use super::{Global, OutputFormat};
use crate::exit::{ExitCode, ExitWith, Failure};
use comfy_table::{Table, presets};
use jiff::Timestamp;
use report::{AGENT_PORT, AGENT_SOCKET, CheckResult, REPORT_SCHEMA, Report, State};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;
use sysio::agent_http::{AgentAddress, fetch};

/// The health agent answers from memory; on a slow line a report takes a second.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A health agent makes a new report each second; an older one is no news, or the clocks differ.
const REPORT_MAX_AGE_SECS: i64 = 30;

/// What stands on top of the report of a node that runs the test double.
const DOUBLE_WARNING: &str = "THIS NODE RUNS THE K3S TEST DOUBLE, NOT KUBERNETES";

/// Arguments of `metalstrap status`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 healthy, 1 not healthy, 4 no health agent reached")]
pub struct Args {
    /// Health agent of another node, as in http://10.0.0.11:9940; a bare address is enough.
    #[arg(long)]
    pub url: Option<String>,
    /// Unix socket of the health agent of this node.
    #[arg(long, default_value = AGENT_SOCKET, conflicts_with = "url")]
    pub socket: PathBuf,
}

/// Shows the report. Exit code 0 when the node is healthy, 1 when it is not.
///
/// # Errors
/// With exit code 2 when the URL is none, with 4 when no health agent answers or the answer is no report.
pub fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let address = match &args.url {
        Some(url) => AgentAddress::parse_url(&complete_url(url)).exit_with(ExitCode::InvalidInput)?,
        None => AgentAddress::Socket(args.socket.clone()),
    };
    let body = fetch(&address, "/v1/report", ANSWER_LIMIT).exit_with(ExitCode::Environment)?;
    let report = parse_report(&body, &address).exit_with(ExitCode::Environment)?;
    let now = sysio::clock::realtime().exit_with(ExitCode::Environment)?;
    match global.output {
        OutputFormat::Json => super::print_json(&report)?,
        OutputFormat::Table => super::print_bytes(render(&report, now).as_bytes())?,
    }
    let healthy = report.ready && age_secs(&report, now) <= REPORT_MAX_AGE_SECS;
    Ok(if healthy { ExitCode::Ok } else { ExitCode::Unknown })
}

/// Adds scheme and port where they are missing.
fn complete_url(text: &str) -> String {
    if text.contains("://") {
        return text.to_owned();
    }
    let text = text.trim_end_matches('/');
    let has_port = text.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
    if has_port { format!("http://{text}") } else { format!("http://{text}:{AGENT_PORT}") }
}

fn parse_report(body: &[u8], address: &AgentAddress) -> Result<Report, anyhow::Error> {
    let report: Report = serde_json::from_slice(body)
        .map_err(|error| anyhow::Error::new(error).context(format!("reading the report of {address}")))?;
    anyhow::ensure!(
        report.schema == REPORT_SCHEMA,
        "the report of {address} has the schema {:?}, expected {REPORT_SCHEMA:?}",
        report.schema
    );
    Ok(report)
}

fn age_secs(report: &Report, now: Timestamp) -> i64 {
    now.as_second() - report.generated_at.as_second()
}

/// The report for people. Text of the other side is shown without control characters.
pub fn render(report: &Report, now: Timestamp) -> String {
    let mut out = String::new();
    // Writing into a string does not fail.
    let _infallible = render_head(&mut out, report, now);
    out.push_str(&render_checks(report));
    out
}

fn render_head(out: &mut String, report: &Report, now: Timestamp) -> std::fmt::Result {
    let node = &report.node;
    let verdict = if report.ready { "healthy" } else { "not healthy" };
    let ok = report.summary.ok;
    writeln!(out, "{}: {verdict}, {ok} checks ok", clean(&node.hostname))?;
    if node.k3s_double {
        writeln!(out, "{DOUBLE_WARNING}")?;
    }
    let age = age_secs(report, now);
    if age > REPORT_MAX_AGE_SECS {
        writeln!(out, "This report is {} old, or the clocks differ.", span(age))?;
    }
    for line in &report.because {
        writeln!(out, "  because {}", clean(line))?;
    }
    let facts = [
        ("role", node.role.as_str()),
        ("cluster", &node.cluster),
        ("addresses", &node.addresses.join(" ")),
        ("image", &node.image),
        ("slot", node.slot.as_deref().unwrap_or("-")),
        ("k3s", node.k3s.as_deref().unwrap_or("-")),
        ("kernel", &node.kernel),
    ];
    let facts: Vec<String> = facts.iter().map(|(name, value)| format!("{name} {}", clean(value))).collect();
    let up = span(i64::try_from(node.uptime_secs).unwrap_or(i64::MAX));
    writeln!(out, "{}, up {up}\n", facts.join(", "))
}

fn render_checks(report: &Report) -> String {
    let mut shown: Vec<&CheckResult> = report.checks.iter().filter(|c| c.state != State::Disabled).collect();
    shown.sort_by_key(|check| std::cmp::Reverse(check.state));
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["STATE", "CHECK", "SINCE", "MESSAGE"]);
    for check in &shown {
        let name = format!("{} {}", clean(&check.id), clean(&check.instance));
        let since = span(report.generated_at.as_second() - check.since.as_second());
        table.add_row([check.state.to_string(), name.trim_end().to_owned(), since, clean(&check.message)]);
    }
    let mut out: String = table.lines().map(|line| format!("{}\n", line.trim())).collect();
    for check in shown.iter().filter(|check| !check.action.is_empty()) {
        let _infallible = write!(out, "\n{}: {}", clean(&check.id), clean(&check.action));
    }
    if report.summary.disabled > 0 {
        let disabled = report.checks.iter().filter(|check| check.state == State::Disabled);
        let names: Vec<String> = disabled.map(|check| clean(&check.id)).collect();
        let _infallible = write!(out, "\nnot for this node: {}", names.join(", "));
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// A time span in its largest fitting unit.
fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s if s < 120 => format!("{s} s"),
        s if s < 7200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

/// Whoever answers on that address must not be able to drive this terminal or to turn its text around.
fn clean(text: &str) -> String {
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if hostile(c) { '?' } else { c }).collect()
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;

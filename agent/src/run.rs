//! Puts the agent together and runs it until it is told to end.

use crate::announce::{Herald, because_line, notify};
use crate::board::Board;
use crate::catalogue::CATALOGUE;
use crate::context::{Context, Endpoints};
use crate::{facts, http, scheduler, server};
use anyhow::Context as _;
use jiff::{Timestamp, Unit};
use report::{CheckResult, REPORT_SCHEMA, Report, ReportedNode, State, Summary};
use sd_notify::NotifyState;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use sysio::units::Bus;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Everything that differs between a node and a test.
#[derive(Clone, Debug)]
pub struct Options {
    /// `/`, or a folder that stands for it.
    pub root: PathBuf,
    /// Unix socket to serve on; made with its folder, replaced when it is left over.
    pub socket: PathBuf,
    /// TCP addresses to serve on; one that does not exist yet is tried again until it does.
    pub listen: Vec<SocketAddr>,
    /// Where systemd is.
    pub bus: Bus,
    /// Where the services of the node are.
    pub endpoints: Endpoints,
}

/// What requests are answered from. A new one replaces it at least each second.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The report.
    pub report: Arc<Report>,
    /// Every wanted check has run once.
    pub first_pass_done: bool,
    /// Looks that ran into their time limit, by check id.
    pub timeouts: Vec<(&'static str, u64)>,
    /// Time since boot when it was made.
    pub made_at: Duration,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When the node config cannot be read, the socket cannot be made, or the scheduler ends.
pub async fn run(options: Options) -> anyhow::Result<()> {
    http::install_tls_provider();
    let node = facts::read_node(&options.root)?;
    let reported = facts::collect_node(&options.root, &node);
    let realtime = sysio::clock::realtime().context("reading the clock")?;
    let board = Board::new(CATALOGUE, &node, realtime);
    let first = Snapshot {
        report: Arc::new(assemble(reported.clone(), board.results(), false, realtime)),
        first_pass_done: false,
        timeouts: board.timeouts(),
        made_at: sysio::clock::boottime().context("reading the clock")?,
    };
    let (publish, snapshots) = watch::channel(first);
    let context = Arc::new(Context::new(options.root.clone(), node, options.endpoints, options.bus));
    let herald = Herald::new(options.root);
    let listeners = server::start(&options.socket, &options.listen, snapshots, server::Limits::default())?;
    let mut terminate = signal(SignalKind::terminate()).context("catching SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catching SIGINT")?;
    let outcome = tokio::select! {
        ended = scheduler::run(context, board, reported, publish, herald) => ended,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    listeners.abort_all();
    notify(&[NotifyState::Stopping]);
    outcome
}

/// Puts a report together from the results of the board.
pub fn assemble(
    node: ReportedNode,
    checks: Vec<CheckResult>,
    first_pass_done: bool,
    now: Timestamp,
) -> Report {
    let mut summary = Summary::default();
    for check in &checks {
        *match check.state {
            State::Ok => &mut summary.ok,
            State::Warning => &mut summary.warning,
            State::Critical => &mut summary.critical,
            State::Unknown => &mut summary.unknown,
            State::Disabled => &mut summary.disabled,
        } += 1;
    }
    let mut bad: Vec<&CheckResult> =
        checks.iter().filter(|check| !matches!(check.state, State::Ok | State::Disabled)).collect();
    // Stable: within one state the order of the catalogue stays, in which causes come before consequences.
    bad.sort_by_key(|check| std::cmp::Reverse(check.state));
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(State::Unknown);
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        generated_at: whole_millis(now),
        node,
        ready: first_pass_done && bad.is_empty(),
        worst,
        because: bad.into_iter().map(because_line).collect(),
        summary,
        checks,
    }
}

/// Nobody reads nanoseconds in a report.
pub fn whole_millis(time: Timestamp) -> Timestamp {
    time.round(Unit::Millisecond).unwrap_or(time)
}

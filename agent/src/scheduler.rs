//! Starts looks when they are due, each with its own time limit, and publishes a new snapshot after every change.

use crate::announce::Herald;
use crate::board::{Board, Outcome};
use crate::catalogue::{Check, Moment};
use crate::context::Context;
use crate::facts;
use crate::run::{Snapshot, assemble, whole_millis};
use anyhow::Context as _;
use report::{ReportedNode, State};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

/// How often the board is looked over when nothing happens. Ages in the report are this exact.
const TICK: Duration = Duration::from_secs(1);

/// `k3s --version` unpacks nothing and answers in a second; under emulation it takes longer.
const VERSION_TIMEOUT: Duration = Duration::from_secs(30);

/// A look that ended.
type Ended = (usize, Outcome);

/// Runs for ever.
///
/// # Errors
/// When the clocks cannot be read.
pub async fn run(
    context: Arc<Context>,
    mut board: Board,
    mut node: ReportedNode,
    publish: watch::Sender<Snapshot>,
    mut herald: Herald,
) -> anyhow::Result<()> {
    let (sender, mut ended) = mpsc::channel::<Ended>(64);
    let mut version = ask_version(&context);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let first = tokio::select! {
            _ = tick.tick() => None,
            look = ended.recv() => look,
            Some(answer) = version.recv() => {
                node.k3s = answer.or(node.k3s);
                None
            }
        };
        let now = moment(State::Unknown)?;
        let mut next = first;
        while let Some((index, outcome)) = next {
            board.finish(index, outcome, now.boottime, now.realtime);
            next = ended.try_recv().ok();
        }
        for (index, check, was) in board.take_due(now.boottime) {
            start(index, check, Moment { was, ..now }, context.clone(), sender.clone());
        }
        board.refresh(now.boottime, now.realtime);
        herald.feed_watchdog(now.boottime);
        node.uptime_secs = now.boottime.as_secs();
        let complete = board.first_pass_done(false);
        let report = assemble(node.clone(), board.results(), complete, now.realtime);
        herald.tell(&report, board.first_pass_done(true), complete);
        publish.send_replace(Snapshot {
            report: Arc::new(report),
            first_pass_done: complete,
            timeouts: board.timeouts(),
            made_at: now.boottime,
        });
    }
}

/// Reads the clocks.
fn moment(was: State) -> anyhow::Result<Moment> {
    Ok(Moment {
        boottime: sysio::clock::boottime().context("reading the clock since boot")?,
        monotonic: sysio::clock::monotonic().context("reading the monotonic clock")?,
        realtime: whole_millis(sysio::clock::realtime().context("reading the time of day")?),
        was,
    })
}

/// Runs one look in a task of its own. Whatever it does, it ends with its time limit.
fn start(
    index: usize,
    check: &'static Check,
    begun: Moment,
    context: Arc<Context>,
    sender: mpsc::Sender<Ended>,
) {
    tokio::spawn(async move {
        let looking = (check.look)(check.subject, context, begun);
        let verdict = tokio::time::timeout(check.timeout, looking).await.ok();
        let ended = sysio::clock::boottime().unwrap_or(begun.boottime);
        let outcome = Outcome { verdict, took: ended.saturating_sub(begun.boottime) };
        if sender.send((index, outcome)).await.is_err() {
            tracing::debug!(check = check.id, "a look ended after the scheduler");
        }
    });
}

/// Asks k3s for its version once, beside everything else.
fn ask_version(context: &Arc<Context>) -> mpsc::Receiver<Option<String>> {
    let (sender, receiver) = mpsc::channel(1);
    if context.node.kubernetes.is_some() {
        let root = context.root.clone();
        tokio::spawn(async move {
            let answer = tokio::time::timeout(VERSION_TIMEOUT, facts::ask_k3s_version(&root)).await;
            if sender.send(answer.ok().flatten()).await.is_err() {
                tracing::debug!("k3s told its version after the scheduler had ended");
            }
        });
    }
    receiver
}

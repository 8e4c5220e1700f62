//! The report as OpenMetrics. Pure: a report in, text out. No free text in labels, a bounded number of series.

use crate::run::Snapshot;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use report::State;
use std::fmt;
use std::sync::atomic::AtomicU64;

/// Content type of the answer.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All states, for the state set of each check.
const STATES: [State; 5] = [State::Ok, State::Warning, State::Critical, State::Unknown, State::Disabled];

/// Labels as pairs; the values are ids of ours and addresses, never messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Labels(Vec<(&'static str, String)>);

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}

type Gauges = Family<Labels, Gauge>;
type Times = Family<Labels, Gauge<f64, AtomicU64>>;

/// Renders one snapshot.
///
/// # Errors
/// None in practice: writing into a string does not fail.
pub fn render(snapshot: &Snapshot) -> Result<String, fmt::Error> {
    let report = &snapshot.report;
    let mut registry = Registry::with_prefix("metalstrap");
    let node = &report.node;
    let info = Info::new(Labels(vec![
        ("hostname", node.hostname.clone()),
        ("role", node.role.clone()),
        ("cluster", node.cluster.clone()),
        ("k3s", node.k3s.clone().unwrap_or_default()),
        ("k3s_double", node.k3s_double.to_string()),
        ("image", node.image.clone()),
        ("slot", node.slot.clone().unwrap_or_default()),
        ("agent", node.agent.clone()),
    ]));
    registry.register("node", "What the node is", info);
    let ready = Gauge::<i64>::default();
    ready.set(i64::from(report.ready));
    registry.register("ready", "1 when every check has run and none is warning, critical or unknown", ready);

    let (state, seen, took, timeouts) =
        (Gauges::default(), Times::default(), Times::default(), Family::<Labels, Counter>::default());
    for check in &report.checks {
        // Not `instance`: Prometheus gives that name to the address it scrapes.
        let labels = || vec![("check", check.id.clone()), ("subject", check.instance.clone())];
        for possible in STATES {
            let mut set = labels();
            set.push(("state", possible.to_string()));
            state.get_or_create(&Labels(set)).set(i64::from(check.state == possible));
        }
        if let Some(observed) = check.observed_at {
            let seconds = observed.as_millisecond() as f64 / 1000.0;
            seen.get_or_create(&Labels(labels())).set(seconds);
            took.get_or_create(&Labels(labels())).set(check.took_ms as f64 / 1000.0);
        }
    }
    for (id, count) in &snapshot.timeouts {
        timeouts.get_or_create(&Labels(vec![("check", (*id).to_owned())])).inc_by(*count);
    }
    registry.register("check_state", "1 for the state a check is in, 0 for the others", state);
    registry.register("check_observed_timestamp_seconds", "When a check last looked", seen);
    registry.register("check_duration_seconds", "How long the last look of a check took", took);
    registry.register("check_timeouts", "Looks that ran into their time limit", timeouts);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

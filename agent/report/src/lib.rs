//! The health report: its schema, its check ids and its states. Shared by the health agent (which writes it),
//! `metalstrap status` (which shows it) and the tests. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Schema id of a serialised [`Report`]. Additive within v1; readers ignore unknown fields.
pub const REPORT_SCHEMA: &str = "metalstrap.report/v1";

/// TCP port of the health agent on the node's cluster address and on loopback.
pub const AGENT_PORT: u16 = 9940;

/// Unix socket of the health agent, for `metalstrap status` on the node itself.
pub const AGENT_SOCKET: &str = "/run/metalstrap/agent.sock";

/// State of one check, and, as the worst of all, of a node. "Could not look" is `Unknown`, never `Ok`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The role does not want this check; says why.
    Disabled,
    /// Looked, and it is fine.
    Ok,
    /// Not evaluated or could not look.
    Unknown,
    /// Works, but somebody should look at it.
    Warning,
    /// Does not do its work.
    Critical,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "disabled",
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

/// The health report of one node at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Report {
    /// Always [`REPORT_SCHEMA`].
    pub schema: String,
    /// When it was put together.
    #[schemars(with = "String")]
    pub generated_at: Timestamp,
    /// The node.
    pub node: ReportedNode,
    /// True when no check is critical, unknown or warning and the first full pass is done.
    pub ready: bool,
    /// Worst state of all checks that are not disabled.
    pub worst: State,
    /// One line for each check that is not ok, worst first.
    pub because: Vec<String>,
    /// How many checks are in which state.
    pub summary: Summary,
    /// All checks, in the order of the catalogue.
    pub checks: Vec<CheckResult>,
}

/// The node a report speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ReportedNode {
    /// Host name.
    pub hostname: String,
    /// Role: `master`, `worker` or `proxy`.
    pub role: String,
    /// Cluster name.
    pub cluster: String,
    /// Addresses without prefix length.
    pub addresses: Vec<String>,
    /// Running kernel release.
    pub kernel: String,
    /// What `k3s --version` says; `None` on a proxy.
    pub k3s: Option<String>,
    /// True when the k3s of this image is the project's test double: such a node is not a Kubernetes node.
    pub k3s_double: bool,
    /// Version of the image the node runs.
    pub image: String,
    /// Root slot the node booted from, `a` or `b`.
    pub slot: Option<String>,
    /// Version of the health agent.
    pub agent: String,
    /// Kernel boot id.
    pub boot_id: String,
    /// Seconds since the kernel started.
    pub uptime_secs: u64,
}

/// How many checks are in which state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Summary {
    /// Checks that are ok.
    pub ok: u32,
    /// Checks that warn.
    pub warning: u32,
    /// Checks that are critical.
    pub critical: u32,
    /// Checks that could not look.
    pub unknown: u32,
    /// Checks the role does not want.
    pub disabled: u32,
}

/// Verdict of one check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CheckResult {
    /// Stable id, such as `unit.k3s`.
    pub id: String,
    /// What exactly was looked at (a unit, an address, a mount point); empty when there is only one.
    pub instance: String,
    /// Verdict.
    pub state: State,
    /// Stable CamelCase reason.
    pub reason: String,
    /// One sentence with the measured value.
    pub message: String,
    /// When the state was entered.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// When the check last looked.
    #[schemars(with = "Option<String>")]
    pub observed_at: Option<Timestamp>,
    /// Milliseconds the look took.
    pub took_ms: u64,
    /// What to do next; empty when ok.
    pub action: String,
}

//! The health agent: looks at the node it runs on, judges what it sees, and serves the verdicts.
//!
//! Data flow: `catalogue` (what to look at) → `scheduler` (when) → `checks/*` (look, then a pure `judge`) → `board`
//! (verdict over time, pure) → `Report` → `server`, `metrics`, `announce`. Nothing here changes the node.

pub mod announce;
pub mod api;
pub mod blocking;
pub mod board;
pub mod catalogue;
pub mod checks;
pub mod context;
pub mod facts;
pub mod http;
pub mod kubeconfig;
pub mod memory;
pub mod metrics;
pub mod reference;
pub mod restarts;
pub mod run;
pub mod scheduler;
pub mod server;
pub mod settle;
pub mod thresholds;
pub mod verdict;

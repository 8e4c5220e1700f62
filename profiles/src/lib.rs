//! Cluster file and profile schema, validation, resolution, and the pins of foreign artefacts.
//!
//! Pure: text and values in, values and diagnostics out; no file, clock, network or randomness.
//! What does not belong here: anything about one physical machine (installer), anything that renders a file.

mod check;
pub mod cluster;
pub mod code;
pub mod diagnostic;
pub mod disk;
mod document;
pub mod firewall;
mod format;
pub mod network;
pub mod node;
mod path;
pub mod pins;
pub mod preflight;
pub mod profile;
pub mod reference;
pub mod secret;
mod text;
mod usable;

pub use cluster::{Cluster, Loaded, NodeIdentity, ResolveError, load};
pub use code::Code;
pub use diagnostic::{Diagnostic, Severity};

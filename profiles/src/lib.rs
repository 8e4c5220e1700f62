//! Cluster file and profile schema, validation, resolution, and the pins of foreign artefacts.
//!
//! Pure: text and values in, values and diagnostics out; no file, clock, network or randomness.
//! What does not belong here: anything about one physical machine (installer), anything that renders a file.

pub mod node;
pub mod secret;

//! `metalstrap support`: everything somebody far away needs to understand a machine, without a secret in it, as one archive.
//!
//! machine → sources → redaction → bundle (with a manifest of what was taken, what was redacted, what could not be had and why) →
//! folder, URL or medium. Everything above [`Machine`] is pure. Works in the live system and on a node, as root or not.

mod bundle;
mod destination;
mod host;
mod known;
mod redact;
mod sources;

pub use bundle::{Bundle, MANIFEST_NAME, Manifest, SUPPORT_SCHEMA};
pub use destination::{Destination, FatMedium, automatic_destination, deliver};
pub use host::Host;
pub use known::{KNOWN_SECRETS_PATH, secrets_in_toml};
pub use redact::{Counts, Redactor};
pub use sources::{Item, SOURCES, Source, Where};

use crate::refusal::Refusal;
use jiff::Timestamp;

/// What the collection asks of the machine. Errors are texts for people.
pub trait Machine {
    /// The last `max_bytes` of a file, and whether it was longer.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    fn read(&mut self, path: &str, max_bytes: u64) -> Result<(Vec<u8>, bool), String>;

    /// Plain files below a folder, sorted; links are not followed.
    ///
    /// # Errors
    /// When there is no such folder or it cannot be listed.
    fn list(&mut self, folder: &str) -> Result<Vec<String>, String>;

    /// What a program printed, its exit status noted at the end when it is not 0.
    ///
    /// # Errors
    /// When it cannot be started or does not end in time.
    fn run(&mut self, command: &[&str]) -> Result<Vec<u8>, String>;

    /// The inventory as JSON.
    ///
    /// # Errors
    /// When the machine cannot be looked at.
    fn inventory(&mut self) -> Result<Vec<u8>, String>;

    /// The report of the health agent.
    ///
    /// # Errors
    /// When there is no answer.
    fn health(&mut self) -> Result<Vec<u8>, String>;
}

/// Collects the bundle of a machine. What cannot be had is noted in it and stops nothing.
///
/// # Errors
/// `E_SUPPORT_LEAK` when a known secret would still be in it.
pub fn collect_bundle(machine: &mut dyn Machine, now: Timestamp) -> Result<Bundle, Refusal> {
    let known = known::read_known_secrets(machine);
    let is_installed = read_text(machine, "/proc/cmdline").contains("metalstrap.slot=");
    let host = host_name(&read_text(machine, "/proc/sys/kernel/hostname"));
    let redactor = Redactor::new(known.secrets);
    let mut bundle = Bundle::new(&host, is_installed, now);
    bundle.note_known(redactor.known(), known.unread);
    for item in SOURCES.iter().filter(|item| item.is_for(is_installed)) {
        sources::take(item, machine, &redactor, &mut bundle);
    }
    bundle.ensure_no_leak(&redactor)?;
    Ok(bundle)
}

fn read_text(machine: &mut dyn Machine, path: &str) -> String {
    machine
        .read(path, 64 << 10)
        .map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// A name that can stand in a file name on any file system.
fn host_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '-' };
    let name: String = text.trim().chars().take(63).map(plain).collect();
    if name.trim_matches('-').is_empty() { "unknown".to_owned() } else { name }
}

#[cfg(test)]
mod tests;

//! The bundle: files by name, a manifest of them, and the archive. Pure.

use super::redact::{Counts, Redactor};
use crate::exit::ExitCode;
use crate::inventory::sanitise;
use crate::plan::sha256_hex;
use crate::refusal::Refusal;
use flate2::{Compression, GzBuilder};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;

/// Schema id of a serialised [`Manifest`].
pub const SUPPORT_SCHEMA: &str = "metalstrap.support/v1";
/// Name of the manifest in the bundle.
pub const MANIFEST_NAME: &str = "manifest.json";

/// What is in a bundle, what was taken out of it, and what could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// Always [`SUPPORT_SCHEMA`].
    pub schema: &'static str,
    /// Version of the program.
    pub program: &'static str,
    /// When it was collected, by the clock of the machine.
    pub collected_at: Timestamp,
    /// Name of the machine.
    pub host: String,
    /// `live` or `installed`.
    pub system: &'static str,
    /// Secrets of this machine the redaction knew, besides the patterns.
    pub known_secrets: usize,
    /// Files with secrets that could not be read, so that only the patterns protected theirs.
    pub unread_secrets: Vec<String>,
    /// Files, by name.
    pub files: Vec<File>,
    /// What could not be had.
    pub missing: Vec<Missing>,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct File {
    /// Path in the bundle.
    pub name: String,
    /// Path on the machine, or the command.
    pub source: String,
    /// Length in bytes.
    pub length: u64,
    /// sha256 in hex.
    pub sha256: String,
    /// True when only the end was taken.
    pub cut: bool,
    /// How often each rule took something out.
    pub redacted: Counts,
}

/// Something that could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Path it would have in the bundle.
    pub name: String,
    /// Path on the machine, or the command.
    pub source: String,
    /// Why it is not there.
    pub why: String,
}

/// A bundle, complete or on its way.
#[derive(Clone, Debug)]
pub struct Bundle {
    files: BTreeMap<String, Vec<u8>>,
    manifest: Manifest,
}

impl Bundle {
    pub(super) fn new(host: &str, is_installed: bool, now: Timestamp) -> Self {
        let manifest = Manifest {
            schema: SUPPORT_SCHEMA,
            program: env!("CARGO_PKG_VERSION"),
            collected_at: now,
            host: host.to_owned(),
            system: if is_installed { "installed" } else { "live" },
            known_secrets: 0,
            unread_secrets: Vec::new(),
            files: Vec::new(),
            missing: Vec::new(),
        };
        Self { files: BTreeMap::new(), manifest }
    }

    pub(super) fn note_known(&mut self, known: usize, unread: Vec<String>) {
        self.manifest.known_secrets = known;
        self.manifest.unread_secrets = unread;
    }

    /// Takes what a source gave, redacted, or notes why it gave nothing. Bytes that are no text become U+FFFD: what cannot be
    /// read cannot be redacted either.
    pub(super) fn take(
        &mut self,
        name: &str,
        source: &str,
        got: Result<(Vec<u8>, bool), String>,
        redactor: &Redactor,
    ) {
        let clean = |text: &str| redactor.redact(text).0;
        match got {
            Ok((bytes, cut)) => {
                let (text, redacted) = redactor.redact(&String::from_utf8_lossy(&bytes));
                let bytes = text.into_bytes();
                let (name, source) = (clean(name), clean(source));
                self.manifest.files.push(File {
                    name: name.clone(),
                    source,
                    length: bytes.len() as u64,
                    sha256: sha256_hex(&bytes),
                    cut,
                    redacted,
                });
                self.files.insert(name, bytes);
            }
            Err(why) => self.manifest.missing.push(Missing {
                name: clean(name),
                source: clean(source),
                why: sanitise(&clean(&why)),
            }),
        }
    }

    /// What is in it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Things taken out of it.
    pub fn redactions(&self) -> u64 {
        self.manifest.files.iter().flat_map(|file| file.redacted.values()).sum()
    }

    /// Name of the folder in the archive.
    pub fn folder(&self) -> String {
        let time = self.manifest.collected_at.strftime("%Y%m%dT%H%M%SZ");
        format!("metalstrap-support-{}-{time}", self.manifest.host)
    }

    /// Name of the archive.
    pub fn file_name(&self) -> String {
        format!("{}.tar.gz", self.folder())
    }

    /// The last gate: no known secret anywhere, whatever the rules did.
    pub(super) fn ensure_no_leak(&self, redactor: &Redactor) -> Result<(), Refusal> {
        let manifest = self.render_manifest();
        let files = self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let leaks: Vec<String> = files
            .chain([(MANIFEST_NAME, manifest.as_slice())])
            .filter(|(name, bytes)| {
                redactor.finds_known(&String::from_utf8_lossy(bytes)) || redactor.finds_known(name)
            })
            .map(|(name, _)| redactor.redact(name).0)
            .collect();
        if leaks.is_empty() {
            return Ok(());
        }
        let message = "a secret is still in the support bundle; it is not written";
        Err(Refusal::new("E_SUPPORT_LEAK", ExitCode::Unknown, message).with_details(leaks))
    }

    fn render_manifest(&self) -> Vec<u8> {
        let mut manifest = self.manifest.clone();
        manifest.files.sort_by(|a, b| a.name.cmp(&b.name));
        let mut bytes = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The archive: a gzipped tar with one folder, files by name, all of the time of the collection, owned by root. The same
    /// bundle gives the same bytes.
    ///
    /// # Errors
    /// None in practice: it is made in memory.
    pub fn pack(&self) -> io::Result<Vec<u8>> {
        let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
        let mut archive = tar::Builder::new(gzip);
        let manifest = self.render_manifest();
        let files = self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let mut files: Vec<(&str, &[u8])> = files.chain([(MANIFEST_NAME, manifest.as_slice())]).collect();
        files.sort_unstable();
        let seconds = u64::try_from(self.manifest.collected_at.as_second()).unwrap_or_default();
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(seconds);
            header.set_uid(0);
            header.set_gid(0);
            // Long names get an extension header; the checksum is set with the path.
            archive.append_data(&mut header, format!("{}/{name}", self.folder()), bytes)?;
        }
        archive.into_inner()?.finish()
    }
}

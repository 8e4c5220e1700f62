//! Pins: every foreign artefact with version, URL, length and checksum (`images/pins.toml`).
//!
//! A checksum nobody has seen is never invented: a pin may be empty, and then [`Pins::ensure_filled`] refuses.

use crate::check;
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::document::{At, Document};
use crate::format;
use crate::path::KeyPath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The pins as they stand in the file, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PinsFileV1 {
    /// Version of this format, always 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// True for the pins of the test double only; an image made from them says so loudly.
    #[serde(default)]
    pub double: bool,
    /// k3s.
    pub k3s: K3sPins,
    /// kube-vip.
    pub kube_vip: KubeVipPin,
}

/// Pins of one k3s release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct K3sPins {
    /// Release, such as `v1.28.9+k3s1`.
    #[schemars(schema_with = "format::artefact_version")]
    pub version: String,
    /// Where the release's own list of checksums is; `cargo xtask pins update` reads it.
    #[schemars(schema_with = "format::url")]
    pub sums_url: String,
    /// The files of the release: exactly one of each kind.
    pub files: Vec<FilePin>,
}

/// What a pinned file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// The k3s program, `/usr/local/bin/k3s` in the root image.
    Binary,
    /// The archive of container images that k3s imports at its start.
    AirgapImages,
}

/// One file of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilePin {
    /// What it is.
    pub kind: FileKind,
    /// File name, as in the release's list of checksums.
    #[schemars(schema_with = "format::file_name")]
    pub name: String,
    /// Where it is.
    #[schemars(schema_with = "format::url")]
    pub url: String,
    /// Length in bytes; 0 while nobody has filled it.
    #[serde(default)]
    #[schemars(range(min = 0, max = 17_179_869_184_u64))]
    pub length: u64,
    /// SHA-256 in lower-case hex; empty while nobody has filled it.
    #[serde(default)]
    #[schemars(schema_with = "format::sha256")]
    pub sha256: String,
}

/// Pin of the kube-vip image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubeVipPin {
    /// Release, such as `v0.8.7`.
    #[schemars(schema_with = "format::artefact_version")]
    pub version: String,
    /// Image with host and tag.
    #[schemars(schema_with = "format::image_reference")]
    pub image: String,
    /// Digest of the image manifest (or index) behind the tag; empty while nobody has filled it.
    #[serde(default)]
    #[schemars(schema_with = "format::digest")]
    pub digest: String,
    /// File name of the archive made from the image.
    #[schemars(schema_with = "format::file_name")]
    pub archive: String,
    /// Length of the archive in bytes; 0 while nobody has filled it.
    #[serde(default)]
    #[schemars(range(min = 0, max = 17_179_869_184_u64))]
    pub length: u64,
    /// SHA-256 of the archive; empty while nobody has filled it.
    #[serde(default)]
    #[schemars(schema_with = "format::sha256")]
    pub sha256: String,
}

/// Validated pins. Some may still be empty: see [`Pins::ensure_filled`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    file: PinsFileV1,
    empty: Vec<Diagnostic>,
}

/// At least one pin is empty or unusable. One diagnostic for each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} pins are not filled: {}; `cargo xtask pins update` fills them", .diagnostics.len(), names(.diagnostics))]
pub struct UnfilledPins {
    /// One for each empty value, with its position.
    pub diagnostics: Vec<Diagnostic>,
}

fn names(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| diagnostic.path.as_str()).collect::<Vec<_>>().join(", ")
}

impl Pins {
    /// Parses `images/pins.toml`. The name is used in diagnostics only.
    ///
    /// # Errors
    /// All problems of the file, by position. Empty pins are none.
    pub fn parse(file_name: &str, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let mut diagnostics = Vec::new();
        let pins = parse(file_name, bytes, &mut diagnostics);
        diagnostics.sort();
        match pins {
            Some(pins) if diagnostics.is_empty() => Ok(pins),
            _ => Err(diagnostics),
        }
    }

    /// True for the pins of the test double.
    pub fn is_double(&self) -> bool {
        self.file.double
    }

    /// The k3s release.
    pub fn k3s(&self) -> &K3sPins {
        &self.file.k3s
    }

    /// The kube-vip image.
    pub fn kube_vip(&self) -> &KubeVipPin {
        &self.file.kube_vip
    }

    /// Checks that every length and checksum is there.
    ///
    /// # Errors
    /// Names each empty one.
    pub fn ensure_filled(&self) -> Result<(), UnfilledPins> {
        if self.empty.is_empty() { Ok(()) } else { Err(UnfilledPins { diagnostics: self.empty.clone() }) }
    }
}

fn parse(name: &str, bytes: &[u8], diagnostics: &mut Vec<Diagnostic>) -> Option<Pins> {
    let text = crate::text::parse_text(name, bytes, diagnostics)?;
    let document = Document::parse(name, text, diagnostics)?;
    if !check::version_is_1(&document, diagnostics) {
        return None;
    }
    let checked = check::structure(&document, crate::reference::pins_schema(), diagnostics);
    if !checked.is_clean() {
        return None;
    }
    let file: PinsFileV1 = match serde_json::from_value(checked.value) {
        Ok(file) => file,
        Err(error) => {
            diagnostics.push(document.internal(&KeyPath::root(), &error));
            return None;
        }
    };
    validate(&file, &document, diagnostics);
    let empty = empty_pins(&file, &document);
    Some(Pins { file, empty })
}

/// Exactly one file of each kind, and every URL by HTTPS (except for the double, which may come from anywhere).
fn validate(file: &PinsFileV1, document: &Document<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let files = KeyPath::of("k3s.files");
    let mut refuse = |path: &KeyPath, message: String| {
        diagnostics.push(document.problem(Code::PinIncomplete, path, At::Value, message));
    };
    for (kind, name) in [(FileKind::Binary, "binary"), (FileKind::AirgapImages, "airgap-images")] {
        let mut found = file.k3s.files.iter().enumerate().filter(|(_, pin)| pin.kind == kind);
        if found.next().is_none() {
            refuse(&files, format!("no file with kind = \"{name}\""));
        }
        for (index, _) in found {
            refuse(&files.index(index).key("kind"), format!("a second file with kind = \"{name}\""));
        }
    }
    let urls = file.k3s.files.iter().enumerate().map(|(n, pin)| (files.index(n).key("url"), &pin.url));
    for (path, url) in urls.chain([(KeyPath::of("k3s.sums_url"), &file.k3s.sums_url)]) {
        if !file.double && !url.starts_with("https://") {
            refuse(&path, "artefacts are fetched by HTTPS only".to_owned());
        }
    }
}

/// One diagnostic for each value that nobody has filled yet.
fn empty_pins(file: &PinsFileV1, document: &Document<'_>) -> Vec<Diagnostic> {
    let mut missing = Vec::new();
    for (n, pin) in file.k3s.files.iter().enumerate() {
        let path = KeyPath::of("k3s.files").index(n);
        missing.extend((pin.length == 0).then(|| path.key("length")));
        missing.extend(pin.sha256.is_empty().then(|| path.key("sha256")));
    }
    let image = &file.kube_vip;
    missing.extend(image.digest.is_empty().then(|| KeyPath::of("kube_vip.digest")));
    missing.extend((image.length == 0).then(|| KeyPath::of("kube_vip.length")));
    missing.extend(image.sha256.is_empty().then(|| KeyPath::of("kube_vip.sha256")));
    let message = "nobody has filled this pin yet; `cargo xtask pins update` does";
    missing.iter().map(|path| document.problem(Code::PinEmpty, path, At::Value, message)).collect()
}

//! What the live medium and the running image say about themselves, and the bytes they have for an install.

pub(crate) mod sources;

pub use sources::{FileLook, Sources, unit_file_name};

use crate::exit::ExitCode;
use crate::plan::image::{Artifacts, DescriptionError, ImageInfo, parse_artifacts, parse_image};
use crate::refusal::Refusal;
use std::path::Path;
use sysio::files::read_text;

/// Manifest of the artefacts in the root image.
const ARTIFACTS_PATH: &str = "usr/share/metalstrap/artifacts/manifest.json";
/// Descriptions are a few KiB.
const DESCRIPTION_MAX_BYTES: u64 = 1 << 20;

/// The descriptions that an install goes by.
#[derive(Clone, Debug)]
pub struct Medium {
    /// The image.
    pub image: ImageInfo,
    /// The artefacts in it.
    pub artifacts: Artifacts,
}

/// Reads both descriptions.
///
/// # Errors
/// `E_MEDIUM` when one cannot be read or is of another form.
pub fn read_medium(medium: &Path, image_root: &Path) -> Result<Medium, Refusal> {
    let image = read(&medium.join("live/image.json"), parse_image)?;
    let artifacts = read(&image_root.join(ARTIFACTS_PATH), parse_artifacts)?;
    Ok(Medium { image, artifacts })
}

fn read<T>(path: &Path, parse: impl Fn(&str) -> Result<T, DescriptionError>) -> Result<T, Refusal> {
    let refuse = |error: anyhow::Error| {
        let message = format!("reading the medium: {}: {error:#}", path.display());
        Refusal::new("E_MEDIUM", ExitCode::Download, message)
    };
    let text = read_text(path, DESCRIPTION_MAX_BYTES).map_err(|e| refuse(e.into()))?;
    parse(&text).map_err(|e| refuse(e.into()))
}

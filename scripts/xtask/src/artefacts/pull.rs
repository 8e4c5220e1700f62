//! Pinned files into the content-addressed cache: all at once, each with a progress bar.

use super::download::{self, Download};
use super::{From, Pinned, oci, verify};
use crate::failure::{DOWNLOAD, failure};
use crate::image::live;
use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};

/// How a progress bar looks.
const BAR: &str = "{msg:32!} {bar:30} {bytes:>12} of {total_bytes:<12} {binary_bytes_per_sec}";

/// The file of each pin in `cache`, in the same order.
///
/// # Errors
/// Exit code 5; those files that did arrive are kept.
pub fn ensure_all(pinned: &[Pinned], folder: Option<&Path>, cache: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
    let files: Vec<PathBuf> = pinned.iter().map(|pin| cache.join(&pin.sha256)).collect();
    let mut wanted = Vec::new();
    for (pin, file) in pinned.iter().zip(&files) {
        // A cached file was verified when it came in; disks err, so it is looked at again.
        if file.exists() && verify(file, pin).is_ok() {
            continue;
        }
        match folder {
            Some(folder) => take(pin, &folder.join(&pin.name), file)?,
            None => wanted.push((pin, file.clone())),
        }
    }
    if !wanted.is_empty() {
        download_all(&wanted)?;
    }
    Ok(files)
}

fn take(pin: &Pinned, from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Err(failure(DOWNLOAD, format!("{} is not there", from.display())));
    }
    // A copy, verified after it was made: nobody changes it any more.
    let partial = to.with_extension("partial");
    std::fs::copy(from, &partial).with_context(|| format!("copying {}", from.display()))?;
    verify(&partial, pin)?;
    std::fs::rename(&partial, to).with_context(|| format!("renaming {}", partial.display()))
}

fn download_all(wanted: &[(&Pinned, PathBuf)]) -> Result<()> {
    let bars = MultiProgress::new();
    let style = ProgressStyle::with_template(BAR).context("reading the form of the progress bar")?;
    let runtime = tokio::runtime::Runtime::new().context("starting the download threads")?;
    let client = download::client()?;
    runtime.block_on(async {
        let pulls = wanted.iter().map(|(pin, file)| {
            let bar = bars.add(ProgressBar::new(pin.length)).with_message(pin.name.clone());
            pull(&client, pin, file, bar.with_style(style.clone()))
        });
        let results = futures::future::join_all(pulls).await;
        results.into_iter().collect::<Result<Vec<()>>>().map(|_| ())
    })
}

async fn pull(client: &reqwest::Client, pin: &Pinned, file: &Path, bar: ProgressBar) -> Result<()> {
    match &pin.from {
        From::Url(url) => {
            let wanted = Download { url, name: &pin.name, length: pin.length, sha256: &pin.sha256, to: file };
            download::download(client, &wanted, &|bytes| bar.set_position(bytes)).await
        }
        From::Image { reference, digest } => {
            let archive = file.with_extension("archive");
            oci::write_archive(reference, digest, &archive, &|bytes| bar.set_position(bytes)).await?;
            verify(&archive, pin)?;
            live::link(&archive, file)?;
            std::fs::remove_file(&archive).with_context(|| format!("removing {}", archive.display()))
        }
    }?;
    bar.finish();
    Ok(())
}

//! One file by HTTP: resumed where it stopped, never longer than its pin, verified before it gets its name.

use super::ensure_matches;
use crate::failure::{DOWNLOAD, failure};
use crate::image::stage;
use anyhow::{Context, Result};
use futures::StreamExt;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode};
use std::path::Path;
use std::time::Duration;
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt;

/// How often a transfer that breaks is taken up again.
const TRIES: u32 = 4;
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(15);

/// What to fetch.
pub struct Download<'a> {
    /// Where it is.
    pub url: &'a str,
    /// Its name in messages.
    pub name: &'a str,
    /// Bytes, from its pin.
    pub length: u64,
    /// Lower-case hex, from its pin.
    pub sha256: &'a str,
    /// Where it goes; `.partial` beside it holds what arrived so far, also after a failure.
    pub to: &'a Path,
}

/// The HTTP client of all downloads.
///
/// # Errors
/// The TLS set-up of this machine is unusable.
pub fn client() -> Result<Client> {
    Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE).build().context("making the HTTP client")
}

/// Fetches one file; `progress` hears the number of bytes that are there.
///
/// # Errors
/// Exit code 5: unreachable, refused, too long, too short after all tries, or another content than pinned.
pub async fn download(client: &Client, wanted: &Download<'_>, progress: &(dyn Fn(u64) + Sync)) -> Result<()> {
    let partial = wanted.to.with_extension("partial");
    let mut last = None;
    for _ in 0..TRIES {
        match attempt(client, wanted, &partial, progress).await {
            Ok(Attempt::Whole) => return finish(wanted, &partial),
            Ok(Attempt::Broken(reason)) => last = Some(reason),
            Err(error) => return Err(error),
        }
    }
    let reason = last.unwrap_or_default();
    Err(failure(DOWNLOAD, format!("fetching {}: {reason} (tried {TRIES} times)", wanted.url)))
}

enum Attempt {
    Whole,
    /// Worth another try, from where it stopped.
    Broken(String),
}

async fn attempt(
    client: &Client,
    wanted: &Download<'_>,
    partial: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Attempt> {
    let mut there = partial.metadata().map_or(0, |meta| meta.len());
    if there == wanted.length {
        return Ok(Attempt::Whole);
    }
    if there > wanted.length {
        there = 0;
    }
    let mut request = client.get(wanted.url);
    if there > 0 {
        request = request.header(RANGE, format!("bytes={there}-"));
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Ok(Attempt::Broken(chain(&error))),
    };
    let there = match response.status() {
        StatusCode::PARTIAL_CONTENT if starts_at(&response, there) => there,
        // The server knows no ranges: from the beginning.
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            tokio::fs::remove_file(partial)
                .await
                .with_context(|| format!("removing {}", partial.display()))?;
            return Ok(Attempt::Broken("the server answered for another range".to_owned()));
        }
        status if status.is_server_error() => {
            return Ok(Attempt::Broken(format!("the server says {status}")));
        }
        status => {
            return Err(failure(DOWNLOAD, format!("fetching {}: the server says {status}", wanted.url)));
        }
    };
    receive(response, wanted, partial, there, progress).await
}

async fn receive(
    response: Response,
    wanted: &Download<'_>,
    partial: &Path,
    mut there: u64,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Attempt> {
    let writing = || format!("writing {}", partial.display());
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(there == 0).append(there > 0);
    let mut file = options.open(partial).await.with_context(writing)?;
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                file.flush().await.with_context(writing)?;
                return Ok(Attempt::Broken(chain(&error)));
            }
        };
        there += chunk.len() as u64;
        if there > wanted.length {
            drop(file);
            tokio::fs::remove_file(partial)
                .await
                .with_context(|| format!("removing {}", partial.display()))?;
            let hint = "if the pin is wrong, `cargo xtask pins update` reads it again";
            let message =
                format!("{} is longer than the {} bytes of its pin; {hint}", wanted.url, wanted.length);
            return Err(failure(DOWNLOAD, message));
        }
        file.write_all(&chunk).await.with_context(writing)?;
        progress(there);
    }
    file.flush().await.with_context(writing)?;
    if there == wanted.length {
        return Ok(Attempt::Whole);
    }
    Ok(Attempt::Broken(format!("it ended after {there} of {} bytes", wanted.length)))
}

fn finish(wanted: &Download<'_>, partial: &Path) -> Result<()> {
    let (length, sha256) = stage::measure(partial)?;
    if let Err(error) = ensure_matches(wanted.name, (wanted.length, wanted.sha256), (length, &sha256)) {
        std::fs::remove_file(partial).with_context(|| format!("removing {}", partial.display()))?;
        return Err(error);
    }
    std::fs::rename(partial, wanted.to).with_context(|| format!("renaming {}", partial.display()))
}

fn starts_at(response: &Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {offset}-")))
}

/// An error with its causes: reqwest's own text does not name them.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;

//! Fetching small things and sending over HTTP and HTTPS: bounded in length and time; but for [`look`], tried again a few times.

mod client;
mod error;
#[cfg(test)]
mod tests;

pub use client::without_user;
pub use error::HttpError;

use client::build_client;
use reqwest::blocking::Client;
use reqwest::redirect::Policy;
use std::io::Read;
use std::thread;
use std::time::Duration;

/// Whole time of one attempt to fetch something into memory.
const MEMORY_LIMIT: Duration = Duration::from_secs(60);

/// Whole time of one attempt to send something.
const SEND_LIMIT: Duration = Duration::from_secs(3600);

/// How often something is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Pause after the first failure; doubled after each further one.
    pub first_pause: Duration,
}

impl Default for Retry {
    /// Five attempts over 15 seconds.
    fn default() -> Self {
        Self { attempts: 5, first_pause: Duration::from_secs(1) }
    }
}

/// Fetches a small thing into memory.
///
/// # Errors
/// The error of the last attempt.
pub fn get(url: &str, max_bytes: u64, retry: Retry) -> Result<Vec<u8>, HttpError> {
    let client = build_client(url, MEMORY_LIMIT)?;
    with_retries(url, retry, || fetch(&client, url, max_bytes))
}

/// Sends bytes to a URL: PUT, or POST where the server takes no PUT. Answers of the 200s are a yes.
///
/// # Errors
/// The error of the last attempt.
pub fn send(url: &str, bytes: &[u8], content_type: &str, retry: Retry) -> Result<(), HttpError> {
    let client = build_client(url, SEND_LIMIT)?;
    with_retries(url, retry, || {
        let send = |method: reqwest::Method| {
            let request =
                client.request(method, url).header("content-type", content_type).body(bytes.to_vec());
            let answer = request.send();
            answer
                .map_err(|source| HttpError::Unsent { url: without_user(url), source: source.without_url() })
        };
        let mut status = send(reqwest::Method::PUT)?.status();
        if matches!(status.as_u16(), 404 | 405 | 501) {
            status = send(reqwest::Method::POST)?.status();
        }
        if status.is_success() {
            Ok(())
        } else {
            Err(HttpError::NotTaken { url: without_user(url), status: status.as_u16() })
        }
    })
}

/// Fetches a small thing once, from a server whose certificate is not looked at (`trusted` is `None`) or has to be signed by one of
/// these, in PEM form. No proxy is used: the question is whether this machine reaches the server. Only for questions that hold no
/// secret.
///
/// # Errors
/// No answer within the limit, a status outside of the 200s, or a certificate that does not fit.
pub fn look(
    url: &str,
    max_bytes: u64,
    limit: Duration,
    trusted: Option<&[u8]>,
) -> Result<Vec<u8>, HttpError> {
    // Fails when a provider is installed already, which is just as well.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let failed = |source| HttpError::Client { url: without_user(url), source };
    let mut builder =
        Client::builder().connect_timeout(limit).timeout(limit).redirect(Policy::none()).no_proxy();
    builder = match trusted {
        None => builder.tls_danger_accept_invalid_certs(true),
        Some(pem) => builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem).map_err(failed)?),
    };
    let client = builder.build().map_err(failed)?;
    fetch(&client, url, max_bytes)
}

fn with_retries<T>(
    url: &str,
    retry: Retry,
    mut attempt: impl FnMut() -> Result<T, HttpError>,
) -> Result<T, HttpError> {
    let mut pause = retry.first_pause;
    let mut left = retry.attempts.max(1);
    loop {
        left -= 1;
        match attempt() {
            Err(error) if left > 0 && error.is_transient() => {
                tracing::warn!(url = without_user(url), error = %error, pause_secs = pause.as_secs_f32(), left, "fetching failed, trying again");
                thread::sleep(pause);
                pause *= 2;
            }
            result => return result,
        }
    }
}

fn fetch(client: &Client, url: &str, max_bytes: u64) -> Result<Vec<u8>, HttpError> {
    let response = client
        .get(url)
        .send()
        .map_err(|source| HttpError::Transport { url: without_user(url), source: source.without_url() })?;
    if !response.status().is_success() {
        return Err(HttpError::Status { url: without_user(url), status: response.status().as_u16() });
    }
    let too_long = || HttpError::TooLong { url: without_user(url), max_bytes };
    if response.content_length().is_some_and(|length| length > max_bytes) {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    let read = response.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|source| HttpError::Stream { url: without_user(url), source })?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_long());
    }
    Ok(bytes)
}

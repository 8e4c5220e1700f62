//! The client: how long it waits, whom it trusts, where it lets itself be sent.

use super::error::HttpError;
use reqwest::blocking::Client;
use reqwest::redirect::Policy;
use std::time::Duration;

/// How long one attempt may take to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// The URL as it may be shown: without the user name and password that may stand in it.
pub fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest.get(..end).and_then(|authority| authority.rfind('@')) {
        Some(at) => format!("{scheme}://{}", rest.get(at + 1..).unwrap_or_default()),
        None => url.to_owned(),
    }
}

/// A server sends us from HTTPS to plain HTTP, where anybody on the way could read and change what comes.
#[derive(Debug, thiserror::Error)]
#[error("the server redirects from https to http ({host}), which is refused")]
struct Downgraded {
    host: String,
}

/// A few redirects are followed, none of them from HTTPS to plain HTTP: who named an https URL relies on it.
pub(super) fn redirects() -> Policy {
    let limited = Policy::limited(REDIRECTS_MAX);
    Policy::custom(move |attempt| {
        let downgraded = attempt.url().scheme() != "https"
            && attempt.previous().last().is_some_and(|from| from.scheme() == "https");
        if downgraded {
            let host = attempt.url().host_str().unwrap_or_default().to_owned();
            attempt.error(Downgraded { host })
        } else {
            limited.redirect(attempt)
        }
    })
}

/// A client for this URL. Plain HTTP gets one without any root certificate, so that it works on a machine that has none.
pub(super) fn build_client(url: &str, limit: Duration) -> Result<Client, HttpError> {
    // Fails when a provider is installed already, which is just as well.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        .timeout(limit)
        .redirect(redirects())
        .user_agent(concat!("metalstrap/", env!("CARGO_PKG_VERSION")));
    if !url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|source| HttpError::Client { url: without_user(url), source })
}

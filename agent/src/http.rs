//! HTTP probes: short, bounded, without proxies and redirects.

use reqwest::{Certificate, Client, ClientBuilder};
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A probe that takes longer has failed. Below every check's own time limit, so that the check can say why.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

/// More than this of an answer is not read; a Node object has some 20 kB, `/readyz?verbose` 2 kB.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;

/// How a probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There was an HTTP answer.
    Http {
        /// Status code.
        status: u16,
        /// Body, cut at 1 MiB.
        body: String,
    },
    /// Nobody answered, not in time, or not somebody to be trusted.
    Nobody(String),
}

/// Clients without credentials: one for plain HTTP, one per CA.
#[derive(Debug, Default)]
pub struct Http {
    plain: Mutex<Option<Client>>,
    trusting: Mutex<Option<(String, Client)>>,
}

impl Http {
    /// GET over plain HTTP, for services on loopback.
    pub async fn get_plain(&self, url: &str) -> Answer {
        let cached = lock(&self.plain).clone();
        let client = match cached {
            Some(client) => client,
            None => match builder().build() {
                Ok(client) => lock(&self.plain).insert(client).clone(),
                Err(error) => return Answer::Nobody(root_cause(&error)),
            },
        };
        get(&client, url).await
    }

    /// GET over TLS; the server must have a certificate of that CA (PEM) and nobody else's.
    ///
    /// # Errors
    /// When the PEM holds no usable certificate.
    pub async fn get_trusting(&self, ca_pem: &str, url: &str) -> Result<Answer, String> {
        let cached = lock(&self.trusting).clone().filter(|(pem, _)| pem == ca_pem);
        let client = match cached {
            Some((_, client)) => client,
            None => {
                let client = trusting(ca_pem.as_bytes())?.build().map_err(|error| root_cause(&error))?;
                *lock(&self.trusting) = Some((ca_pem.to_owned(), client.clone()));
                client
            }
        };
        Ok(get(&client, url).await)
    }
}

/// Makes ring the TLS provider of the process. Must come before the first client; later calls do nothing.
pub fn install_tls_provider() {
    // Refused when there is one already, which is the same one.
    let _already_there = rustls::crypto::ring::default_provider().install_default().is_err();
}

/// A builder with the limits every probe has.
pub fn builder() -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PROBE_TIMEOUT)
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(1)
        .user_agent(concat!("metalstrap-agent/", env!("CARGO_PKG_VERSION")))
}

/// A builder that trusts the certificates of a PEM bundle and no others.
///
/// # Errors
/// When the bundle holds no certificate.
pub fn trusting(ca_pem: &[u8]) -> Result<ClientBuilder, String> {
    let roots = Certificate::from_pem_bundle(ca_pem).map_err(|error| root_cause(&error))?;
    if roots.is_empty() {
        return Err("no certificate in the CA file".to_owned());
    }
    Ok(builder().tls_certs_only(roots).https_only(true))
}

/// Sends one GET and reads a bounded answer.
pub async fn get(client: &Client, url: &str) -> Answer {
    let mut response = match client.get(url).send().await {
        Ok(response) => response,
        Err(error) => return Answer::Nobody(root_cause(&error)),
    };
    let status = response.status().as_u16();
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= ANSWER_MAX_BYTES => {
                bytes.extend_from_slice(&chunk)
            }
            Ok(_) => break,
            Err(error) => return Answer::Nobody(format!("the answer broke off: {}", root_cause(&error))),
        }
    }
    Answer::Http { status, body: String::from_utf8_lossy(&bytes).into_owned() }
}

/// The innermost reason of an error, which is the one an operator can act on.
pub fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", PROBE_TIMEOUT.as_secs());
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! One GET to a health agent: over its unix socket or over TCP. Blocking, for the command line.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

/// A report is some ten kilobytes; whoever sends more is no health agent.
const ANSWER_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Where the health agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentAddress {
    /// Its unix socket, on the node itself.
    Socket(PathBuf),
    /// Its URL without a path, such as `http://10.0.0.11:9940`.
    Url(String),
}

impl std::fmt::Display for AgentAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

impl AgentAddress {
    /// The address of an agent by its URL.
    ///
    /// # Errors
    /// When it is no HTTP or HTTPS URL of a host, or names a document.
    pub fn parse_url(text: &str) -> Result<Self, AgentUrlError> {
        let wrong = |why: String| AgentUrlError { url: text.to_owned(), why };
        let url = reqwest::Url::parse(text).map_err(|error| wrong(error.to_string()))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(wrong(format!("{} is neither http nor https", url.scheme())));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it names a document; host and port are enough".to_owned()));
        }
        Ok(Self::Url(text.trim_end_matches('/').to_owned()))
    }
}

/// A text that is not the URL of a health agent.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} is not the address of a health agent: {why}")]
pub struct AgentUrlError {
    /// The text.
    url: String,
    /// What is wrong with it.
    why: String,
}

/// Why the health agent gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AgentHttpError {
    /// No connection, no answer in time, or no HTTP.
    #[error("asking the health agent at {at}")]
    Request {
        /// Who was asked.
        at: AgentAddress,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// The answer broke off.
    #[error("reading the answer of the health agent at {at}")]
    Body {
        /// Who was asked.
        at: AgentAddress,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// An answer, but not the document asked for.
    #[error("the health agent at {at} answers {path} with HTTP status {status}")]
    Status {
        /// Who was asked.
        at: AgentAddress,
        /// What was asked for.
        path: &'static str,
        /// HTTP status code.
        status: u16,
    },
}

/// Fetches one document, at most 4 MiB, in at most `limit`. No proxy is used and no redirect followed.
///
/// # Errors
/// When there is no answer, or its status is not 200.
pub fn fetch(at: &AgentAddress, path: &'static str, limit: Duration) -> Result<Vec<u8>, AgentHttpError> {
    // reqwest is built without a TLS provider of its own; a second installation is refused and harmless.
    let _already_there = rustls::crypto::ring::default_provider().install_default().is_err();
    let failed = |source| AgentHttpError::Request { at: at.clone(), source };
    let builder = reqwest::blocking::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(limit);
    let (builder, base) = match at {
        AgentAddress::Socket(socket) => (builder.unix_socket(socket.as_path()), "http://agent".to_owned()),
        AgentAddress::Url(url) => (builder, url.trim_end_matches('/').to_owned()),
    };
    let client = builder.build().map_err(failed)?;
    let response = client.get(format!("{base}{path}")).send().map_err(failed)?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(AgentHttpError::Status { at: at.clone(), path, status });
    }
    let mut bytes = Vec::new();
    response
        .take(ANSWER_MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|source| AgentHttpError::Body { at: at.clone(), source })?;
    Ok(bytes)
}

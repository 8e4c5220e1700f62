//! Why something could not be fetched or sent, and whether trying again may help.

use std::io;

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The client could not be made, for instance because there are no root certificates for HTTPS.
    #[error("preparing to fetch {url}")]
    Client {
        /// What was asked for.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// No connection, no answer in time, a broken TLS session.
    #[error("fetching {url}")]
    Transport {
        /// What was asked for.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The server said no.
    #[error("fetching {url}: the server answered {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// No connection, or no answer, when something was sent.
    #[error("sending to {url}")]
    Unsent {
        /// Where to.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The server did not take what was sent.
    #[error("sending to {url}: the server answered {status}")]
    NotTaken {
        /// Where to.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// More bytes than allowed.
    #[error("fetching {url}: longer than {max_bytes} bytes")]
    TooLong {
        /// What was asked for.
        url: String,
        /// The bound.
        max_bytes: u64,
    },
    /// The answer broke off.
    #[error("fetching {url}: reading the answer")]
    Stream {
        /// What was asked for.
        url: String,
        /// Why.
        source: io::Error,
    },
}

impl HttpError {
    /// True when trying again may help: no answer, a broken stream, a server in trouble; not a wrong address or a refusal.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } | Self::Unsent { source, .. } => !source.is_redirect(),
            Self::Stream { .. } => true,
            Self::Status { status, .. } | Self::NotTaken { status, .. } => {
                *status >= 500 || *status == 408 || *status == 429
            }
            Self::Client { .. } | Self::TooLong { .. } => false,
        }
    }
}

//! What goes wrong in a call.

use thiserror::Error;

/// Why a call failed. None of the texts holds the token.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The address is none.
    #[error("{url:?} is no address of a JupyterHub API ({why}); it looks like http://127.0.0.1:8000/hub/api")]
    Address {
        /// As given.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// The token cannot be sent.
    #[error("the token holds characters that cannot be sent in a header; was a whole file meant?")]
    Token,
    /// The certificate to show, or those to believe, cannot be used.
    #[error("the certificate to show, or those to believe, cannot be used: {0}")]
    Tls(String),
    /// Nothing was answered.
    #[error("no answer from {url}: {why}")]
    Network {
        /// Where, without query.
        url: String,
        /// Why.
        why: String,
    },
    /// The hub refused, or failed.
    #[error("{method} {path}: {status}{}", .message.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Api {
        /// Method of the call.
        method: String,
        /// Path of the call.
        path: String,
        /// HTTP status.
        status: u16,
        /// What the hub says.
        message: Option<String>,
        /// Seconds after which to try again, where the hub says so.
        retry_after: Option<u64>,
    },
    /// Something answered that is no JupyterHub, or none that this client knows.
    #[error("{url} does not answer like a JupyterHub API: {why}")]
    Foreign {
        /// Where.
        url: String,
        /// What is strange.
        why: String,
    },
    /// A server is still on its way.
    #[error("{server} is still {pending} after {seconds} seconds")]
    TooSlow {
        /// Which, as `user/name`.
        server: String,
        /// What it is busy with.
        pending: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A start did not succeed.
    #[error("{server} did not start{}", .message.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    NotStarted {
        /// Which, as `user/name`.
        server: String,
        /// What the hub says.
        message: Option<String>,
    },
}

impl ClientError {
    /// The status, if the hub answered.
    pub fn status(&self) -> Option<u16> {
        if let Self::Api { status, .. } = self { Some(*status) } else { None }
    }
}

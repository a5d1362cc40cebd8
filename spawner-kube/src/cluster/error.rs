//! Why a request to the API server brought no result.

use http::StatusCode;
use thiserror::Error;

use crate::causes::{self, Trouble};

/// Why a request brought no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ApiError {
    /// The API server answered, but not with success.
    #[error("the API server answered {status}: {message}")]
    Answer {
        /// Status code.
        status: u16,
        /// What it said.
        message: String,
    },
    /// No answer: no connection, a broken one, or none in time.
    #[error("the API server does not answer: {0}")]
    Unreachable(String),
    /// It is not known which API server to ask, or as whom.
    #[error("no cluster to talk to: {0}")]
    NoCluster(String),
}

impl ApiError {
    /// The error in an answer with this status and body.
    pub(crate) fn from_answer(status: StatusCode, body: &[u8]) -> Self {
        let parsed: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let told = parsed.as_ref().and_then(|value| value.get("message")?.as_str());
        let message = match told {
            Some(message) => message.to_owned(),
            None => String::from_utf8_lossy(body).chars().take(300).collect(),
        };
        Self::Answer { status: status.as_u16(), message }
    }

    /// The status code, when there was an answer.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Answer { status, .. } => Some(*status),
            Self::Unreachable(_) | Self::NoCluster(_) => None,
        }
    }

    /// Whether the same request may go well a moment later, without anybody changing anything. A webhook that does not
    /// answer is not waited for: people are told.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Answer { status: 429 | 502 | 503 | 504, .. } | Self::Unreachable(_) => true,
            Self::Answer { status: 500, message } => !message.contains("failed calling webhook"),
            Self::Answer { .. } | Self::NoCluster(_) => false,
        }
    }

    /// Whether the place in the history that was asked for is not there: any more, or not yet, as when the cluster's
    /// own database was put back to an earlier time.
    pub(crate) fn is_forgotten(&self) -> bool {
        match self {
            Self::Answer { status: 410, .. } => true,
            Self::Answer { message, .. } => message.contains("Too large resource version"),
            Self::Unreachable(_) | Self::NoCluster(_) => false,
        }
    }

    /// What it means for a server. `object` is what was asked for, for example `pod jupyter-alice`.
    pub(crate) fn into_trouble(self, object: &str) -> Trouble {
        match self {
            Self::Answer { status, message } => causes::of_answer(status, &message, object),
            Self::Unreachable(_) | Self::NoCluster(_) => causes::of_silence(&self.to_string(), object),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> ApiError {
        ApiError::from_answer(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn answers_are_read_and_told_apart() {
        let denied = answer(403, r#"{"kind":"Status","message":"pods \"x\" is forbidden"}"#);
        assert_eq!(denied.to_string(), "the API server answered 403: pods \"x\" is forbidden");
        assert!(!denied.may_pass());
        assert_eq!(denied.into_trouble("pod x").cause, "forbidden");
        assert!(answer(503, "<html>").may_pass());
        assert!(answer(500, "etcd leader changed").may_pass());
        assert!(!answer(500, r#"{"message":"failed calling webhook \"w\": refused"}"#).may_pass());
        assert!(answer(410, "").is_forgotten());
        let ahead = answer(504, r#"{"message":"Timeout: Too large resource version: 90, current: 7"}"#);
        assert!(ahead.is_forgotten() && !answer(504, "").is_forgotten());
    }

    #[test]
    fn silence_is_the_clusters_fault_and_may_pass() {
        let silence = ApiError::Unreachable("connection refused".to_owned());
        assert!(silence.may_pass());
        let trouble = silence.into_trouble("pod x");
        assert_eq!(trouble.cause, "cluster-unavailable");
        assert!(trouble.operator.contains("pod x") && trouble.operator.contains("connection refused"));
    }
}

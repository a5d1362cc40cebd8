//! Why a start or a stop failed: for the person, for the operator, and for programs.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use thiserror::Error;

/// Whose fault a failed start or stop is; decides status code and metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpawnFault {
    /// The request cannot be met as it stands (bad option, quota): status 400, metric `failure`.
    Refused,
    /// Something broke: status 500, metric `error`.
    Broken,
    /// It took too long: status 500, metric `error`, reason `timeout`.
    TimedOut,
}

/// Why a server could not be started or stopped, told twice: once for the person and once for the operator.
#[derive(Debug, Clone, Error)]
#[error("{operator}")]
pub struct SpawnError {
    /// Machine-readable cause from the catalogue, for example `command-not-found`.
    pub cause: Cow<'static, str>,
    /// Whose fault.
    pub fault: SpawnFault,
    /// What the person may read, without inner details.
    pub user: String,
    /// The same as HTML, where there is more to show.
    pub user_html: Option<String>,
    /// What only the log gets.
    pub operator: String,
    /// Whether starting again may help without anybody changing anything.
    pub retry: bool,
    /// The last lines of the server, shown to the person who owns it.
    pub log_tail: Vec<String>,
    /// When it happened, filled in by the hub.
    pub at: Option<DateTime<Utc>>,
}

impl SpawnError {
    /// Something broke.
    pub fn broken(cause: &'static str, user: impl Into<String>, operator: impl Into<String>) -> Self {
        Self {
            cause: Cow::Borrowed(cause),
            fault: SpawnFault::Broken,
            user: user.into(),
            user_html: None,
            operator: operator.into(),
            retry: false,
            log_tail: Vec::new(),
            at: None,
        }
    }

    /// The request cannot be met as it stands.
    pub fn refused(cause: &'static str, user: impl Into<String>) -> Self {
        let user = user.into();
        Self { fault: SpawnFault::Refused, ..Self::broken(cause, user.clone(), user) }
    }

    /// It took too long.
    pub fn timed_out(cause: &'static str, user: impl Into<String>) -> Self {
        let user = user.into();
        Self { fault: SpawnFault::TimedOut, retry: true, ..Self::broken(cause, user.clone(), user) }
    }

    /// Starting again may help.
    pub fn retryable(mut self) -> Self {
        self.retry = true;
        self
    }

    /// With the last lines of the server.
    pub fn with_log(mut self, lines: Vec<String>) -> Self {
        self.log_tail = lines;
        self
    }
}

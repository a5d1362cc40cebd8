//! How a start tells how far it is.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::SpawnError;

/// Where a start reports to while it runs.
#[async_trait]
pub trait StartSink: Send + Sync {
    /// Tells people how far the start is.
    fn progress(&self, progress: Progress);

    /// Stores the state durably; returns when it is stored. Call it before creating anything that must be found
    /// again, and whenever more is known.
    async fn save_state(&self, state: Value) -> Result<(), SpawnError>;
}

/// One step of a start, shown on the progress page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// 0 to 100, never falling.
    pub percent: u8,
    /// Plain text.
    pub message: String,
    /// The same as HTML, where there is more to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html_message: Option<String>,
    /// Which part of the start this belongs to.
    pub phase: Phase,
    /// The cause code, when this reports trouble that may still pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// The place in line, for starts that wait for their turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueuePlace>,
    /// Only for readers that ask for details. Clients of stock see the steps that stock's spawner of this kind tells.
    #[serde(skip)]
    pub detail: bool,
}

impl Progress {
    /// A plain message.
    pub fn new(percent: u8, phase: Phase, message: impl Into<String>) -> Self {
        Self {
            percent: percent.min(100),
            message: message.into(),
            html_message: None,
            phase,
            cause: None,
            queue: None,
            detail: false,
        }
    }

    /// The same, only for readers that ask for details.
    #[must_use]
    pub fn detail(self) -> Self {
        Self { detail: true, ..self }
    }
}

/// A place in the line of starts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueuePlace {
    /// 1 is next.
    pub place: usize,
    /// When the start will begin, going by how long the last ones took; none while that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_at: Option<DateTime<Utc>>,
}

/// The phases of a start, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Waiting for a place.
    Queued,
    /// Volumes, secrets, directories.
    Preparing,
    /// Waiting for a machine.
    Scheduling,
    /// Fetching the image.
    Pulling,
    /// The process or container is being started.
    Launching,
    /// It runs and must answer its first request.
    Connecting,
}

//! `[logging]`. Answers to `log_level` and `log_format`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the log shows, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoggingSection {
    /// From which importance on.
    pub level: LogLevel,
    /// Lines for people or JSON for machines.
    pub format: LogFormat,
    /// Finer rules, as `tracing` writes them: `info,himalia::servers=debug`. Takes the place of `level`.
    pub filter: Option<String>,
}

/// Importance of what is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For finding faults.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What may become trouble.
    Warn,
    /// What somebody should look at.
    Error,
}

impl LogLevel {
    /// The name, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Shape of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

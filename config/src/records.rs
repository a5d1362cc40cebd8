//! `[events]` and `[audit]`: files that tell what happened. `[events]` answers to `c.EventLogger`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The event log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventsSection {
    /// File to which a JSON line is appended for every start and stop of a server that was asked for, in the schema of stock's
    /// `server-action` event. Without it there is no event log.
    pub log_file: Option<PathBuf>,
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSection {
    /// File to which a JSON line is appended for every call that changes something: who, by which credential, for whom,
    /// from where, what, with which result. The lines are chained by hashes; `himalia audit verify FILE` checks them.
    /// Without it there is no audit log.
    pub file: Option<PathBuf>,
    /// Size in bytes from which on the file is put aside, under its name and the moment, and a new one begun. Files put
    /// aside are never deleted.
    #[schemars(range(min = 1))]
    pub max_size: u64,
}

impl Default for AuditSection {
    fn default() -> Self {
        Self { file: None, max_size: 100 * 1024 * 1024 }
    }
}

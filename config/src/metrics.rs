//! `[metrics]`. Answers to `c.PeriodicMetricsCollector` and `JUPYTERHUB_METRICS_PREFIX`.

use std::time::Duration;

use hub_core::plugin::DurationText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `/hub/metrics` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSection {
    /// First word of the hub's own metrics.
    pub prefix: String,
    /// Whether active people are counted.
    pub active_users_enabled: bool,
    /// How often they are counted.
    #[serde(with = "DurationText")]
    pub active_users_update_interval: Duration,
    /// Whether it is measured how punctually the hub gets to its work.
    pub event_loop_interval_enabled: bool,
    /// How often that is measured.
    #[serde(with = "DurationText")]
    pub event_loop_interval_resolution: Duration,
    /// Delay from which on it is logged.
    #[serde(with = "DurationText")]
    pub event_loop_interval_log_threshold: Duration,
}

impl Default for MetricsSection {
    fn default() -> Self {
        Self {
            prefix: "jupyterhub".to_owned(),
            active_users_enabled: true,
            active_users_update_interval: Duration::from_hours(1),
            event_loop_interval_enabled: true,
            event_loop_interval_resolution: Duration::from_millis(50),
            event_loop_interval_log_threshold: Duration::from_secs(1),
        }
    }
}

//! `[metrics]`. Answers to `c.PeriodicMetricsCollector`, `JUPYTERHUB_METRICS_PREFIX` and
//! `JUPYTERHUB_SERVER_{SPAWN,STOP}_DURATION_SECONDS_BUCKETS`.

use std::time::Duration;

use hub_core::plugin::DurationText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `/hub/metrics` tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSection {
    /// First word of the hub's own metrics.
    pub prefix: String,
    /// Upper bounds of the buckets for how long starts of servers take, in seconds; what took longer has one more.
    pub server_spawn_duration_seconds_buckets: Vec<f64>,
    /// The same for how long stops take.
    pub server_stop_duration_seconds_buckets: Vec<f64>,
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
            server_spawn_duration_seconds_buckets: vec![
                0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0,
            ],
            server_stop_duration_seconds_buckets: vec![
                0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
            ],
            active_users_enabled: true,
            active_users_update_interval: Duration::from_hours(1),
            event_loop_interval_enabled: true,
            event_loop_interval_resolution: Duration::from_millis(50),
            event_loop_interval_log_threshold: Duration::from_secs(1),
        }
    }
}

//! The requests that a hub has counted in its metrics.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

/// Methods, handlers and statuses.
pub(super) type Counted = BTreeSet<(String, String, u16)>;

/// The series that count requests.
const SERIES: &str = "jupyterhub_request_duration_seconds_count{";

/// What a text of metrics counts.
pub(super) fn counted(metrics: &str) -> Result<Counted> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(SERIES));
    lines
        .map(|line| {
            let of = |label: &str| {
                let value = line.split_once(&format!("{label}=\""))?.1.split('"').next()?;
                Some(value.to_owned())
            };
            let all = || Some((of("method")?, of("handler")?, of("code")?.parse().ok()?));
            all().with_context(|| format!("no method, handler and code: {line}"))
        })
        .collect()
}

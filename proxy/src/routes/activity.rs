//! When a route was last used.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, Utc};

/// Milliseconds since the epoch, now.
pub(crate) fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The moment of last use: one atomic, turned into a date only when somebody asks.
#[derive(Debug)]
pub(crate) struct Activity(AtomicI64);

impl Activity {
    pub(crate) fn now() -> Self {
        Self(AtomicI64::new(now_millis()))
    }

    pub(crate) fn at(millis: i64) -> Self {
        Self(AtomicI64::new(millis.min(now_millis())))
    }

    /// Notes a use. Writes only when the clock moved on, so that busy routes do not bounce a cache line.
    pub(crate) fn touch(&self) {
        let now = now_millis();
        if self.0.load(Ordering::Relaxed) < now {
            self.0.store(now, Ordering::Relaxed);
        }
    }

    /// Notes a use that somebody else saw at `millis`.
    pub(crate) fn touch_at(&self, millis: i64) {
        self.0.fetch_max(millis.min(now_millis()), Ordering::Relaxed);
    }

    /// The moment in milliseconds since the epoch.
    pub(crate) fn millis(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn date(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.millis()).unwrap_or_default()
    }
}

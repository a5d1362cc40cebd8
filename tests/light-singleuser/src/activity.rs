//! Telling the hub when the server was last used.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use rand::RngExt as _;
use tokio::time::{Instant, sleep};

use crate::hub::Hub;

/// How long a report that fails is tried again.
const RETRY: Duration = Duration::from_mins(1);

/// The time of the last request by a person.
#[derive(Debug, Default)]
pub(crate) struct Activity(Mutex<Option<SystemTime>>);

impl Activity {
    /// Somebody is here.
    pub(crate) fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(SystemTime::now());
    }

    /// When that was, as the hub writes times.
    pub(crate) fn last(&self) -> Option<String> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|at| DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Micros, true))
    }

    /// Reports from time to time, when there is something new. Never returns.
    pub(crate) async fn report(&self, hub: &Hub) {
        let Some(url) = &hub.settings.activity else { return std::future::pending().await };
        let mut reported = None;
        loop {
            // spread out, or a hundred servers that start together report together for ever
            let spread = rand::rng().random_range(0.9..1.1);
            sleep(hub.settings.activity_interval.mul_f64(spread).max(Duration::from_secs(1))).await;
            let Some(at) = self.last().filter(|at| reported.as_ref() != Some(at)) else { continue };
            let deadline = Instant::now() + RETRY;
            let mut pause = Duration::from_secs(1);
            while let Err(error) = hub.report_activity(url, &at).await {
                eprintln!("activity not reported: {error}");
                if Instant::now() + pause > deadline {
                    break;
                }
                sleep(pause).await;
                pause *= 2;
            }
            reported = Some(at);
        }
    }
}

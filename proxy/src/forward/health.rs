//! A short memory of targets that could not be reached.
//!
//! Where connecting ends in silence, each request would wait for the whole connect timeout, and hold a place within the
//! bounds for as long. So after such a failure one request tries again from time to time, and the others are answered
//! at once. Requests over connections that are open do not look here.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::server::clock::Clock;

/// How long nobody tries after a failure.
const REST: Duration = Duration::from_secs(1);

/// Whether connections to an origin are worth trying.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// When somebody may try again, in milliseconds; 0 when the last attempt did not fail.
    retry_at: AtomicU64,
}

/// The right to try. Dropped without a result, the next one may try at once.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    health: &'a Health,
    probes: bool,
}

impl Health {
    /// Begins an attempt to connect that takes `patience` at most; `None` when it would be in vain.
    pub(crate) fn attempt(&self, patience: Duration) -> Option<Attempt<'_>> {
        let retry_at = self.retry_at.load(Relaxed);
        if retry_at == 0 {
            return Some(Attempt { health: self, probes: false });
        }
        let now = Clock::shared().millis();
        let next = now + millis(patience) + millis(REST);
        let mine =
            now >= retry_at && self.retry_at.compare_exchange(retry_at, next, Relaxed, Relaxed).is_ok();
        mine.then_some(Attempt { health: self, probes: true })
    }
}

impl Attempt<'_> {
    /// Something answered, be it by refusing.
    pub(crate) fn answered(mut self) {
        self.probes = false;
        if self.health.retry_at.load(Relaxed) != 0 {
            self.health.retry_at.store(0, Relaxed);
        }
    }

    /// Nothing answered in time.
    pub(crate) fn failed(mut self) {
        self.probes = false;
        self.health.retry_at.store(Clock::shared().millis() + millis(REST), Relaxed);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.probes {
            self.health.retry_at.store(Clock::shared().millis(), Relaxed);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn after_a_failure_nobody_tries_for_a_while_and_then_one_does() {
        let health = Health::default();
        let (one, two) = (health.attempt(LONG).unwrap(), health.attempt(LONG).unwrap());
        one.failed();
        assert!(health.attempt(LONG).is_none());
        // The while is over.
        health.retry_at.store(1, Relaxed);
        let probe = health.attempt(LONG).unwrap();
        assert!(health.attempt(LONG).is_none(), "one is enough");
        drop(probe);
        let probe = health.attempt(LONG).expect("the one before was given up");
        probe.answered();
        assert!(health.attempt(LONG).is_some() && health.attempt(LONG).is_some());
        two.answered();
    }
}

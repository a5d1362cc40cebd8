//! A short memory of targets that could not be reached.
//!
//! Where connecting ends in silence, each request would wait for the whole connect timeout, and hold a place within the
//! bounds for as long. So after such a failure one request a second tries again, and the others are answered at once.
//! Only silence is remembered: a refusal comes at once and costs nothing, and the server may listen in the next moment.
//! Requests over connections that are open do not look here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::server::clock::Clock;

/// From a failure, and from one try to the next, in milliseconds.
const REST: u64 = 1000;
/// Who waited in vain for that long, and then no longer, found out as much as who waited to the end.
const SILENCE: u64 = 3000;

/// Whether connections to an origin are worth trying. All workers share it.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// When the next one may try, in milliseconds; 0 when everybody may.
    retry_at: AtomicU64,
    /// When somebody was answered last.
    answered_at: AtomicU64,
}

/// The right to try. Given up after a while, it counts as failed.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    health: &'a Health,
    /// When the first packet went to the target. Before, silence is that of others: of whoever knows its address.
    began: Option<u64>,
    concluded: bool,
}

impl Health {
    /// Begins an attempt to connect; `None` when it would be in vain.
    pub(crate) fn attempt(&self) -> Option<Attempt<'_>> {
        self.attempt_at(Clock::shared().millis())
    }

    fn attempt_at(&self, now: u64) -> Option<Attempt<'_>> {
        let retry_at = self.retry_at.load(Relaxed);
        let mine = retry_at == 0
            || (now >= retry_at
                && self.retry_at.compare_exchange(retry_at, now + REST, Relaxed, Relaxed).is_ok());
        mine.then(|| Attempt { health: self, began: None, concluded: false })
    }
}

impl Attempt<'_> {
    /// The target is asked from now on.
    pub(crate) fn knock(&mut self) {
        self.began = Some(Clock::shared().millis());
    }

    /// Something answered, be it by refusing.
    pub(crate) fn answered(self) {
        self.answered_at(Clock::shared().millis());
    }

    /// Nothing answered in time.
    pub(crate) fn failed(self) {
        self.failed_at(Clock::shared().millis());
    }

    fn answered_at(mut self, now: u64) {
        self.concluded = true;
        self.health.answered_at.store(now, Relaxed);
        if self.health.retry_at.load(Relaxed) != 0 {
            self.health.retry_at.store(0, Relaxed);
        }
    }

    fn failed_at(mut self, now: u64) {
        self.concluded = true;
        self.note_silence(now);
    }

    fn note_silence(&self, now: u64) {
        // A target that answered others meanwhile is there; it has too much to do.
        if self.began.is_some_and(|began| self.health.answered_at.load(Relaxed) < began) {
            self.health.retry_at.store(now + REST, Relaxed);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.concluded {
            let now = Clock::shared().millis();
            if self.began.is_some_and(|began| now.saturating_sub(began) >= SILENCE) {
                self.note_silence(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Health {
        fn asked_at(&self, now: u64) -> Option<Attempt<'_>> {
            let mut attempt = self.attempt_at(now)?;
            attempt.began = Some(now);
            Some(attempt)
        }
    }

    #[test]
    fn after_a_failure_nobody_tries_for_a_while_and_then_one_at_a_time() {
        let health = Health::default();
        let (one, two) = (health.asked_at(10).unwrap(), health.asked_at(10).unwrap());
        one.failed_at(5000);
        assert!(health.attempt_at(5000 + REST - 1).is_none());
        let probe = health.asked_at(5000 + REST).unwrap();
        assert!(health.attempt_at(5000 + REST).is_none(), "one is enough");
        // The one that tries may be given up, or take long: another one tries after as long again.
        let next = health.asked_at(5000 + 2 * REST).unwrap();
        assert!(health.attempt_at(5000 + 2 * REST).is_none());
        probe.failed_at(7500);
        assert!(health.attempt_at(7500 + REST - 1).is_none());
        next.answered_at(7600);
        assert!(health.attempt_at(7600).is_some() && health.attempt_at(7600).is_some());
        two.failed_at(7700);
        assert!(health.attempt_at(7700).is_some(), "another one was answered meanwhile");
    }

    #[test]
    fn an_attempt_that_was_given_up_tells_as_much_as_it_waited() {
        let health = Health::default();
        let now = Clock::shared().millis();
        drop(health.asked_at(now));
        assert!(health.attempt_at(now).is_some());
        drop(health.asked_at(now.checked_sub(2 * SILENCE).unwrap()));
        assert!(health.attempt_at(now).is_none());
    }

    #[test]
    fn a_name_that_is_not_found_in_time_says_nothing_of_the_target() {
        let health = Health::default();
        health.attempt_at(10).unwrap().failed_at(9000);
        assert!(health.attempt_at(9000).is_some());
    }
}

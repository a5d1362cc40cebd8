//! Milliseconds for waiting times, at a fraction of the cost of an [`Instant`](std::time::Instant).

use rustix::time::{ClockId, clock_gettime};

/// The time since a moment, to a few milliseconds. It is looked at several times for each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: u64,
}

impl Clock {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self { start: coarse() }
    }

    /// The same for all threads, whenever it is asked for.
    pub(crate) fn shared() -> Self {
        Self { start: 0 }
    }

    /// Milliseconds since the start, at least 1.
    pub(crate) fn millis(self) -> u64 {
        coarse().saturating_sub(self.start).max(1)
    }
}

fn coarse() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    part(now.tv_sec) * 1000 + part(now.tv_nsec) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_never_back() {
        let clock = Clock::start();
        let mut last = clock.millis();
        while last < 20 {
            let now = clock.millis();
            assert!(now >= last);
            last = now;
        }
    }
}

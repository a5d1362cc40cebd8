//! Growing pauses between tries.

use std::time::Duration;

use rand::RngExt as _;

/// Pauses that double up to a longest one, each cut by chance to between a half and all of it, so that many who were
/// stopped by the same trouble do not come back at the same moment.
#[derive(Debug, Clone)]
pub(crate) struct Pause {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Pause {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let full = self.next.min(self.longest);
        self.next = (full * 2).min(self.longest);
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// The trouble is over: the next one begins with a short pause again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut pause = Pause::new(first, longest);
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let pause = pause.next();
            assert!(pause <= Duration::from_millis(expected) && pause >= Duration::from_millis(expected / 2));
        }
        pause.reset();
        assert!(pause.next() <= first);
    }
}

//! Time as an argument, so that tests can set it.

use chrono::{DateTime, SubsecRound, Utc};

/// Tells the time. The hub asks this and nothing else.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now, in UTC, whole microseconds: what the database can hold.
    fn now(&self) -> DateTime<Utc>;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }
}

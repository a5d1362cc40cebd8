//! How long a provider has been away.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::fault::Fault;

/// Remembers since when the provider has not answered.
#[derive(Debug, Default)]
pub(crate) struct Outage(Mutex<Option<DateTime<Utc>>>);

impl Outage {
    /// Takes note of how a request ended.
    pub(crate) fn note<T>(&self, result: &Result<T, Fault>, now: DateTime<Utc>) {
        let mut since = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match result {
            Err(Fault::Unreachable(_) | Fault::Misconfigured(_) | Fault::Nonsense(_)) => {
                since.get_or_insert(now);
            }
            _ => *since = None,
        }
    }

    /// Since when it lasts.
    pub(crate) fn since(&self) -> Option<DateTime<Utc>> {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether it has lasted longer than people may stay in without being asked about.
    pub(crate) fn outlasts(&self, grace: Duration, now: DateTime<Utc>) -> bool {
        let grace = TimeDelta::from_std(grace).unwrap_or(TimeDelta::MAX);
        self.since().is_some_and(|since| now - since > grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_counts_from_its_first_failure_and_ends_with_any_answer() {
        let at = |minute: i64| DateTime::from_timestamp(minute * 60, 0).unwrap();
        let outage = Outage::default();
        let hour = Duration::from_hours(1);
        let away: Result<(), Fault> = Err(Fault::Unreachable("away".to_owned()));
        outage.note(&away, at(0));
        outage.note(&away, at(50));
        assert!(!outage.outlasts(hour, at(60)));
        assert!(outage.outlasts(hour, at(61)));
        assert_eq!(outage.since(), Some(at(0)));
        outage.note::<()>(&Err(Fault::Refused("no".to_owned())), at(62));
        assert!(!outage.outlasts(hour, at(200)));
    }
}

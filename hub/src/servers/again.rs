//! Servers that their cluster has ended through no fault of theirs are started again, where that is wanted.

use chrono::TimeDelta;
use hub_config::EndCause;
use hub_core::StopMode;
use hub_core::spawner::Exit;
use tracing::info;

use super::Servers;
use super::spawners::profile_of;
use super::store::Record;
use super::supervisor::{Entry, StopOrder};

/// A server that ended sooner after it was started is not started again: it might go on like that for ever.
const LEAST_RUN: TimeDelta = TimeDelta::minutes(1);

impl Servers {
    /// What is to be done about a server that seems to have ended: clean up.
    pub(super) fn order_after(exit: Exit) -> StopOrder {
        StopOrder { exited: Some(exit), mode: StopMode::Now, ..StopOrder::graceful() }
    }

    /// Puts a start behind the cleaning up, where that is wanted. `record` is read after the server was seen to have
    /// ended: one that was stopped by somebody meanwhile stays down.
    pub(super) fn start_again_after(&self, entry: &Entry, record: &Record, exit: &Exit) {
        if record.is_active() && record.stopping.is_none() && self.is_started_again(record, exit) {
            let key = &record.key;
            info!(user = %key.user, server = %key.server, cause = exit.cause, "the server was ended by its cluster; starting it again");
            entry.start_afterwards();
        }
    }

    /// Whether a server that has ended in this way is started again.
    pub(super) fn is_started_again(&self, record: &Record, exit: &Exit) -> bool {
        let causes = &self.settings_of(profile_of(&record.state)).start_again_after;
        is_due(causes, exit, record.started.map(|started| self.clock.now() - started))
    }
}

fn is_due(causes: &[EndCause], exit: &Exit, ran: Option<TimeDelta>) -> bool {
    let wanted = |cause: &&EndCause| exit.cause == Some(cause.as_str());
    causes.iter().any(|cause| wanted(&cause)) && ran.is_some_and(|ran| ran >= LEAST_RUN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wanted_causes_and_servers_that_ran_for_a_while_count() {
        let exit = |cause| Exit { code: Some(1), cause, message: None };
        let (long, short) = (Some(TimeDelta::hours(1)), Some(TimeDelta::seconds(59)));
        let causes = [EndCause::Evicted, EndCause::NodeShutdown];
        assert!(is_due(&causes, &exit(Some("evicted")), long));
        assert!(is_due(&causes, &exit(Some("node-shutdown")), long));
        assert!(!is_due(&causes, &exit(Some("evicted")), short));
        assert!(!is_due(&causes, &exit(Some("evicted")), None));
        assert!(!is_due(&causes, &exit(Some("oom-killed")), long));
        assert!(!is_due(&causes, &exit(None), long));
        assert!(!is_due(&[], &exit(Some("evicted")), long));
    }
}

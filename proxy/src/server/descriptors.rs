//! The bound on file descriptors.
//!
//! A connection that cannot be accepted for want of a descriptor waits without knowing why. So the limits on
//! connections are kept below what the system grants, and whoever exceeds them is told.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::{metrics::Metrics, options::Limits};

/// For listening sockets, files, the API, logs.
const RESERVE: usize = 128;

/// Asks for as many descriptors as the system grants, and keeps the limits within.
pub(super) fn fit(limits: &mut Limits, metrics: &Metrics) {
    let granted = raise();
    metrics.descriptors.set(granted.unwrap_or(0));
    if let Some(granted) = granted.and_then(|granted| usize::try_from(granted).ok()) {
        keep_within(limits, granted);
    }
}

fn keep_within(limits: &mut Limits, granted: usize) {
    let free = granted.saturating_sub(RESERVE.min(granted / 4));
    if limits.client_connections + limits.upstream_connections <= free {
        return;
    }
    // In proportion, so that whoever was let in also gets a connection to a target.
    let all = limits.client_connections + limits.upstream_connections;
    let share = |limit: usize| (limit.saturating_mul(free) / all.max(1)).max(1);
    let (clients, targets) = (share(limits.client_connections), share(limits.upstream_connections));
    warn!(
        descriptors = granted,
        clients, targets, "fewer connections than set: the system grants too few descriptors"
    );
    (limits.client_connections, limits.upstream_connections) = (clients, targets);
    // What is left must not be for one target alone.
    limits.connections_per_target = limits.connections_per_target.min(targets / 4).max(1);
}

/// Raises the soft limit to the hard one. `None` means no limit.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current?;
    if maximum.is_some_and(|maximum| maximum <= current) {
        return Some(current);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => Some(current),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_leave_room_for_more_than_one_target() {
        for granted in [64, 1024, 4096, 20_000] {
            let mut limits = Limits::default();
            keep_within(&mut limits, granted);
            assert!(limits.client_connections + limits.upstream_connections <= granted, "{limits:?}");
            let (one, all) = (limits.connections_per_target, limits.upstream_connections);
            assert!(one >= 1 && one <= all / 4, "{limits:?}");
        }
    }

    #[test]
    fn enough_descriptors_leave_the_limits_as_they_are() {
        let mut limits = Limits { connections_per_target: 16_384, ..Limits::default() };
        keep_within(&mut limits, 1 << 20);
        assert_eq!((limits.client_connections, limits.connections_per_target), (16_384, 16_384));
    }
}

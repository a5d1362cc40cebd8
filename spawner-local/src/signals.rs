//! Signals that servers must not inherit as ignored.
//!
//! A hub that a script put into the background (`himalia serve &`) has SIGINT ignored, and so would have all its
//! servers: a polite stop would reach none of them. A signal that this process handles is back to its default in the
//! programs that it starts, so handling those that are ignored is all that is needed.

use std::sync::Once;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, warn};

static RESTORED: Once = Once::new();

/// Handles SIGINT and SIGTERM where this process ignores them. Once for a process; call it within a runtime.
pub(crate) fn restore() {
    RESTORED.call_once(|| {
        let ignored = std::fs::read_to_string("/proc/self/status").map_or(0, |status| ignored(&status));
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            if ignored & (1 << (kind.as_raw_value() - 1)) == 0 {
                continue;
            }
            debug!(signal = kind.as_raw_value(), "the hub was started with this signal ignored");
            // The handler stays for the life of the process, whether somebody listens or not.
            if let Err(error) = signal(kind) {
                warn!(signal = kind.as_raw_value(), %error, "servers will ignore this signal, as the hub does");
            }
        }
    });
}

/// The mask of ignored signals in `/proc/PID/status`, bit 0 being signal 1.
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_found_among_the_other_lines() {
        assert_eq!(ignored("Name:\thimalia\nSigIgn:\t0000000000001002\nSigCgt:\t1\n"), 0x1002);
        assert_eq!(ignored("Name:\thimalia\n"), 0);
    }
}

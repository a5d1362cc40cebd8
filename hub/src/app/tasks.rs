//! Work that outlives the request that asked for it.
//!
//! actix's workers are single-threaded and come and go; starts, stops, polls and clean-ups run on the main runtime,
//! counted and cancelled in one place.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns on the main runtime and knows what still runs.
#[derive(Debug, Clone)]
pub struct Tasks {
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: CancellationToken,
}

impl Tasks {
    /// Tasks on a runtime.
    pub fn on(runtime: Handle) -> Self {
        Self {
            runtime,
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            failed: CancellationToken::new(),
        }
    }

    /// Runs `work` until it ends or the hub stops. Work dropped by the stop must be one that the next hub takes up.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.runtime.spawn(self.tracker.track_future(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        }));
    }

    /// Runs `work` to its own end, which somebody else sees to and waits for.
    pub fn spawn_to_end(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Runs `tick` every `period`, first after one period, until the hub stops. A slow tick delays the next.
    pub fn every<F, W>(&self, period: Duration, mut tick: F)
    where
        F: FnMut() -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        self.spawn(async move {
            loop {
                tokio::time::sleep(period).await;
                tick().await;
            }
        });
    }

    /// The signal that the hub stops.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Asks for the end of the hub because going on makes no sense; its exit code will be 1.
    pub fn give_up(&self) {
        self.failed.cancel();
    }

    /// The signal that [`Tasks::give_up`] was called.
    pub fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }

    /// Cancels everything and waits for it, at most `deadline`. Tells whether all ended.
    pub async fn stop(&self, deadline: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok()
    }
}

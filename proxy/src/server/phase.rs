//! Whether this process takes connections, or another one does.

use std::sync::Arc;

use tokio::sync::watch;

/// Who takes new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// This process.
    Serving,
    /// Nobody at this moment: they wait in the sockets' queues until the take-over is decided.
    Paused,
    /// Another process. What is open here goes on.
    Retired,
}

/// Sets the [`Phase`] of a proxy and of the servers beside it.
#[derive(Debug, Clone)]
pub struct PhaseControl(Arc<watch::Sender<Phase>>);

impl Default for PhaseControl {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Serving)))
    }
}

impl PhaseControl {
    /// Changes the phase. A retired process stays so.
    pub fn set(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let change = *current != Phase::Retired && *current != phase;
            if change {
                *current = phase;
            }
            change
        });
    }

    pub(crate) fn watch(&self) -> PhaseWatch {
        PhaseWatch { receiver: self.0.subscribe(), _control: self.clone() }
    }
}

/// Follows the phase.
#[derive(Debug)]
pub(crate) struct PhaseWatch {
    receiver: watch::Receiver<Phase>,
    /// Keeps the sender, so that waiting for a change never fails.
    _control: PhaseControl,
}

impl PhaseWatch {
    pub(crate) fn current(&mut self) -> Phase {
        *self.receiver.borrow_and_update()
    }

    /// The next change, or at once when one was not looked at yet.
    pub(crate) async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the phase is none in which this process takes connections.
    pub(crate) async fn left_serving(&mut self) {
        if self.receiver.wait_for(|phase| *phase != Phase::Serving).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) async fn retired(&mut self) {
        if self.receiver.wait_for(|phase| *phase == Phase::Retired).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

//! Why a server does not start or has ended: a catalogue, told once for the person and once for the operator.
//!
//! | Where it shows | Causes |
//! | --- | --- |
//! | image | `image-missing`, `image-denied`, `image-rate-limited`, `registry-unreachable`, `image-name`, `image-absent`, `image-pull` |
//! | placing | `unschedulable`, `node-full` |
//! | volumes | `volume-multi-attach`, `volume-missing`, `volume-attach`, `archiving` |
//! | container | `config-missing`, `container-error`, `crash-loop`, `oom-killed`, `exited` |
//! | node | `deleted`, `evicted`, `preempted`, `node-shutdown`, `node-drained`, `node-lost`, `deadline`, `disk-full`, `network-setup` |
//! | API | `quota`, `forbidden`, `webhook`, `webhook-unavailable`, `pod-security`, `invalid-object`, `namespace-missing`, `conflict`, `cluster-unavailable` |

mod api;
mod pod;

use hub_core::SpawnError;

pub use api::{of_answer, of_silence};
pub use pod::{ended_by_cluster, of_pod, resources_short};

const ASK: &str = "Please tell the administrator of this hub.";

/// One trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Code from the catalogue.
    pub cause: &'static str,
    /// For the person.
    pub user: String,
    /// For the operator: what the cluster said, and what to do about it.
    pub operator: String,
    /// Whether it may pass without anybody changing anything.
    pub passing: Passing,
}

/// Whether waiting helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// No: the start can be given up at once.
    Never,
    /// Perhaps: nodes are added, volumes are released, registries come back.
    Perhaps,
    /// It is over, and a new start may do better.
    StartAgain,
}

impl Trouble {
    pub(crate) fn new(cause: &'static str, passing: Passing, user: &str, operator: String) -> Self {
        let user = if passing == Passing::Never { format!("{user} {ASK}") } else { user.to_owned() };
        Self { cause, user, operator, passing }
    }

    /// As the failure of a start.
    pub fn into_error(self) -> SpawnError {
        let error = SpawnError::broken(self.cause, self.user, self.operator);
        if self.passing == Passing::Never { error } else { error.retryable() }
    }
}

//! Why somebody is not let in: a stable code for the log, and what the person reads.

use hub_core::AuthError;
use tracing::warn;

use crate::fault::Fault;

/// A login that comes to nothing.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The code, for alerts and tests; the table in `docs/authenticators.md` has them all.
    pub(crate) reason: &'static str,
    /// What becomes of it; its texts hold no secret.
    pub(crate) error: AuthError,
}

impl Refusal {
    pub(crate) fn new(reason: &'static str, error: AuthError) -> Self {
        Self { reason, error }
    }

    /// The proof is no proof; the text goes to the log alone.
    pub(crate) fn invalid(reason: &'static str, text: &str) -> Self {
        Self::new(reason, AuthError::Invalid(text.to_owned()))
    }

    /// A login that the person may begin again.
    pub(crate) fn again(reason: &'static str) -> Self {
        let text = "This login was begun in another browser, too long ago, or has ended already. Please log in again.";
        Self::new(reason, AuthError::Again(text.to_owned()))
    }

    /// Writes it into the log, once, and hands on what the hub is told.
    pub(crate) fn told(self) -> AuthError {
        warn!(reason = self.reason, error = %self.error, "login refused");
        self.error
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::new(fault.reason(), fault.into())
    }
}

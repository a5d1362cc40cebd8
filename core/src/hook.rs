//! Work to be done before a server starts: credentials to fetch, settings to change.

use async_trait::async_trait;
use thiserror::Error;

use crate::authenticator::LoginRequest;
use crate::names::ServerKey;
use crate::spawner::StartJob;

/// Runs before every start, in the order of the configuration. Answers to `pre_spawn_hook` and
/// `Authenticator.pre_spawn_start`.
#[async_trait]
pub trait SpawnHook: Send + Sync + std::fmt::Debug {
    /// May change every part of the job. An error ends the start.
    async fn before_start(&self, cx: &HookContext, job: &mut StartJob) -> Result<(), HookError>;

    /// The server has stopped, for whatever reason.
    async fn after_stop(&self, _server: &ServerKey) -> Result<(), HookError> {
        Ok(())
    }
}

/// What a hook may look at besides the job.
#[derive(Debug, Clone, Default)]
pub struct HookContext {
    /// The request that asked for the start, with its cookies; none when the hub starts a server on its own
    /// (resume after a restart, automatic start elsewhere).
    pub request: Option<LoginRequest>,
    /// The person who asked for the start; none when a service asked or the hub starts a server on its own.
    pub person: Option<String>,
}

/// Why a start may not go on.
#[derive(Debug, Clone, Error)]
pub enum HookError {
    /// The person may not start this server; the text is shown.
    #[error("refused: {0}")]
    Refused(String),
    /// The hook broke.
    #[error("{operator}")]
    Broken {
        /// What the person may read.
        user: String,
        /// What only the log gets.
        operator: String,
        /// Whether trying again may help.
        retry: bool,
    },
}

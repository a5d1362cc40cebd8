//! What can be asked of a server.

use hub_core::StopMode;
use hub_core::authenticator::LoginRequest;
use hub_core::spawner::Exit;
use serde_json::{Map, Value};

/// What is asked of a server.
#[derive(Debug)]
pub enum Intent {
    /// Run, with these options.
    Start(Box<StartOrder>),
    /// Do not run.
    Stop(StopOrder),
    /// Find out what became of it while no hub was there.
    Check,
}

impl Intent {
    /// Whether the hub itself came to it by looking at a server, rather than a person who wants something.
    pub(super) fn is_about_what_was_seen(&self) -> bool {
        match self {
            Self::Start(_) => false,
            Self::Stop(order) => order.exited.is_some(),
            Self::Check => true,
        }
    }
}

/// One start.
#[derive(Debug, Clone, Default)]
pub struct StartOrder {
    /// New user options; none keeps those of the last start.
    pub options: Option<Map<String, Value>>,
    /// The request that asked for it, for hooks.
    pub request: Option<LoginRequest>,
    /// The person who asked for it, for hooks; none for services and the hub itself.
    pub person: Option<String>,
    /// It goes on with a start that was begun by a hub that is gone.
    pub resumed: bool,
}

/// One stop.
#[derive(Debug, Clone)]
pub struct StopOrder {
    /// How.
    pub mode: StopMode,
    /// Delete the server's record afterwards.
    pub remove: bool,
    /// The server ended on its own in this way; there is only the rest to clean up.
    pub exited: Option<Exit>,
    /// Start again afterwards.
    pub then: Option<Box<StartOrder>>,
}

impl StopOrder {
    /// Stop politely.
    pub fn graceful() -> Self {
        Self { mode: StopMode::Graceful, remove: false, exited: None, then: None }
    }
}

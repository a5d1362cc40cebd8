//! What happens to servers, told in two ways: one JSON line per start and stop in the event log ([`log`]), in stock's
//! schema; and to whoever listens at `/hub/api/events` ([`bus`]).
//!
//! Both tell what this process did. Where several hubs share a database each tells its own part.

pub mod bus;
pub mod log;

use std::path::Path;
use std::sync::Arc;

use hub_core::{Clock, ServerKey, SpawnError};
use jupyterhub_api_compat::models::{ServerAction, ServerEvent};

use self::bus::Bus;
use self::log::EventLog;

/// Where events go.
#[derive(Debug)]
pub struct Events {
    log: Option<EventLog>,
    bus: Bus,
    clock: Arc<dyn Clock>,
}

impl Events {
    /// Without an event log.
    pub fn disabled(clock: Arc<dyn Clock>) -> Self {
        Self { log: None, bus: Bus::new(), clock }
    }

    /// With an event log that is appended to, made if need be.
    pub fn to_file(path: &Path, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        Ok(Self { log: Some(EventLog::open(path)?), ..Self::disabled(clock) })
    }

    /// For those who listen.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// A server is up.
    pub fn started(&self, key: &ServerKey) {
        self.tell(key, ServerAction::Start);
    }

    /// A server is down as somebody wanted.
    pub fn stopped(&self, key: &ServerKey) {
        self.tell(key, ServerAction::Stop);
    }

    /// A server is down by itself or with the hub, `cause` being the code of how it ended, where that is known. The log
    /// has what was asked of the hub, as in stock.
    pub fn ended(&self, key: &ServerKey, cause: Option<&str>) {
        self.bus.publish(self.event(key, ServerAction::Stop, cause));
    }

    /// A start did not succeed, or a server did not survive. Stock's schema knows no such event: it does not go into
    /// the log.
    pub fn failed(&self, key: &ServerKey, failure: &SpawnError) {
        self.bus.publish(ServerEvent {
            message: Some(failure.user.clone()),
            retry: Some(failure.retry),
            ..self.event(key, ServerAction::Failure, Some(&failure.cause))
        });
    }

    /// A start was cancelled.
    pub fn cancelled(&self, key: &ServerKey) {
        self.bus.publish(ServerEvent {
            message: Some("Spawn cancelled".to_owned()),
            retry: Some(true),
            ..self.event(key, ServerAction::Failure, Some("cancelled"))
        });
    }

    fn tell(&self, key: &ServerKey, action: ServerAction) {
        let event = self.event(key, action, None);
        if let Some(log) = &self.log {
            log.write(&event);
        }
        self.bus.publish(event);
    }

    fn event(&self, key: &ServerKey, action: ServerAction, cause: Option<&str>) -> ServerEvent {
        ServerEvent {
            action,
            at: self.clock.now().into(),
            user: key.user.to_string(),
            server: key.server.to_string(),
            cause: cause.map(str::to_owned),
            message: None,
            retry: None,
        }
    }
}

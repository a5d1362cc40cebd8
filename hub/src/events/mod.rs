//! What happens to servers, told in two ways: one JSON line per start and stop in the event log ([`log`]), in stock's
//! schema; and to whoever listens at `/hub/api/events`.
//!
//! The log has what this process did. Listeners hear of all hubs on the database, in one order: events go there first
//! ([`exchange`]), and come from there ([`bus`]).

pub mod bus;
pub mod exchange;
pub mod log;

use std::sync::Arc;

use hub_core::{Clock, ServerKey, SpawnError};
use jupyterhub_api_compat::models::{ServerAction, ServerEvent};

use self::exchange::Exchange;
use self::log::EventLog;

/// Most letters of a message that go into an event.
const MESSAGE: usize = 2_000;

/// Where events go.
#[derive(Debug)]
pub struct Events {
    log: Option<EventLog>,
    exchange: Arc<Exchange>,
    clock: Arc<dyn Clock>,
}

impl Events {
    /// To an event log, if there is one, and to those who listen.
    pub fn new(log: Option<EventLog>, exchange: Arc<Exchange>, clock: Arc<dyn Clock>) -> Self {
        Self { log, exchange, clock }
    }

    /// For those who listen.
    pub fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// A server is up.
    pub fn started(&self, key: &ServerKey) {
        self.log_and_tell(key, ServerAction::Start);
    }

    /// A server is down as somebody wanted.
    pub fn stopped(&self, key: &ServerKey) {
        self.log_and_tell(key, ServerAction::Stop);
    }

    /// A server is down by itself or with the hub, `cause` being the code of how it ended, where that is known. The log
    /// has what was asked of the hub, as in stock.
    pub fn ended(&self, key: &ServerKey, cause: Option<&str>) {
        self.exchange.tell(&self.event(key, ServerAction::Stop, cause));
    }

    /// A start did not succeed, or a server did not survive. Stock's schema knows no such event: it does not go into
    /// the log.
    pub fn failed(&self, key: &ServerKey, failure: &SpawnError) {
        self.exchange.tell(&ServerEvent {
            message: Some(failure.user.chars().take(MESSAGE).collect()),
            retry: Some(failure.retry),
            ..self.event(key, ServerAction::Failure, Some(&failure.cause))
        });
    }

    /// A start was cancelled.
    pub fn cancelled(&self, key: &ServerKey) {
        self.exchange.tell(&ServerEvent {
            message: Some("Spawn cancelled".to_owned()),
            retry: Some(true),
            ..self.event(key, ServerAction::Failure, Some("cancelled"))
        });
    }

    fn log_and_tell(&self, key: &ServerKey, action: ServerAction) {
        let event = self.event(key, action, None);
        if let Some(log) = &self.log {
            log.write(&event);
        }
        self.exchange.tell(&event);
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

//! `GET /events`: what happens to servers, as server-sent events. Not in JupyterHub.
//!
//! Each event is shown only to those who may read its server at that moment. A stream asks again who its caller is and
//! what they may do every few seconds, and ends with the credential.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER};
use actix_web::web::Data;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use hub_core::{ServerName, UserName};
use hub_db::repo::events::Place;
use jupyterhub_api_compat::json::dumps;
use jupyterhub_api_compat::models::ServerEvent;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::call::Call;
use crate::app::Hub;
use crate::events::bus::{self, Told};
use crate::web::caller::Caller;
use crate::web::error::{ApiError, ApiResult};

/// Pause between two signs of life, and between two looks at the caller.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Longest life of one stream; the client comes back with `Last-Event-ID`.
const LONGEST: Duration = Duration::from_hours(1);

struct Listener {
    hub: Data<Hub>,
    caller: Rc<Caller>,
    /// Only events of this user's servers.
    user: Option<String>,
    /// Where the last event stands that was looked at.
    seen: Option<Place>,
    /// What is sent first.
    greeting: Option<Bytes>,
    changes: watch::Receiver<u64>,
    stopping: CancellationToken,
    began: Instant,
    checked: Instant,
    _listening: OwnedSemaphorePermit,
}

/// `GET /events`.
pub(super) async fn stream_all(call: &Call) -> ApiResult<HttpResponse> {
    let exchange = Arc::clone(call.hub.events.exchange());
    let Some(listening) = exchange.bus.listen() else {
        let text = "Too many listen to events already.";
        return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, text).with_header(RETRY_AFTER, "30"));
    };
    let changes = exchange.bus.watch();
    // Another hub may have told what this one has not read yet.
    exchange.look().await?;
    let sent = call.header("last-event-id").map(str::to_owned);
    let known = sent.as_deref().and_then(bus::place).filter(|place| exchange.bus.knows(*place));
    let seen = known.or_else(|| exchange.bus.last());
    let position = seen.map_or_else(String::new, |place| format!("id: {}\n", bus::id(place)));
    let greeting = match (&sent, known) {
        (Some(_), None) => format!("{position}{}", reset("what came after the last event is not kept")),
        // An id without data is no event, but the client keeps it.
        _ => format!("{position}\n"),
    };
    let now = Instant::now();
    let listener = Listener {
        user: call.query("user"),
        seen,
        greeting: Some(Bytes::from(greeting)),
        changes,
        stopping: call.hub.tasks.stopping(),
        began: now,
        checked: now,
        _listening: listening,
        caller: call.caller.clone(),
        hub: call.hub.clone(),
    };
    let events = stream::unfold(listener, |mut listener| async move {
        let chunk = listener.next().await?;
        Some((chunk, listener))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-cache"))
        // Proxies of the nginx family would else hold events back.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(events.map(Ok::<_, Infallible>)))
}

fn reset(reason: &str) -> String {
    format!("event: reset\ndata: {{\"reason\": \"{reason}\"}}\n\n")
}

impl Listener {
    /// What is sent next; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting);
        }
        loop {
            if self.began.elapsed() > LONGEST || !self.is_still_known().await {
                return None;
            }
            self.changes.borrow_and_update();
            match self.news().await {
                Ok(chunk) if !chunk.is_empty() => return Some(Bytes::from(chunk)),
                Ok(_) => {}
                Err(error) => {
                    debug!(%error, "a stream of events ends");
                    return None;
                }
            }
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                changed = self.changes.changed() => changed.ok()?,
                () = tokio::time::sleep(HEARTBEAT) => return Some(self.sign_of_life()),
            }
        }
    }

    /// A comment, and where the listener is by now although it was shown nothing.
    fn sign_of_life(&self) -> Bytes {
        let position = self.seen.map_or_else(String::new, |place| format!("id: {}\n", bus::id(place)));
        Bytes::from(format!(":\n{position}\n"))
    }

    /// Looks again at who listens, now and then.
    async fn is_still_known(&mut self) -> bool {
        if self.checked.elapsed() < HEARTBEAT {
            return true;
        }
        self.checked = Instant::now();
        match self.caller.renewed(&self.hub).await {
            Ok(Some(caller)) => {
                self.caller = Rc::new(caller);
                true
            }
            Ok(None) => false,
            Err(error) => {
                debug!(%error, "a stream of events ends");
                false
            }
        }
    }

    /// The events that have happened and that the caller may see.
    async fn news(&mut self) -> ApiResult<String> {
        let hub = self.hub.clone();
        let Some(seen) = self.seen.or_else(|| hub.events.exchange().bus.last()) else {
            return Ok(String::new());
        };
        let news = hub.events.exchange().bus.since(seen);
        let mut chunk = String::new();
        if news.missed {
            chunk.push_str(&reset("more has happened than is kept"));
        }
        for (place, told) in news.events {
            self.seen = Some(place);
            let event = match told {
                Told::Nothing => continue,
                Told::Gap => {
                    let reset = reset("something may have happened that a hub could not tell");
                    chunk.extend(["id: ", &bus::id(place), "\n", &reset]);
                    continue;
                }
                Told::Event(event) => event,
            };
            if self.user.as_ref().is_none_or(|user| *user == event.user) && self.may_see(&event).await? {
                let data = dumps(event.as_ref()).map_err(ApiError::internal)?;
                let (id, name) = (bus::id(place), event.action.as_str());
                chunk.extend(["id: ", &id, "\nevent: ", name, "\ndata: ", &data, "\n\n"]);
            }
        }
        Ok(chunk)
    }

    async fn may_see(&self, event: &ServerEvent) -> ApiResult<bool> {
        let (user, server) = (UserName::stored(event.user.clone()), ServerName::stored(event.server.clone()));
        self.caller.may_on_server(&self.hub, &["read:servers"], &user, &server).await
    }
}

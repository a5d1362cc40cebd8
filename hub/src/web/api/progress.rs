//! Progress of a start as server-sent events. Answers to `SpawnProgressAPIHandler`; the events themselves are made in
//! [`crate::servers::progress`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use jupyterhub_api_compat::progress::{KEEP_ALIVE, KEEP_ALIVE_SECONDS};

use super::call::Call;
use super::servers;
use crate::servers::live::{Failure, Pending};
use crate::servers::progress::{EventId, View, failed_event, frame, ready_event, stream as events_of};
use crate::servers::supervisor::Entry;
use crate::web::error::{ApiError, ApiResult};

/// Most signs of life sent while a server stops before it starts again: an hour.
const MOST_BEATS: usize = 450;

/// A stream, which also ends with the hub: the browser comes back to the next one by itself.
fn respond(call: &Call, events: impl Stream<Item = Bytes> + 'static) -> HttpResponse {
    let events = events.take_until(call.hub.tasks.stopping().cancelled_owned());
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-cache"))
        // Proxies of the nginx family would else hold events back.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(events.map(Ok::<_, Infallible>))
}

fn single(call: &Call, event: &serde_json::Value) -> HttpResponse {
    respond(call, stream::iter([frame(None, event)]))
}

/// `GET` on the `progress` of a server. With `details` in the query it tells more than stock does.
pub(super) async fn get(call: Call) -> ApiResult<HttpResponse> {
    let user = call.user_or_404().await?;
    let state = servers::find(&call, &user).await?.ok_or_else(ApiError::not_found)?;
    let url = call.hub.urls.server_url(state.key());
    let last = call.header("last-event-id").and_then(EventId::parse);
    let entry = call.hub.servers.entries.get(state.record.id);
    let view = if call.facts.argument("details").is_some() { View::Detailed } else { View::Stock };
    let not_starting = || ApiError::bad_request(format!("{} is not starting...", state.key()));
    match (state.pending(), entry) {
        (Some(Pending::Spawn | Pending::Check), Some(entry)) => {
            Ok(respond(&call, events_of(entry, url, last, view)))
        }
        (Some(Pending::Stop), Some(entry)) if entry.is_start_queued() => {
            Ok(respond(&call, after_stop(entry, url, last, view)))
        }
        (None, _) if state.is_ready() => Ok(single(&call, &ready_event(&url))),
        (None, _) => match &state.live.failure {
            Some(failure) => Ok(single(&call, &failed_event(failure, view))),
            // Stock holds no object of a server that was not started or has ended, and finds nothing.
            None => Err(ApiError::not_found()),
        },
        _ => Err(not_starting()),
    }
}

/// The events of a start that waits for a stop: signs of life first.
fn after_stop(
    entry: Arc<Entry>,
    url: String,
    last: Option<EventId>,
    view: View,
) -> impl Stream<Item = Bytes> + 'static {
    let beats = stream::unfold((Arc::clone(&entry), Duration::ZERO), |(entry, pause)| async move {
        let seen = entry.live.wait(pause, |seen| seen.pending != Some(Pending::Stop)).await;
        let beat = Bytes::from_static(KEEP_ALIVE.as_bytes());
        let next = Duration::from_secs(KEEP_ALIVE_SECONDS);
        (seen.pending == Some(Pending::Stop)).then_some((beat, (entry, next)))
    });
    let before = entry.live.snapshot().run;
    let start = stream::once(async move {
        let seen = entry.live.snapshot();
        if seen.run != before {
            events_of(entry, url, last, view).boxed_local()
        } else if seen.is_settled() {
            // The start was taken back while the server stopped.
            stream::iter([frame(None, &failed_event(&Failure::Cancelled, view))]).boxed_local()
        } else {
            stream::empty().boxed_local()
        }
    });
    beats.take(MOST_BEATS).chain(start.flatten())
}

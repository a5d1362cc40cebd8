//! Progress of a start as server-sent events. Answers to `SpawnProgressAPIHandler`.
//!
//! Beyond stock: every event carries an id, `RUN.INDEX`, so that a browser that lost its connection goes on where it
//! was (`Last-Event-ID`). Readers that ask for details get more steps (marked `detail`), events with `phase`, `cause`
//! and `queue` (place in line and expected time), and failures with `cause`, `retry` and `log`; all others get the
//! fields that stock sends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use hub_core::{Progress, SpawnError};
use jupyterhub_api_compat::json::dumps;
use serde_json::{Map, Value, json};

use super::live::{Failure, Snapshot};
use super::supervisor::Entry;

/// Pause between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(8);
/// Longest life of one stream; the browser comes back with `Last-Event-ID`.
const LONGEST: Duration = Duration::from_hours(1);

/// How much a reader is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// What stock tells.
    Stock,
    /// Everything.
    Detailed,
}

/// The place from which a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    run: u64,
    index: usize,
}

impl EventId {
    /// Parses the `Last-Event-ID` header.
    pub fn parse(text: &str) -> Option<Self> {
        let (run, index) = text.split_once('.')?;
        Some(Self { run: run.parse().ok()?, index: index.parse().ok()? })
    }
}

/// The last event of a server that is up.
pub fn ready_event(url: &str) -> Value {
    let escaped = escape_html(url);
    json!({
        "progress": 100,
        "ready": true,
        "message": format!("Server ready at {url}"),
        "html_message": format!("Server ready at <a href=\"{escaped}\">{escaped}</a>"),
        "url": url,
    })
}

/// The last event of a start that went wrong.
pub fn failed_event(failure: &Failure, view: View) -> Value {
    match failure {
        Failure::Cancelled => json!({ "progress": 100, "failed": true, "message": "Spawn cancelled" }),
        Failure::Failed(error) => failed(error, view),
    }
}

fn failed(error: &SpawnError, view: View) -> Value {
    let mut event = Map::new();
    let mut put = |key: &str, value: Value| event.insert(key.to_owned(), value);
    put("progress", 100.into());
    put("failed", true.into());
    put("message", format!("Spawn failed: {}", error.user).into());
    if let Some(html) = &error.user_html {
        put("html_message", html.clone().into());
    }
    if view == View::Detailed {
        put("cause", error.cause.clone().into());
        put("retry", error.retry.into());
        if !error.log_tail.is_empty() {
            put("log", error.log_tail.clone().into());
        }
    }
    event.into()
}

/// One event on the wire.
pub fn frame(id: Option<(u64, usize)>, event: &Value) -> Bytes {
    let event = dumps(event).unwrap_or_else(|_| event.to_string());
    let text = match id {
        Some((run, index)) => format!("id: {run}.{index}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    Bytes::from(text)
}

/// What the stream is about to do.
struct State {
    entry: Arc<Entry>,
    run: u64,
    index: usize,
    opened: bool,
    done: bool,
    url: String,
    view: View,
    began: tokio::time::Instant,
}

/// The events of a start under way, to its end. `url` is the server's, for the last event.
pub fn stream(
    entry: Arc<Entry>,
    url: String,
    last: Option<EventId>,
    view: View,
) -> impl Stream<Item = Bytes> {
    let Snapshot { run, events, .. } = entry.live.snapshot();
    let index = resume_at(last, run, events);
    let began = tokio::time::Instant::now();
    let state = State { entry, run, index, opened: false, done: false, url, view, began };
    futures_util::stream::unfold(state, |mut state| async move {
        if state.done {
            return None;
        }
        if !state.opened {
            state.opened = true;
            return Some((Bytes::from_static(b"\n\n"), state));
        }
        let chunk = next_chunk(&mut state).await;
        Some((chunk, state))
    })
}

/// The first event that a reader has not seen. An id of another run, of a hub that was there before for example, says
/// nothing about this one; neither does one beyond the events that there are.
fn resume_at(last: Option<EventId>, run: u64, events: usize) -> usize {
    last.filter(|id| id.run == run && id.index < events).map_or(0, |id| id.index + 1)
}

async fn next_chunk(state: &mut State) -> Bytes {
    let mut changes = state.entry.live.watch();
    loop {
        changes.borrow_and_update();
        let snapshot = state.entry.live.snapshot();
        if snapshot.run != state.run {
            // A new start replaced the one that was watched: tell it from its beginning.
            (state.run, state.index) = (snapshot.run, 0);
        }
        let mut chunk = Vec::new();
        for event in state.entry.live.events_from(state.index) {
            if state.view == View::Detailed || !event.detail {
                chunk.extend_from_slice(&frame(Some((state.run, state.index)), &step(event, state.view)));
            }
            state.index += 1;
        }
        if !chunk.is_empty() {
            return Bytes::from(chunk);
        }
        if let Some(end) = end_of(&snapshot, &state.url, state.view) {
            state.done = true;
            return frame(Some((state.run, state.index)), &end);
        }
        if state.began.elapsed() > LONGEST {
            state.done = true;
            return Bytes::from_static(b"\n\n");
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { state.done = true; return Bytes::new(); },
            () = tokio::time::sleep(HEARTBEAT) => return Bytes::from_static(b"\n\n"),
        }
    }
}

fn step(event: Progress, view: View) -> Value {
    let mut json = json!({ "progress": event.percent, "message": event.message });
    if let Value::Object(map) = &mut json {
        if let Some(html) = event.html_message {
            map.insert("html_message".to_owned(), html.into());
        }
        if view == View::Detailed {
            map.insert("phase".to_owned(), json!(event.phase));
            if event.detail {
                map.insert("detail".to_owned(), true.into());
            }
            if let Some(cause) = event.cause {
                map.insert("cause".to_owned(), cause.into());
            }
            if let Some(queue) = event.queue {
                map.insert("queue".to_owned(), json!(queue));
            }
        }
    }
    json
}

fn end_of(snapshot: &Snapshot, url: &str, view: View) -> Option<Value> {
    if !snapshot.is_settled() {
        return None;
    }
    Some(snapshot.failure.as_ref().map_or_else(|| ready_event(url), |failure| failed_event(failure, view)))
}

/// Text inside HTML.
pub fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_on_after_the_last_event_seen() {
        assert_eq!(EventId::parse("3.7"), Some(EventId { run: 3, index: 7 }));
        for text in ["", "3", "x.1", "1.x", "-1.1"] {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_id_that_nobody_was_given_is_no_reason_to_leave_events_out() {
        let at = |text| resume_at(EventId::parse(text), 3, 8);
        assert_eq!(at("3.0"), 1);
        assert_eq!(at("3.7"), 8);
        for text in ["2.5", "3.8", "3.18446744073709551615", "18446744073709551615.18446744073709551615"] {
            assert_eq!(at(text), 0, "{text}");
        }
        assert_eq!(resume_at(None, 3, 8), 0);
    }

    #[test]
    fn a_failure_tells_its_cause_and_the_servers_last_words() {
        let error = SpawnError::broken("oom-killed", "Out of memory.", "secret detail")
            .with_log(vec!["last".to_owned()]);
        let failure = Failure::Failed(Arc::new(error));
        let event = failed_event(&failure, View::Detailed);
        assert_eq!(event["message"], "Spawn failed: Out of memory.");
        assert_eq!(
            (&event["cause"], &event["retry"], &event["log"][0]),
            (&"oom-killed".into(), &false.into(), &"last".into())
        );
        assert!(!event.to_string().contains("secret detail"));
        let event = failed_event(&failure, View::Stock);
        assert_eq!(
            event,
            json!({ "progress": 100, "failed": true, "message": "Spawn failed: Out of memory." })
        );
    }

    #[test]
    fn a_step_has_stocks_fields_unless_details_are_asked_for() {
        let event = Progress::new(50, hub_core::spawner::Phase::Launching, "Spawning server...");
        assert_eq!(
            step(event.clone(), View::Stock),
            json!({ "progress": 50, "message": "Spawning server..." })
        );
        assert_eq!(step(event, View::Detailed)["phase"], "launching");
    }

    #[test]
    fn the_url_in_the_ready_message_is_escaped() {
        let event = ready_event("/user/\"><script>/");
        assert!(!event["html_message"].as_str().unwrap().contains("<script>"));
    }
}

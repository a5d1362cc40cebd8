//! Events of a start in progress, as `GET …/progress` streams them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json;

/// Keep-alive of the stream: sent at once and then every 8 seconds.
pub const KEEP_ALIVE: &str = "\n\n";

/// Seconds between two keep-alives.
pub const KEEP_ALIVE_SECONDS: u64 = 8;

/// One event. Optional fields are left out when unset.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProgressEvent {
    /// Percent, 0 to 100.
    pub progress: u8,
    /// The start failed; the last event.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// The server is ready; the last event.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ready: bool,
    /// Text for people.
    pub message: String,
    /// The same as HTML, inserted unescaped by the page: whoever sets it escapes what is not their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html_message: Option<String>,
    /// Where the ready server is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Whatever else a spawner says. Must not repeat the fields above.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ProgressEvent {
    /// A step on the way.
    pub fn step(progress: u8, message: impl Into<String>) -> Self {
        Self { progress, message: message.into(), ..Self::default() }
    }

    /// The first event of every start.
    pub fn requested() -> Self {
        Self::step(0, "Server requested")
    }

    /// The last event of a start that went well. `url` is the server's URL, path-escaped.
    pub fn ready(url: &str) -> Self {
        let shown = escape_html(url);
        Self {
            progress: 100,
            ready: true,
            message: format!("Server ready at {url}"),
            html_message: Some(format!("Server ready at <a href=\"{shown}\">{shown}</a>")),
            url: Some(url.to_owned()),
            ..Self::default()
        }
    }

    /// The last event of a start that failed. `html` is trusted.
    pub fn failed(why: &str, html: Option<String>) -> Self {
        let message = format!("Spawn failed: {why}");
        Self { progress: 100, failed: true, message, html_message: html, ..Self::default() }
    }

    /// The last event of a start that somebody cancelled.
    pub fn cancelled() -> Self {
        Self { progress: 100, failed: true, message: "Spawn cancelled".to_owned(), ..Self::default() }
    }

    /// Whether the stream ends after this event.
    pub fn is_last(&self) -> bool {
        self.failed || self.ready
    }

    /// The event on the wire: `data: {…}` and an empty line.
    pub fn to_sse(&self) -> Result<String, serde_json::Error> {
        Ok(format!("data: {}\n\n", json::dumps(self)?))
    }
}

fn escape_html(text: &str) -> String {
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
    fn events_look_as_the_spawn_page_expects_them() {
        for (event, wire) in [
            (ProgressEvent::requested(), "data: {\"progress\": 0, \"message\": \"Server requested\"}\n\n"),
            (
                ProgressEvent::ready("/user/a@b/x%20y/"),
                "data: {\"progress\": 100, \"ready\": true, \"message\": \"Server ready at /user/a@b/x%20y/\", \
                 \"html_message\": \"Server ready at <a href=\\\"/user/a@b/x%20y/\\\">/user/a@b/x%20y/</a>\", \
                 \"url\": \"/user/a@b/x%20y/\"}\n\n",
            ),
            (
                ProgressEvent::failed("no room", None),
                "data: {\"progress\": 100, \"failed\": true, \"message\": \"Spawn failed: no room\"}\n\n",
            ),
            (
                ProgressEvent::cancelled(),
                "data: {\"progress\": 100, \"failed\": true, \"message\": \"Spawn cancelled\"}\n\n",
            ),
        ] {
            assert_eq!(event.to_sse().unwrap(), wire);
        }
    }
}

//! The stream of what happens to servers, `hub/api/events` of our hub.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt as _;
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::time::timeout;

use crate::client::Api;

/// A listener. It hears what happens after it has begun to listen.
pub struct Listener {
    stream: futures_util::stream::BoxStream<'static, reqwest::Result<Vec<u8>>>,
    text: String,
}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn new(api: &Api) -> Result<Self> {
        // The client of the API gives up after a while; a listener does not.
        let request = api.request(Method::GET, "events")?.build()?;
        let mut endless = reqwest::Request::new(Method::GET, request.url().clone());
        endless.headers_mut().clone_from(request.headers());
        let answer = Client::new().execute(endless).await?;
        ensure!(answer.status() == 200, "the events answer {}", answer.status());
        let stream = answer.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec())).boxed();
        Ok(Self { stream, text: String::new() })
    }

    /// Waits for the next event of a user's servers with this action (`start`, `stop`, `failure`).
    ///
    /// # Errors
    /// When there is none in time; with what was heard.
    pub async fn next(&mut self, user: &str, action: &str, within: Duration) -> Result<Value> {
        let mut heard = Vec::new();
        let found = timeout(within, async {
            loop {
                let event = self.any().await?;
                let is = |key: &str, wanted: &str| event.get(key).and_then(Value::as_str) == Some(wanted);
                if is("user", user) && is("action", action) {
                    return Ok(event);
                }
                heard.push(event);
            }
        });
        let found = found.await;
        found.with_context(|| format!("no {action} of {user} within {within:?}, but {heard:#?}"))?
    }

    /// Waits for the next event, whatever it tells.
    ///
    /// # Errors
    /// When the stream ends.
    pub async fn any(&mut self) -> Result<Value> {
        loop {
            while let Some((line, rest)) = self.text.split_once('\n') {
                let event = line.strip_prefix("data:").map(serde_json::from_str::<Value>);
                let rest = rest.len();
                let event = event.transpose()?;
                self.text.drain(..self.text.len() - rest);
                if let Some(event) = event {
                    return Ok(event);
                }
            }
            let Some(chunk) = self.stream.next().await else { bail!("the stream of events has ended") };
            self.text.push_str(&String::from_utf8_lossy(&chunk?));
        }
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("text", &self.text).finish_non_exhaustive()
    }
}

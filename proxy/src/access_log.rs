//! The access log: a line for each finished request, written by a thread of its own.
//!
//! The data path never waits for the log. When its queue is full, lines are dropped and counted.

use std::{
    fmt::Write as _,
    io::Write as _,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Instant,
};

use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderValue, Method, StatusCode, Version, header};
use serde_json::json;

use crate::{
    error::ProxyError,
    metrics::Metrics,
    options::AccessLog,
    routes::{Route, activity::now_millis},
    server::client::Client,
};

/// Lines that wait to be written.
const QUEUE: usize = 8 * 1024;
/// Longest path and user agent in a line, in bytes.
const LONGEST: usize = 2048;

/// Takes finished requests. Clones write to the same log.
#[derive(Debug, Clone)]
pub(crate) struct AccessLogger {
    format: AccessLog,
    lines: SyncSender<String>,
    metrics: Arc<Metrics>,
}

impl AccessLogger {
    /// Starts the log's thread, unless the log is off. The thread ends with the last logger.
    pub(crate) fn start(format: AccessLog, metrics: &Arc<Metrics>) -> Result<Option<Self>, ProxyError> {
        if format == AccessLog::Off {
            return Ok(None);
        }
        let (lines, queue) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&queue))
            .map_err(|source| ProxyError::File { path: "the access log's thread".to_owned(), source })?;
        Ok(Some(Self { format, lines, metrics: Arc::clone(metrics) }))
    }

    fn log(&self, entry: &Entry) {
        let line = match self.format {
            AccessLog::Json => entry.json(),
            AccessLog::Common | AccessLog::Off => entry.common(),
        };
        if self.lines.try_send(line).is_err() {
            self.metrics.lost_log_lines.inc();
        }
    }
}

/// Writes until no logger is left. A broken pipe is no reason to stop: the lines are lost, and nothing else.
fn write_all(queue: &Receiver<String>) {
    while let Ok(first) = queue.recv() {
        let mut out = std::io::stdout().lock();
        let mut written = out.write_all(first.as_bytes());
        // What has piled up goes out together.
        for line in queue.try_iter().take(QUEUE) {
            written = written.and_then(|()| out.write_all(line.as_bytes()));
        }
        let _ = written.and_then(|()| out.flush());
    }
}

/// A request on its way to the log; logged when dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    logger: AccessLogger,
    started: Instant,
    at: i64,
    client: Option<HeaderValue>,
    method: Method,
    /// Without the query, which may hold secrets.
    path: Box<str>,
    version: Version,
    agent: Option<HeaderValue>,
    pub(crate) status: StatusCode,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) bytes: u64,
}

impl Entry {
    pub(crate) fn new<B>(logger: &AccessLogger, client: &Client, request: &http::Request<B>) -> Box<Self> {
        Box::new(Self {
            logger: logger.clone(),
            started: Instant::now(),
            at: now_millis(),
            client: client.address.clone(),
            method: request.method().clone(),
            path: cut(request.uri().path()).into(),
            version: request.version(),
            agent: request.headers().get(header::USER_AGENT).cloned(),
            status: StatusCode::OK,
            route: None,
            bytes: 0,
        })
    }

    fn milliseconds(&self) -> u128 {
        self.started.elapsed().as_millis()
    }

    fn address(&self) -> &str {
        self.client.as_ref().and_then(|client| client.to_str().ok()).unwrap_or("-")
    }

    fn common(&self) -> String {
        let at = DateTime::<Utc>::from_timestamp_millis(self.at).unwrap_or_default();
        let mut line = String::with_capacity(160);
        // Writing to a String cannot fail.
        let _ = writeln!(
            line,
            "{} - - [{}] \"{} {} {:?}\" {} {} {}",
            self.address(),
            at.format("%d/%b/%Y:%H:%M:%S +0000"),
            self.method,
            self.path,
            self.version,
            self.status.as_u16(),
            self.bytes,
            self.milliseconds(),
        );
        line
    }

    fn json(&self) -> String {
        let at = DateTime::<Utc>::from_timestamp_millis(self.at).unwrap_or_default();
        let agent = self.agent.as_ref().and_then(|agent| agent.to_str().ok()).map(cut);
        let line = json!({
            "time": at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "client": self.address(),
            "method": self.method.as_str(),
            "path": &*self.path,
            "protocol": format!("{:?}", self.version),
            "status": self.status.as_u16(),
            "bytes": self.bytes,
            "duration_ms": u64::try_from(self.milliseconds()).unwrap_or(u64::MAX),
            "route": self.route.as_ref().map(|route| &*route.key),
            "user_agent": agent,
        });
        format!("{line}\n")
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.logger.log(self);
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_the_log_cannot_take_are_dropped_and_counted() {
        let metrics = Metrics::new();
        let (lines, queue) = sync_channel(2);
        let logger = AccessLogger { format: AccessLog::Json, lines, metrics: Arc::clone(&metrics) };
        for _ in 0..5 {
            drop(Entry {
                logger: logger.clone(),
                started: Instant::now(),
                at: 0,
                client: None,
                method: Method::GET,
                path: "/".into(),
                version: Version::HTTP_11,
                agent: None,
                status: StatusCode::OK,
                route: None,
                bytes: 0,
            });
        }
        assert_eq!(queue.try_iter().count(), 2);
        assert!(
            metrics.text().lines().any(|line| line == "proxy_lost_access_log_lines 3"),
            "{}",
            metrics.text()
        );
    }
}

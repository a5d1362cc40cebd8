//! The event log: one JSON line per start and stop, in the schema of stock's `server-action` event. Answers to
//! `jupyterhub.apihandlers.events` and to `jupyter_events.EventLogger` with a file handler.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jupyterhub_api_compat::json::dumps;
use jupyterhub_api_compat::models::ServerEvent;
use serde_json::json;
use tracing::warn;

/// The schema's id.
pub const SCHEMA: &str = "https://schema.jupyter.org/jupyterhub/events/server-action";

/// An open event log.
#[derive(Debug)]
pub struct EventLog(Mutex<File>);

impl EventLog {
    /// Appends to a file, made if need be.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self(Mutex::new(File::options().create(true).append(true).open(path)?)))
    }

    /// One line. A file that takes nothing more is told in the log, and the server goes on.
    pub fn write(&self, event: &ServerEvent) {
        let line = json!({
            // Offset and Z: this is how the library of stock writes it.
            "__timestamp__": event.at.0.format("%Y-%m-%dT%H:%M:%S%.6f+00:00Z").to_string(),
            "__schema__": SCHEMA,
            "__schema_version__": "1",
            "__metadata_version__": 1,
            "action": event.action.as_str(),
            "username": event.user,
            "servername": event.server,
        });
        // In one piece, so that the lines of several processes do not mix.
        let written = dumps(&line).map_err(std::io::Error::other).and_then(|line| {
            let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(format!("{line}\n").as_bytes())
        });
        if let Err(error) = written {
            warn!(%error, "cannot write to the event log");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hub_core::{ServerKey, ServerName, SystemClock, UserName};
    use hub_db::{Db, DbOptions};
    use tokio::runtime::Handle;

    use super::*;
    use crate::app::tasks::Tasks;
    use crate::events::Events;
    use crate::events::exchange::Exchange;

    #[tokio::test]
    async fn an_event_is_one_line_of_json_in_stocks_schema() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.log");
        let db = Db::connect(DbOptions::new("sqlite://")).await.unwrap();
        hub_db::schema::create(&db).await.unwrap();
        let exchange = Exchange::start(db, Arc::new(SystemClock), Tasks::on(Handle::current()));
        let events = Events::new(Some(EventLog::open(&path).unwrap()), exchange, Arc::new(SystemClock));
        let key = ServerKey::new(UserName::stored("ada"), ServerName::default());
        events.started(&key);
        events.cancelled(&key);
        events.ended(&key, Some("exited"));
        events.stopped(&key);
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let actions: Vec<&serde_json::Value> = lines.iter().map(|line| &line["action"]).collect();
        assert_eq!(
            actions,
            ["start", "stop"],
            "failures are not in the schema, ends by themselves not in stock's log"
        );
        let keys: Vec<&str> = lines[1].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "__timestamp__",
                "__schema__",
                "__schema_version__",
                "__metadata_version__",
                "action",
                "username",
                "servername"
            ]
        );
        assert_eq!((&lines[0]["username"], &lines[0]["servername"]), (&json!("ada"), &json!("")));
    }
}

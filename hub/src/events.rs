//! The event log: one JSON line per start and stop, in the schema of stock's `server-action` event.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hub_core::{Clock, ServerKey};
use serde_json::json;
use tracing::warn;

const SCHEMA: &str = "https://schema.jupyter.org/jupyterhub/events/server-action";

/// Where events go; nowhere unless a file is configured.
#[derive(Debug)]
pub struct Events {
    file: Option<Mutex<File>>,
    clock: Arc<dyn Clock>,
}

impl Events {
    /// A log without a file.
    pub fn disabled(clock: Arc<dyn Clock>) -> Self {
        Self { file: None, clock }
    }

    /// Appends to a file, made if need be.
    pub fn to_file(path: &Path, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file: Some(Mutex::new(file)), clock })
    }

    /// A server was started (`start`) or stopped (`stop`) by the hub.
    pub fn server(&self, key: &ServerKey, action: &str) {
        let Some(file) = &self.file else { return };
        let line = json!({
            "__timestamp__": self.clock.now().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
            "__schema__": SCHEMA,
            "__schema_version__": "1",
            "__metadata_version__": 1,
            "action": action,
            "username": key.user,
            "servername": key.server,
        });
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writeln!(file, "{line}") {
            warn!(%error, "cannot write to the event log");
        }
    }
}

#[cfg(test)]
mod tests {
    use hub_core::{ServerName, SystemClock, UserName};

    use super::*;

    #[test]
    fn an_event_is_one_line_of_json_in_stocks_schema() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.log");
        let events = Events::to_file(&path, Arc::new(SystemClock)).unwrap();
        events.server(&ServerKey::new(UserName::stored("ada"), ServerName::default()), "start");
        let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(
            (&line["action"], &line["username"], &line["servername"]),
            (&"start".into(), &"ada".into(), &"".into())
        );
        assert_eq!(line["__schema__"], SCHEMA);
    }
}

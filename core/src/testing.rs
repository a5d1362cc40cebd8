//! For tests of plugins: what they leave in the log.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

/// All that this thread logs, one event in a line, fields as `name=value`.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    /// Begins to listen, until the guard goes.
    pub fn begin() -> (Self, DefaultGuard) {
        let log = Self::default();
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    fn lines(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        self.lines().clone()
    }

    /// The codes of what was refused (`login refused` and the like), in order.
    pub fn reasons(&self) -> Vec<String> {
        let text = self.text();
        let ends = ["login refused", "logout refused", "credentials refused"];
        let lines = text.lines().filter(|line| ends.iter().any(|end| line.contains(end)));
        let code = |line: &str| Some(line.split_once("reason=\"")?.1.split('"').next()?.to_owned());
        lines.filter_map(code).collect()
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let mut all = self.lines();
        all.push_str(&line.0);
        all.push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The fields of one event.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).expect("writing to a string cannot fail");
    }
}

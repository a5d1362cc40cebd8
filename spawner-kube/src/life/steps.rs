//! What people see of a start: the cluster's events in stock's words, and phases and troubles beside.

use std::sync::Arc;
use std::time::Duration;

use hub_core::spawner::Phase;
use hub_core::{Progress, StartSink};
use serde_json::Value;
use tokio::time::Instant;

use crate::causes::Trouble;
use crate::events;
use crate::python::format::{Missing, PyValue, format};
use crate::traits::Traits;
use crate::view::pod;

/// Tells each step once.
pub(super) struct Steps<'s> {
    sink: &'s dyn StartSink,
    progress: events::Progress,
    percent: u8,
    phase: Phase,
    /// Events that were told, by identity and count.
    told: Vec<(String, u64)>,
    trouble: Option<(&'static str, String)>,
    patience: Patience,
}

/// When people are asked for patience.
struct Patience {
    began: Instant,
    next: Option<Instant>,
    every: Duration,
    message: String,
}

impl<'s> Steps<'s> {
    pub(super) fn new(sink: &'s dyn StartSink, traits: &Traits) -> Self {
        let seconds = |value: i64| Duration::from_secs(u64::try_from(value).unwrap_or_default());
        let began = Instant::now();
        let threshold = seconds(traits.slow_spawn_message_threshold);
        Self {
            sink,
            progress: events::Progress::default(),
            percent: 0,
            phase: Phase::Preparing,
            told: Vec::new(),
            trouble: None,
            patience: Patience {
                began,
                next: (!threshold.is_zero()).then(|| began + threshold),
                every: seconds(traits.slow_spawn_message_frequency).max(Duration::from_secs(1)),
                message: traits.slow_spawn_message.clone(),
            },
        }
    }

    /// A step that stock does not tell.
    pub(super) fn detail(&mut self, phase: Phase, message: &str) {
        self.phase = self.phase.max(phase);
        self.sink.progress(Progress::new(self.percent, self.phase, message).detail());
    }

    /// Events that are new.
    pub(super) fn events(&mut self, all: &[Arc<Value>]) {
        for event in all {
            let count = event.get("count").and_then(Value::as_u64).unwrap_or(1);
            let uid = pod::uid(event);
            match self.told.iter_mut().find(|(told, _)| told == uid) {
                // Repetitions of an event are no steps.
                Some(told) => {
                    told.1 = count;
                    continue;
                }
                None => self.told.push((uid.to_owned(), count)),
            }
            self.phase = self.phase.max(phase_of(event));
            let step = self.progress.step(event);
            self.percent = step.percent;
            self.sink.progress(Progress::new(step.percent, self.phase, step.message));
        }
    }

    /// The trouble that the start is in, told when it changes.
    pub(super) fn trouble(&mut self, trouble: Option<&Trouble>) {
        let now = trouble.map(|trouble| (trouble.cause, trouble.user.clone()));
        if now == self.trouble {
            return;
        }
        if let Some(trouble) = trouble {
            let progress = Progress::new(self.percent, self.phase, trouble.user.clone());
            self.sink.progress(Progress { cause: Some(trouble.cause), ..progress.detail() });
        }
        self.trouble = now;
    }

    /// When [`Steps::ask_for_patience`] has something to say.
    pub(super) fn next_patience(&self) -> Option<Instant> {
        self.patience.next
    }

    /// Asks people to wait on, when it is time to.
    pub(super) fn ask_for_patience(&mut self) {
        let now = Instant::now();
        if self.patience.next.is_none_or(|next| next > now) {
            return;
        }
        let waited = now.duration_since(self.patience.began).as_secs();
        let field =
            |name: &str| (name == "seconds").then(|| PyValue::Int(i64::try_from(waited).unwrap_or(i64::MAX)));
        // The template was tried when the options were read.
        let message = format(&self.patience.message, &field, Missing::Refuse)
            .unwrap_or_else(|_| self.patience.message.clone());
        self.patience.next = Some(now + self.patience.every);
        self.sink.progress(Progress::new(self.percent, self.phase, message));
    }
}

/// The part of a start that an event belongs to.
fn phase_of(event: &Value) -> Phase {
    match pod::text(event, "/reason") {
        "Pulling" | "Failed" | "BackOff" | "ErrImageNeverPull" => Phase::Pulling,
        "Pulled" | "Created" | "Started" => Phase::Launching,
        _ => Phase::Scheduling,
    }
}

//! One server at work: what is being done to it, and what is asked for next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub_core::{ServerKey, SpawnError};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::intent::{Intent, StartOrder, StopOrder};
use crate::servers::SpawnerId;
use crate::servers::live::{Failure, Live, Pending};

/// What the driver is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Start,
    Stop,
    Check,
}

#[derive(Debug, Default)]
struct Control {
    doing: Option<Doing>,
    cancel: CancellationToken,
    remove: bool,
    /// Whether somebody asked for the stop under way, beside what was seen of the server.
    wanted: bool,
    next: Option<Intent>,
}

impl Control {
    /// The start that is to follow.
    fn queued(&self) -> Option<&StartOrder> {
        match &self.next {
            Some(Intent::Start(order)) => Some(order),
            Some(Intent::Stop(order)) => order.then.as_deref(),
            Some(Intent::Check) | None => None,
        }
    }
}

/// A server at work, with what is asked of it.
#[derive(Debug)]
pub struct Entry {
    /// The row in `spawners`.
    pub id: SpawnerId,
    /// What can be seen of it.
    pub live: Live,
    control: Mutex<Control>,
    /// The state that the start under way saved last, for when the database cannot tell it.
    saved: Mutex<Option<Value>>,
    /// The row in `servers` of the run that was begun last.
    run: Mutex<Option<i32>>,
}

impl Entry {
    pub(super) fn new(id: SpawnerId, key: ServerKey) -> Self {
        Self {
            id,
            live: Live::new(key),
            control: Mutex::default(),
            saved: Mutex::default(),
            run: Mutex::default(),
        }
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps or, with none, forgets what a start saved.
    pub(in crate::servers) fn remember(&self, state: Option<Value>) {
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Notes the row in `servers` of a run that begins.
    pub(in crate::servers) fn begin_run(&self, server_id: i32) {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = Some(server_id);
    }

    /// The row in `servers` of the run that was begun last.
    pub(in crate::servers) fn run(&self) -> Option<i32> {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the start under way, or one that was cancelled, saved last.
    pub(in crate::servers) fn remembered(&self) -> Option<Value> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server's record shall be deleted when the stop under way is through.
    pub(in crate::servers) fn is_to_be_removed(&self) -> bool {
        self.control().remove
    }

    /// Whether somebody asked for the stop under way, and not only the server seemed to have ended.
    pub(in crate::servers) fn is_stop_wanted(&self) -> bool {
        self.control().wanted
    }

    /// Whether the server will be started once what is under way is through.
    pub fn is_start_queued(&self) -> bool {
        self.control().queued().is_some()
    }

    /// The start that is to follow what is under way.
    pub(in crate::servers) fn queued_start(&self) -> Option<StartOrder> {
        self.control().queued().cloned()
    }

    /// Starts the server once more when what is being done is done, unless something else was asked for since.
    pub(in crate::servers) fn start_afterwards(&self) {
        self.control().next.get_or_insert_with(|| Intent::Start(Box::default()));
    }

    /// Takes back the start that is to follow. Whether there was one.
    pub(in crate::servers) fn drop_queued_start(&self) -> bool {
        let mut control = self.control();
        let queued = matches!(control.next, Some(Intent::Start(_)));
        if queued {
            control.next = None;
        }
        queued
    }

    /// Writes the intent down. Returns whether a driver must be started for it.
    pub(super) fn ask(&self, intent: Intent) -> bool {
        let mut control = self.control();
        let control = &mut *control;
        if intent.is_about_what_was_seen() && (control.doing.is_some() || control.next.is_some()) {
            // Seen before what is under way now: it tells nothing about that, and nobody asked for it.
            return false;
        }
        match (control.doing, intent) {
            (None, mut intent) => {
                let idle = control.next.is_none();
                match (&mut control.next, &mut intent) {
                    // The driver has yet to come: the server is stopped first nevertheless.
                    (Some(Intent::Stop(waiting)), Intent::Start(order)) => {
                        waiting.then = Some(std::mem::take(order));
                        return idle;
                    }
                    (Some(Intent::Stop(waiting)), Intent::Stop(order)) => order.remove |= waiting.remove,
                    _ => {}
                }
                self.show(&intent);
                control.next = Some(intent);
                return idle;
            }
            (Some(Doing::Start), Intent::Start(order)) => {
                // Cancelled already? Then the stop comes first: it takes away what the cancelled start left.
                // Otherwise it is being started as it is.
                if let Some(Intent::Stop(waiting)) = &mut control.next {
                    waiting.then = Some(order);
                }
            }
            (Some(Doing::Start | Doing::Check), Intent::Stop(mut order)) => {
                control.cancel.cancel();
                order.remove |= matches!(&control.next, Some(Intent::Stop(waiting)) if waiting.remove);
                control.next = Some(Intent::Stop(order));
            }
            (Some(Doing::Stop), Intent::Start(order)) => control.next = Some(Intent::Start(order)),
            (Some(Doing::Stop), Intent::Stop(order)) => {
                control.remove |= order.remove;
                control.wanted = true;
                control.next = order.then.map(Intent::Start);
            }
            (Some(Doing::Check), Intent::Start(order)) => match &mut control.next {
                Some(Intent::Stop(waiting)) => waiting.then = Some(order),
                next => *next = Some(Intent::Start(order)),
            },
            (Some(_), Intent::Check) => {}
        }
        false
    }

    /// Asks for a start after the check that is under way, unless something else was asked for already.
    pub(in crate::servers) fn resume(&self) {
        let order = StartOrder { resumed: true, ..StartOrder::default() };
        self.control().next.get_or_insert_with(|| Intent::Start(Box::new(order)));
    }

    /// Goes on, after the check that is under way, with a stop that another hub has left. A start that was asked for
    /// here takes the place of the one that was to follow.
    pub(in crate::servers) fn resume_stop(&self, mut order: StopOrder) {
        let mut control = self.control();
        match control.next.take() {
            Some(Intent::Start(start)) => order.then = Some(start),
            Some(stop @ Intent::Stop(_)) => {
                control.next = Some(stop);
                return;
            }
            Some(Intent::Check) | None => {}
        }
        control.next = Some(Intent::Stop(order));
    }

    /// Whether nothing is being done and nothing asked for.
    pub(super) fn is_idle(&self) -> bool {
        let control = self.control();
        control.doing.is_none() && control.next.is_none()
    }

    /// Makes an intent visible at once, so that whoever asked sees it pending.
    fn show(&self, intent: &Intent) {
        match intent {
            Intent::Start(_) => self.live.begin_start(),
            Intent::Stop(_) => self.live.begin(Pending::Stop),
            Intent::Check => self.live.begin(Pending::Check),
        }
    }

    /// The driver was lost: nothing is being done any more, and the next click begins anew.
    pub(super) fn abandon(&self) {
        let mut control = self.control();
        control.doing = None;
        control.next = None;
        let text = "The hub lost track of your server. Please try again.";
        let failure = SpawnError::broken("internal", text, "the driver of the server panicked").retryable();
        self.live.fail(Failure::Failed(Arc::new(failure)));
        self.live.settle();
    }

    /// The next intent, or none when the driver may end.
    pub(super) fn take(&self, first: bool) -> Option<(Intent, CancellationToken)> {
        let mut control = self.control();
        let Some(mut intent) = control.next.take() else {
            control.doing = None;
            self.live.settle();
            return None;
        };
        if !first {
            self.show(&intent);
        }
        control.doing = Some(match intent {
            Intent::Start(_) => Doing::Start,
            Intent::Stop(_) => Doing::Stop,
            Intent::Check => Doing::Check,
        });
        control.remove = false;
        control.cancel = CancellationToken::new();
        if let Intent::Stop(order) = &mut intent {
            control.remove = order.remove;
            control.wanted = order.exited.is_none();
            control.next = order.then.take().map(Intent::Start);
        }
        Some((intent, control.cancel.clone()))
    }
}

#[cfg(test)]
mod tests {
    use hub_core::spawner::Exit;
    use hub_core::{ServerName, UserName};

    use super::*;

    fn entry() -> Entry {
        Entry::new(1, ServerKey::new(UserName::stored("ada"), ServerName::default()))
    }

    fn start() -> Intent {
        Intent::Start(Box::default())
    }

    fn stop() -> Intent {
        Intent::Stop(StopOrder::graceful())
    }

    #[test]
    fn a_stop_during_a_start_cancels_it_and_comes_next() {
        let entry = entry();
        assert!(entry.ask(start()));
        assert_eq!(entry.live.snapshot().pending, Some(Pending::Spawn));
        let (_, cancel) = entry.take(true).unwrap();
        assert!(!entry.ask(start()));
        assert!(!cancel.is_cancelled());
        assert!(!entry.ask(stop()));
        assert!(cancel.is_cancelled());
        assert!(matches!(entry.take(false), Some((Intent::Stop(_), _))));
        assert_eq!(entry.live.snapshot().pending, Some(Pending::Stop));
        assert!(entry.take(false).is_none());
        assert!(entry.live.snapshot().is_settled());
    }

    #[test]
    fn a_start_that_was_cancelled_is_cleaned_up_before_the_next_one() {
        let entry = entry();
        entry.ask(start());
        entry.take(true).unwrap();
        entry.ask(Intent::Stop(StopOrder { remove: true, ..StopOrder::graceful() }));
        entry.ask(stop());
        entry.ask(start());
        assert!(entry.is_start_queued());
        assert!(matches!(entry.take(false), Some((Intent::Stop(_), _))));
        assert!(entry.is_to_be_removed(), "the removal is not lost by a second stop");
        assert!(matches!(entry.take(false), Some((Intent::Start(_), _))));
        assert!(entry.take(false).is_none());
    }

    #[test]
    fn what_a_look_told_does_not_undo_what_was_asked_for() {
        let exited = || Intent::Stop(StopOrder { exited: Some(Exit::default()), ..StopOrder::graceful() });
        let entry = entry();
        assert!(entry.ask(start()));
        assert!(!entry.ask(exited()), "the start waits for its driver");
        assert!(!entry.ask(Intent::Check));
        let (intent, cancel) = entry.take(true).unwrap();
        assert!(matches!(intent, Intent::Start(_)));
        assert!(!entry.ask(exited()), "the start is under way");
        assert!(!cancel.is_cancelled());
        assert!(entry.take(false).is_none());
        assert!(entry.ask(exited()));
    }

    #[test]
    fn a_stop_need_not_wait_for_a_check() {
        let entry = entry();
        entry.ask(Intent::Check);
        let (_, cancel) = entry.take(true).unwrap();
        entry.ask(start());
        assert!(!cancel.is_cancelled(), "what is found may be what the start wants");
        entry.ask(stop());
        assert!(cancel.is_cancelled());
        assert!(matches!(entry.take(false), Some((Intent::Stop(_), _))));
        assert!(entry.take(false).is_none(), "the stop came after the start");
    }

    #[test]
    fn a_stop_that_another_hub_has_left_comes_before_a_start_asked_for_since() {
        let left = || StopOrder { then: Some(Box::default()), ..StopOrder::graceful() };
        let entry = entry();
        entry.ask(Intent::Check);
        entry.take(true).unwrap();
        entry.resume_stop(left());
        assert!(matches!(entry.take(false), Some((Intent::Stop(_), _))));
        assert!(matches!(entry.take(false), Some((Intent::Start(_), _))));
        assert!(entry.take(false).is_none());
        entry.ask(Intent::Check);
        entry.take(true).unwrap();
        let options = serde_json::json!({"size": "big"}).as_object().cloned();
        entry.ask(Intent::Start(Box::new(StartOrder { options: options.clone(), ..StartOrder::default() })));
        entry.resume_stop(left());
        assert_eq!(entry.queued_start().unwrap().options, options);
        entry.ask(stop());
        entry.resume_stop(left());
        assert!(entry.queued_start().is_none(), "the last click was a stop");
    }

    #[test]
    fn the_last_click_counts() {
        let entry = entry();
        assert!(entry.ask(stop()));
        entry.take(true).unwrap();
        assert!(!entry.ask(start()));
        assert!(!entry.ask(stop()));
        assert!(entry.take(false).is_none(), "the start was taken back");
        assert!(entry.ask(stop()));
        entry.take(true).unwrap();
        assert!(!entry.ask(start()));
        assert!(matches!(entry.take(false), Some((Intent::Start(_), _))));
    }

    #[test]
    fn a_restart_starts_again_unless_a_stop_comes_after_it() {
        let restart = || Intent::Stop(StopOrder { then: Some(Box::default()), ..StopOrder::graceful() });
        let entry = entry();
        entry.ask(restart());
        entry.take(true).unwrap();
        assert!(matches!(entry.take(false), Some((Intent::Start(_), _))));
        assert!(entry.take(false).is_none());
        entry.ask(restart());
        entry.take(true).unwrap();
        entry.ask(stop());
        assert!(entry.take(false).is_none());
    }

    #[test]
    fn a_start_asked_for_before_the_stop_began_comes_after_it() {
        let entry = entry();
        assert!(entry.ask(stop()));
        assert!(!entry.ask(start()));
        assert!(entry.is_start_queued());
        assert!(matches!(entry.take(true), Some((Intent::Stop(_), _))));
        assert!(matches!(entry.take(false), Some((Intent::Start(_), _))));
        assert!(entry.take(false).is_none());
    }

    #[test]
    fn a_stop_asked_for_while_an_end_is_looked_into_is_not_lost() {
        let entry = entry();
        entry.ask(Intent::Stop(StopOrder { exited: Some(Exit::default()), ..StopOrder::graceful() }));
        entry.take(true).unwrap();
        assert!(!entry.is_stop_wanted());
        entry.ask(stop());
        assert!(entry.is_stop_wanted());
        assert!(entry.take(false).is_none());
    }

    #[test]
    fn a_removal_asked_for_during_a_stop_is_not_lost() {
        let entry = entry();
        entry.ask(stop());
        entry.take(true).unwrap();
        assert!(!entry.is_to_be_removed());
        entry.ask(Intent::Stop(StopOrder { remove: true, ..StopOrder::graceful() }));
        assert!(entry.is_to_be_removed());
    }
}

//! Which hub works on a start, and what was begun and must not be forgotten: notes in `spawners.state`.
//!
//! Several hubs may share a database. The one that starts a server writes its name beside the server's state, with a
//! time until which it is to be believed, and goes on writing it until the server answers. A hub that has died writes
//! no more; then another one looks what became of the start. A stop is noted in the same way before it begins, with the
//! start that is to follow it, and the start that is owed after it stays noted until it is begun. Stock ignores the
//! keys, and its next start writes its own state over them.
//!
//! The clocks of hubs on one database may differ by a few seconds, not more.

use std::fs;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::secret::random_hex32;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::supervisor::{StartOrder, StopOrder};

const START_KEY: &str = "himalia_start";
const STOP_KEY: &str = "himalia_stop";
pub(super) const RESTART_KEY: &str = "himalia_restart";
/// How long a note is believed after it was written last.
const LIFE: TimeDelta = TimeDelta::seconds(20);
/// How often it is written: several may be late.
pub(super) const BEAT: Duration = Duration::from_secs(5);
/// How long the start after a stop is owed. Nobody waits for a server for longer.
const OWED: TimeDelta = TimeDelta::minutes(10);
/// Longest options, in bytes of JSON, that are noted with a stop; longer ones, of forms with files, are those of one
/// hub.
const LONGEST_OPTIONS: usize = 16 << 10;
/// How often it is noted again that a start waits for its turn.
pub(super) const WAITING_BEAT: Duration = Duration::from_mins(5);

/// The name of a hub, never the same twice, and where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubName {
    id: String,
    /// Boot of the machine, namespace of its processes, number and start of the process: whether that lives, another
    /// hub can see only where it sees the same processes.
    process: Option<(String, String, u32, u64)>,
}

impl HubName {
    /// A name for this process.
    pub fn fresh() -> Self {
        let process = || {
            let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
            let pid = std::process::id();
            Some((boot, namespace()?, pid, started(pid)?))
        };
        Self { id: random_hex32(), process: process() }
    }

    /// Whether the process is known to have ended.
    fn has_ended(&self, seen_by: &Self) -> bool {
        let (Some((boot, namespace, pid, start)), Some((own_boot, own_namespace, ..))) =
            (&self.process, &seen_by.process)
        else {
            return false;
        };
        boot == own_boot && namespace == own_namespace && started(*pid) != Some(*start)
    }
}

fn namespace() -> Option<String> {
    Some(fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned())
}

/// When a process started, in ticks since the boot; none when there is no such process.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X");
    fields.nth(18)?.parse().ok().filter(|_| !ended)
}

/// What a hub has noted about its work on a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtWork {
    hub: HubName,
    until: DateTime<Utc>,
}

impl AtWork {
    /// Whether another hub than `own` works on the start at this moment.
    pub fn is_another(&self, own: &HubName, now: DateTime<Utc>) -> bool {
        self.hub != *own && now < self.until && self.until <= now + LIFE * 2 && !self.hub.has_ended(own)
    }
}

/// What a hub has noted about a stop that it carries out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stopping {
    at_work: AtWork,
    /// Whether the server's record is to be deleted afterwards.
    pub remove: bool,
    /// The start that is to follow.
    then: Option<Owed>,
}

/// A start that follows a stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Owed {
    until: DateTime<Utc>,
    options: Option<Map<String, Value>>,
}

impl Stopping {
    /// A stop that `hub` carries out at this moment; `then` is the start to follow.
    pub(super) fn by(hub: &HubName, now: DateTime<Utc>, remove: bool, then: Option<&StartOrder>) -> Self {
        let noted = |options: &Map<String, Value>| json!(options).to_string().len() <= LONGEST_OPTIONS;
        let owed =
            |order: &StartOrder| Owed { until: now + OWED, options: order.options.clone().filter(noted) };
        Self { at_work: AtWork { hub: hub.clone(), until: now + LIFE }, remove, then: then.map(owed) }
    }

    /// The same, which `hub` has left to the next one.
    pub(super) fn left_by(
        hub: &HubName,
        now: DateTime<Utc>,
        remove: bool,
        then: Option<&StartOrder>,
    ) -> Self {
        let at_work = AtWork { hub: hub.clone(), until: now };
        Self { at_work, ..Self::by(hub, now, remove, then) }
    }

    /// Whether it is the note of this hub.
    pub(super) fn is_by(&self, hub: &HubName) -> bool {
        self.at_work.hub == *hub
    }

    /// Whether nobody has written it for so long that it is no order any more.
    pub(super) fn is_forgotten(&self, now: DateTime<Utc>) -> bool {
        self.at_work.until + OWED <= now
    }

    /// Whether another hub than `own` is at it at this moment.
    pub(super) fn is_another(&self, own: &HubName, now: DateTime<Utc>) -> bool {
        self.at_work.is_another(own, now)
    }

    /// What is left to do, for the hub that goes on with it.
    pub(super) fn order(self, now: DateTime<Utc>) -> StopOrder {
        let owed = self.then.filter(|owed| now < owed.until);
        let then = owed.map(|owed| Box::new(StartOrder { options: owed.options, ..StartOrder::default() }));
        StopOrder { remove: self.remove, then, ..StopOrder::graceful() }
    }
}

/// Writes a note into a state.
fn note(state: &mut Value, key: &str, note: impl Serialize) {
    if let Some(map) = state.as_object_mut() {
        map.insert(key.to_owned(), json!(note));
    }
}

/// Takes a note out of a state; what is unreadable is none.
fn take<T: DeserializeOwned>(state: &mut Value, key: &str) -> Option<T> {
    serde_json::from_value(state.as_object_mut()?.remove(key)?).ok()
}

/// A state with the note of a stop.
pub(super) fn note_stop(mut state: Value, stopping: &Stopping) -> Value {
    note(&mut state, STOP_KEY, stopping);
    state
}

/// Takes the note of a stop out of a state.
pub(super) fn take_stop(state: &mut Value) -> Option<Stopping> {
    take(state, STOP_KEY)
}

/// A state with the note that this hub works on the start.
pub(super) fn note_start(mut state: Value, hub: &HubName, now: DateTime<Utc>) -> Value {
    note(&mut state, START_KEY, AtWork { hub: hub.clone(), until: now + LIFE });
    state
}

/// A state with the note that this hub has worked on the start and does so no more: the next one need not wait.
pub(super) fn note_end(mut state: Value, hub: &HubName, now: DateTime<Utc>) -> Value {
    note(&mut state, START_KEY, AtWork { hub: hub.clone(), until: now });
    state
}

/// Takes the note of a start out of a state.
pub(super) fn take_start(state: &mut Value) -> Option<AtWork> {
    take(state, START_KEY)
}

/// Notes in the state of a server that was stopped that it is to be started again.
pub(super) fn owe_restart(state: &mut Value, now: DateTime<Utc>) {
    note(state, RESTART_KEY, now + OWED);
}

/// Notes in the state of a server that its start waits for its turn. Other hubs leave it alone for as long as the one
/// in whose line it is can be late with the next note; a hub that starts goes on with it at once.
pub(super) fn owe_waiting(state: &mut Value, now: DateTime<Utc>) {
    note(state, RESTART_KEY, now + OWED + OWED);
}

/// Takes the note of a restart out of a state: until when the start is owed.
pub(super) fn take_restart(state: &mut Value) -> Option<DateTime<Utc>> {
    take(state, RESTART_KEY)
}

/// Whether nobody has come to a start that is owed until then, though there was time.
pub(super) fn is_forgotten(until: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    until - OWED + LIFE <= now && now < until
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_of_another_hub_counts_until_its_time_is_over() {
        let (one, other) = (HubName::fresh(), HubName::fresh());
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut state = note_start(json!({"pid": 7}), &one, now);
        let note = take_start(&mut state).unwrap();
        assert_eq!(state, json!({"pid": 7}));
        assert!(note.is_another(&other, now));
        assert!(!note.is_another(&one, now), "it is its own");
        assert!(!note.is_another(&other, now + LIFE), "nobody renewed it");
        assert!(!note.is_another(&other, now - LIFE * 2), "it claims a time far ahead");
    }

    #[test]
    fn a_hub_that_lets_go_of_a_start_is_not_waited_for() {
        let (one, other) = (HubName::fresh(), HubName::fresh());
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut state = note_end(json!({"pid": 7}), &one, now);
        let note = take_start(&mut state).unwrap();
        assert!(!note.is_another(&other, now));
        assert_eq!(state, json!({"pid": 7}));
    }

    #[test]
    fn a_stop_is_gone_on_with_and_the_start_behind_it_for_as_long_as_somebody_waits() {
        let (one, other) = (HubName::fresh(), HubName::fresh());
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let options = json!({"size": "big"}).as_object().cloned();
        let start = StartOrder { options: options.clone(), ..StartOrder::default() };
        let mut state = note_stop(json!({"pid": 7}), &Stopping::by(&one, now, true, Some(&start)));
        let note = take_stop(&mut state).unwrap();
        assert_eq!(state, json!({"pid": 7}));
        assert!(note.is_another(&other, now));
        assert!(!note.is_another(&other, now + LIFE), "nobody renewed it");
        assert!(note.is_by(&one) && !note.is_by(&other));
        assert!(!Stopping::left_by(&one, now, true, None).is_another(&other, now));
        assert!(!note.is_forgotten(now + OWED) && note.is_forgotten(now + OWED + LIFE));
        let order = note.clone().order(now + LIFE);
        assert!(order.remove && order.exited.is_none());
        assert_eq!(order.then.unwrap().options, options);
        assert!(note.order(now + OWED).then.is_none());
    }

    #[test]
    fn a_start_that_waits_in_line_is_forgotten_later_than_one_that_follows_a_stop() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let (mut waiting, mut restarted) = (json!({}), json!({}));
        owe_waiting(&mut waiting, now);
        owe_restart(&mut restarted, now);
        let beat = TimeDelta::from_std(WAITING_BEAT).unwrap();
        assert!(is_forgotten(take_restart(&mut restarted).unwrap(), now + beat));
        let until = take_restart(&mut waiting).unwrap();
        assert!(!is_forgotten(until, now + beat), "the line's hub has had no time to note it again");
        assert!(is_forgotten(until, now + beat * 3));
    }

    #[test]
    fn the_note_of_a_process_that_has_ended_counts_no_more() {
        let own = HubName::fresh();
        let mut dead = HubName::fresh();
        dead.process.as_mut().unwrap().3 += 1;
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let note = AtWork { hub: dead.clone(), until: now + LIFE };
        assert!(!note.is_another(&own, now), "the number was given to another process");
        let elsewhere = dead.process.as_mut().unwrap();
        elsewhere.0.push('x');
        let note = AtWork { hub: dead, until: now + LIFE };
        assert!(note.is_another(&own, now), "nothing can be seen of another machine's processes");
    }
}

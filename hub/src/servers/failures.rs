//! Why the last start of a server failed, kept for the next hub.
//!
//! It lies in `spawners.state` of a server that does not run, under a key of its own. Stock's spawners take the keys
//! that they know out of a state and write their own state over it at the next start; so does this hub.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::SpawnError;
use hub_core::spawner::SpawnFault;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Key in `spawners.state`.
const KEY: &str = "himalia_failure";
/// Most characters of a cause code.
const LONGEST_CAUSE: usize = 100;
/// Most characters of one text.
const LONGEST_TEXT: usize = 1_000;
/// Most characters of the server's last lines together: the column of MySQL holds 64 KiB, and characters beyond ASCII
/// take six or twelve bytes there.
const LONGEST_LOG: usize = 2_500;
/// How long a failure is told. An older one says little about the next start.
const KEPT: TimeDelta = TimeDelta::days(7);

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    cause: String,
    fault: Fault,
    text: String,
    html: Option<String>,
    retry: bool,
    log: Vec<String>,
    at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    Refused,
    Broken,
    TimedOut,
}

/// The state of a server that does not run because of this, beside what its spawner keeps. What only the log gets is
/// left out.
pub(super) fn state_after(kept: Value, error: &SpawnError, now: DateTime<Utc>) -> Value {
    let short = |text: &str| text.chars().take(LONGEST_TEXT).collect::<String>();
    let stored = Stored {
        cause: error.cause.chars().take(LONGEST_CAUSE).collect(),
        fault: match error.fault {
            SpawnFault::Refused => Fault::Refused,
            SpawnFault::Broken => Fault::Broken,
            SpawnFault::TimedOut => Fault::TimedOut,
        },
        text: short(&error.user),
        // Half a piece of HTML may be none.
        html: error.user_html.clone().filter(|html| html.chars().count() <= LONGEST_TEXT),
        retry: error.retry,
        log: last_lines(&error.log_tail),
        at: error.at.unwrap_or(now),
    };
    let mut state = if kept.is_object() { kept } else { json!({}) };
    if let (Value::Object(map), Ok(stored)) = (&mut state, serde_json::to_value(stored)) {
        map.insert(KEY.to_owned(), stored);
    }
    state
}

/// As many of the last lines as there is room for.
fn last_lines(lines: &[String]) -> Vec<String> {
    let mut room = LONGEST_LOG;
    let fitting = lines.iter().rev().take_while(|line| {
        let length = line.chars().count();
        let fits = length <= room;
        room = room.saturating_sub(length);
        fits
    });
    let mut kept: Vec<String> = fitting.cloned().collect();
    kept.reverse();
    kept
}

/// Takes the failure out of a state; what is unreadable is none.
pub(super) fn take(state: &mut Value) -> Option<SpawnError> {
    let value = state.as_object_mut()?.remove(KEY)?;
    let stored: Stored = serde_json::from_value(value).ok()?;
    Some(SpawnError {
        cause: Cow::Owned(stored.cause),
        fault: match stored.fault {
            Fault::Refused => SpawnFault::Refused,
            Fault::Broken => SpawnFault::Broken,
            Fault::TimedOut => SpawnFault::TimedOut,
        },
        operator: "the start failed before this hub began; the log of that time tells more".to_owned(),
        user: stored.text,
        user_html: stored.html,
        retry: stored.retry,
        log_tail: stored.log,
        at: Some(stored.at),
    })
}

/// Whether a failure that was kept is still worth telling.
pub fn is_recent(error: &SpawnError, now: DateTime<Utc>) -> bool {
    error.at.is_some_and(|at| now - at < KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_again_without_what_only_the_log_gets() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let error = SpawnError::timed_out("start-timeout", "Too slow.").with_log(vec!["last".to_owned()]);
        let error = SpawnError { operator: "10.0.0.7 said no".to_owned(), ..error };
        let mut state = state_after(json!({"pvc_name": "claim"}), &error, now);
        assert!(!state.to_string().contains("10.0.0.7"));
        let again = take(&mut state).unwrap();
        assert_eq!(state, json!({"pvc_name": "claim"}));
        assert_eq!((again.user.as_str(), &*again.cause, again.retry), ("Too slow.", "start-timeout", true));
        assert_eq!((again.fault, again.log_tail), (SpawnFault::TimedOut, vec!["last".to_owned()]));
        let later = |days| now + TimeDelta::days(days);
        let again = SpawnError { at: Some(now), ..error };
        assert!(is_recent(&again, later(6)) && !is_recent(&again, later(8)));
    }

    #[test]
    fn it_fits_into_the_column_of_every_database() {
        let text = "😀".repeat(10_000);
        let lines = vec!["😀".repeat(999); 100];
        let error =
            SpawnError { user_html: Some(text.clone()), ..SpawnError::broken("x", text, "") }.with_log(lines);
        let state = state_after(Value::Null, &error, DateTime::UNIX_EPOCH);
        let stored = jupyterhub_api_compat::json::dumps(&state).unwrap();
        assert!(stored.len() < 65_535, "{}", stored.len());
        assert_eq!(take(&mut state.clone()).unwrap().log_tail.len(), 2);
    }

    #[test]
    fn other_states_are_left_alone() {
        for state in [json!({"pid": 5}), json!(null), json!({}), json!({KEY: "?"}), json!([1])] {
            let mut after = state.clone();
            assert!(take(&mut after).is_none(), "{state}");
            assert_eq!(after.get("pid"), state.get("pid"));
        }
    }
}

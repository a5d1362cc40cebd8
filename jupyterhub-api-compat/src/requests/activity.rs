//! Reports of activity.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::RequestError;
use super::body;
use super::python::{repr, truthy};
use crate::Timestamp;

/// How far in the future activity may be, for clocks that disagree.
const MOST_AHEAD: TimeDelta = TimeDelta::minutes(59);

/// `POST /users/{user}/activity`. Whether the servers exist is for the hub to check, with the message
/// `No such server 'NAME' for user USER`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// Of the user.
    pub last_activity: Option<DateTime<Utc>>,
    /// Of servers, by name, in the order sent.
    pub servers: Vec<(String, DateTime<Utc>)>,
}

impl Activity {
    /// Reads the body. Moments more than 59 minutes after `now` are refused.
    pub fn read(bytes: &[u8], now: DateTime<Utc>) -> Result<Self, RequestError> {
        const SERVERS: &str = "servers must be a dict of the form {server_name: {last_activity: timestamp}}";
        let Some(Value::Object(mut map)) = body::read(bytes)? else {
            return Err(RequestError::invalid("body must be a json dict"));
        };
        let last_activity = map.remove("last_activity").filter(truthy);
        let servers = map.remove("servers").filter(truthy);
        if last_activity.is_none() && servers.is_none() {
            return Err(RequestError::invalid(
                "body must contain at least one of `last_activity` or `servers`",
            ));
        }
        let mut activity = Self::default();
        if let Some(servers) = servers {
            let Value::Object(servers) = servers else { return Err(RequestError::invalid(SERVERS)) };
            for (name, info) in servers {
                let moment = info.get("last_activity").ok_or_else(|| RequestError::invalid(SERVERS))?;
                activity.servers.push((name, moment_of(moment, now)?));
            }
        }
        activity.last_activity = last_activity.map(|moment| moment_of(&moment, now)).transpose()?;
        Ok(activity)
    }
}

fn moment_of(value: &Value, now: DateTime<Utc>) -> Result<DateTime<Utc>, RequestError> {
    let Some(moment) = value.as_str().and_then(Timestamp::parse) else {
        return Err(RequestError::Invalid(format!("Not a valid timestamp: {}", repr(value))));
    };
    let ahead = moment.0.signed_duration_since(now);
    if ahead > MOST_AHEAD {
        let moment = moment.to_string();
        return Err(RequestError::Invalid(format!(
            "Rejecting activity from more than an hour in the future: {moment}"
        )));
    }
    Ok(moment.0)
}

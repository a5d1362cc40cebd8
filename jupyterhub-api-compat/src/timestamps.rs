//! Moments as JupyterHub writes and reads them.

use std::borrow::Cow;
use std::fmt;

use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Timelike as _, Utc,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in UTC. Serialises as `2026-01-01T00:00:00Z`, with six digits of a second only when they are not all
/// zero. Unset moments are `Option<Timestamp>`, null in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub DateTime<Utc>);

impl Timestamp {
    /// Reads what clients send: ISO 8601 in its common forms, with `T` or a space, with or without seconds, fraction
    /// and offset. Without an offset it is UTC. None for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (day, rest) = match text.split_once(['T', 't', ' ']) {
            Some((day, rest)) => (day, Some(rest.trim())),
            None => (text, None),
        };
        let day =
            ["%Y-%m-%d", "%Y%m%d", "%Y/%m/%d"].iter().find_map(|f| NaiveDate::parse_from_str(day, f).ok())?;
        let Some(rest) = rest else {
            return Some(Self(day.and_time(NaiveTime::MIN).and_utc()));
        };
        let (clock, offset) = split_offset(rest)?;
        let formats = ["%H:%M:%S%.f", "%H:%M", "%H%M%S%.f", "%H%M"];
        let clock = formats.iter().find_map(|f| NaiveTime::parse_from_str(clock, f).ok())?;
        let local: NaiveDateTime = day.and_time(clock);
        let utc = local.checked_sub_signed(chrono::TimeDelta::seconds(offset))?;
        Some(Self(utc.and_utc()))
    }
}

/// Writes a number in so many digits.
fn digits(text: &mut [u8], at: usize, count: usize, mut number: u32) {
    for place in text.iter_mut().skip(at).take(count).rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// The time of day and the seconds that it is ahead of UTC.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    for suffix in ["Z", "z", "UTC", "GMT"] {
        if let Some(clock) = text.strip_suffix(suffix) {
            return Some((clock.trim_end(), 0));
        }
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (clock, offset) = text.split_at_checked(at)?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let digits: String = offset.chars().skip(1).filter(|c| *c != ':').collect();
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = match digits.len() {
        1 | 2 => (digits.parse().ok()?, 0),
        4 => (digits.get(..2)?.parse().ok()?, digits.get(2..)?.parse().ok()?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some((clock.trim_end(), sign * (hours * 3600 + minutes * 60)))
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(moment: DateTime<Utc>) -> Self {
        Self(moment)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, clock) = (self.0.date_naive(), self.0.time());
        // Lists are full of moments: chrono's formatting takes several times as long.
        if !(0..=9999).contains(&day.year()) || clock.nanosecond() >= 1_000_000_000 {
            let whole = clock.nanosecond() < 1000;
            let format = if whole { SecondsFormat::Secs } else { SecondsFormat::Micros };
            return f.write_str(&self.0.to_rfc3339_opts(format, true));
        }
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let year = day.year().unsigned_abs();
        digits(&mut text, 0, 4, year);
        digits(&mut text, 5, 2, day.month());
        digits(&mut text, 8, 2, day.day());
        digits(&mut text, 11, 2, clock.hour());
        digits(&mut text, 14, 2, clock.minute());
        digits(&mut text, 17, 2, clock.second());
        let micros = clock.nanosecond() / 1000;
        digits(&mut text, 20, 6, micros);
        let text = std::str::from_utf8(&text).map_err(|_| fmt::Error)?;
        if micros == 0 {
            f.write_str(text.get(..19).unwrap_or_default())?;
            return f.write_str("Z");
        }
        f.write_str(text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an ISO 8601 timestamp"))
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_are_written_only_when_there_are_some() {
        for (text, written) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05.000000Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.100000Z"),
            ("2026-01-02T03:04:05.000001", "2026-01-02T03:04:05.000001Z"),
            ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
            ("2026-01-02T03:04:05-0130", "2026-01-02T04:34:05Z"),
            ("2026-01-02 03:04", "2026-01-02T03:04:00Z"),
            ("20260102T030405Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02", "2026-01-02T00:00:00Z"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), written, "{text}");
        }
    }

    #[test]
    fn moments_are_written_as_chrono_writes_them() {
        for seconds in (-70_000_000_000_i64..270_000_000_000).step_by(1_000_003_271) {
            for nanos in [0, 999, 1_000, 120_000_000, 999_999_999] {
                let Some(moment) = DateTime::from_timestamp(seconds, nanos) else { continue };
                let format = if nanos < 1000 { SecondsFormat::Secs } else { SecondsFormat::Micros };
                assert_eq!(Timestamp(moment).to_string(), moment.to_rfc3339_opts(format, true));
            }
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in
            ["", "soon", "2026-13-01", "2026-01-02T25:00", "2026-01-02T03:04:05+99:00", "é", "2026-01-02T+é"]
        {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn moments_are_read_and_written_as_in_stock() {
        for case in crate::recorded::section("read_timestamps") {
            let moment = Timestamp::parse(case["text"].as_str().unwrap()).unwrap();
            assert_eq!(moment.to_string(), case["moment"].as_str().unwrap(), "{case}");
        }
        for text in crate::recorded::section("timestamps") {
            let moment: Timestamp = serde_json::from_value(text.clone()).unwrap();
            assert_eq!(serde_json::to_value(moment).unwrap(), text);
        }
    }
}

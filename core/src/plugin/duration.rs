//! Durations in plugin options: `30s`, `1h30m`, or a number of seconds.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// Longest duration that is accepted: ten years. Whatever is longer is a slip of the pen.
const LONGEST_SECONDS: f64 = 3_660.0 * 86_400.0;

/// Names the notation: `#[serde(with = "DurationText")]` on a field of type [`Duration`].
#[derive(Debug, Clone, Copy)]
pub struct DurationText;

impl DurationText {
    /// Reads a text or a number of seconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(Self)
    }

    /// Writes seconds, which every reader of the notation understands.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(value.as_secs_f64())
    }
}

impl Visitor<'_> for DurationText {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as 30s, 5m, 1h30m or a number of seconds")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        parse_duration(text).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
        from_seconds(seconds).map_err(E::custom)
    }

    #[expect(clippy::cast_precision_loss, reason = "what loses precision is out of range anyway")]
    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
        self.visit_f64(seconds as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "what loses precision is out of range anyway")]
    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
        self.visit_f64(seconds as f64)
    }
}

/// Reads `30s`, `5m`, `1h30m`, `2d`, `250ms` or a bare number of seconds. The error says what would be right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{text:?} is no duration; write for example 30s, 5m, 1h30m or a number of seconds");
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<f64>() {
        return from_seconds(seconds);
    }
    let mut seconds = 0.0;
    // Units must fall, as in 1h30m; 30m1h is more likely a mistake than meant.
    let mut last = f64::INFINITY;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
        let size = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(wrong()),
        };
        if size >= last {
            return Err(wrong());
        }
        last = size;
        seconds += number.parse::<f64>().map_err(|_| wrong())? * size;
        rest = tail.trim_start();
    }
    if last.is_infinite() { Err(wrong()) } else { from_seconds(seconds) }
}

fn from_seconds(seconds: f64) -> Result<Duration, String> {
    if (0.0..=LONGEST_SECONDS).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("a duration must be between 0 and ten years, not {seconds} s"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("0.5", 500),
            ("2d", 172_800_000),
            ("1m 5s", 65_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "5x", "-1s", "30m1h", "1h1h", "1e30d", "nan", "inf", "five"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}

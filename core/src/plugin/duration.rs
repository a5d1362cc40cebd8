//! Durations as people write them, in the configuration and in options of plugins: `30s`, `1h30m`, `14d`, or a number
//! of seconds.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};
use thiserror::Error as ThisError;

/// Longest duration that is accepted, in seconds: ten years. Whatever is longer is a slip of the pen.
const LONGEST: f64 = 10.0 * 366.0 * 86_400.0;

/// Why a text is no duration. Each says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum DurationError {
    /// Not in the notation.
    #[error("{0:?} is no duration; write for example 30s, 5m, 1h30m, 14d or a number of seconds")]
    Notation(String),
    /// Negative or longer than ten years, in seconds.
    #[error("a duration must be between 0 and ten years, not {0} s")]
    Range(String),
}

/// Names the notation: `#[serde(with = "DurationText")]` on a field of type [`Duration`].
#[derive(Debug, Clone, Copy)]
pub struct DurationText;

impl DurationText {
    /// Reads a text or a number of seconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(Self)
    }

    /// Writes the shortest text.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*value))
    }
}

impl Visitor<'_> for DurationText {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"30s\" or a number of seconds")
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

/// Reads `30s`, `5m`, `1h30m`, `14d`, `250ms`, `2w` or a bare number of seconds (`0.5`).
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let wrong = || DurationError::Notation(text.to_owned());
    let compact: String = text.split_whitespace().collect();
    if let Ok(seconds) = compact.parse::<f64>() {
        return from_seconds(seconds);
    }
    let mut rest = compact.as_str();
    let mut seconds = 0.0;
    let mut last = f64::INFINITY;
    while !rest.is_empty() {
        let (number, tail) =
            rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
        let size = match unit {
            "ms" => 0.001,
            "s" | "sec" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            _ => return Err(wrong()),
        };
        // 30m1h is as likely a mistake as an intention
        if size >= last {
            return Err(wrong());
        }
        last = size;
        seconds += number.parse::<f64>().map_err(|_| wrong())? * size;
        rest = tail;
    }
    if last.is_infinite() { Err(wrong()) } else { from_seconds(seconds) }
}

/// A number of seconds as a duration, in whole microseconds: 250ms stays 250ms in spite of binary fractions.
pub fn from_seconds(seconds: f64) -> Result<Duration, DurationError> {
    let range = || DurationError::Range(seconds.to_string());
    if !(0.0..=LONGEST).contains(&seconds) {
        return Err(range());
    }
    Duration::try_from_secs_f64((seconds * 1e6).round() / 1e6).map_err(|_| range())
}

/// The shortest notation that [`parse_duration`] reads back: `1h30m`, `14d`, `250ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let micros = duration.subsec_micros();
    let mut parts = Vec::new();
    for (unit, count) in
        [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("m", seconds / 60 % 60), ("s", seconds % 60)]
    {
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        }
    }
    if micros > 0 {
        parts.push(format!("{}ms", f64::from(micros) / 1e3));
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.concat() }
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
            ("1.5m", 90_000),
            ("2d", 172_800_000),
            ("2w", 1_209_600_000),
            ("1m 5s", 65_000),
            (" 90 sec ", 90_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "5x", "5y", "30m1h", "1h1h", "1e30d", "five", "1.2.3s", "é"] {
            assert_eq!(parse_duration(text), Err(DurationError::Notation(text.to_owned())));
        }
        for text in ["-1", "nan", "inf", "11000d", "1e30"] {
            assert!(matches!(parse_duration(text), Err(DurationError::Range(_))), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["0s", "30s", "1h30m", "14d", "250ms", "1d1s", "1m0.5ms"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }
}

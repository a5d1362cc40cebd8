//! Durations and sizes as people write them: `30s`, `1h30m`, `14d`, `512M`, `2G`.
//!
//! The types here hold no value. They name a notation, so that a field can stay a plain
//! [`Duration`] or `u64` while `#[serde(with = "DurationText")]` gives it its text form
//! and its entry in the JSON Schema.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use hub_core::plugin::{self, DurationError, DurationText};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, Visitor};
use serde::{Deserializer, Serializer};
use thiserror::Error;

/// Why a text is no duration or size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// No duration.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// Not in the notation.
    #[error("{0:?} is no size; write for example 512M, 2G, 1.5G or a number of bytes")]
    Size(String),
}

fn duration_of(text: &str) -> Result<Duration, QuantityError> {
    Ok(plugin::parse_duration(text)?)
}

fn from_seconds(seconds: f64) -> Result<Duration, QuantityError> {
    Ok(plugin::from_seconds(seconds)?)
}

/// Reads `512M`, `2G`, `1.5T`, `64K` (powers of 1024, as stock) or a number of bytes.
pub fn parse_size(text: &str) -> Result<u64, QuantityError> {
    let wrong = || QuantityError::Size(text.to_owned());
    let text_trimmed = text.trim();
    let (number, factor) = match text_trimmed.char_indices().last() {
        Some((at, 'K')) => (&text_trimmed[..at], 1_u64 << 10),
        Some((at, 'M')) => (&text_trimmed[..at], 1 << 20),
        Some((at, 'G')) => (&text_trimmed[..at], 1 << 30),
        Some((at, 'T')) => (&text_trimmed[..at], 1 << 40),
        Some(_) => (text_trimmed, 1),
        None => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(wrong);
    }
    if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(wrong());
    }
    let bytes = number.parse::<f64>().map_err(|_| wrong())? * approximate(factor);
    if bytes > approximate(u64::MAX >> 12) {
        return Err(wrong());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be in range, never negative"
    )]
    Ok(bytes as u64)
}

#[expect(clippy::cast_precision_loss, reason = "sizes beyond 2^52 need not be exact")]
fn approximate(number: u64) -> f64 {
    number as f64
}

/// The shortest notation that [`parse_size`] reads back.
pub fn format_size(bytes: u64) -> String {
    for (unit, shift) in [("T", 40), ("G", 30), ("M", 20), ("K", 10)] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

struct Reader<T> {
    expecting: &'static str,
    from_number: fn(f64) -> Result<T, QuantityError>,
    from_text: fn(&str) -> Result<T, QuantityError>,
}

impl<T> Visitor<'_> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.from_text)(text).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        (self.from_number)(approximate(number)).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        #[expect(clippy::cast_precision_loss, reason = "numbers that large are refused anyway")]
        (self.from_number)(number as f64).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        (self.from_number)(number).map_err(E::custom)
    }
}

const DURATION: Reader<Duration> = Reader {
    expecting: "a duration such as \"30s\" or a number of seconds",
    from_number: from_seconds,
    from_text: duration_of,
};

/// Notation of an `Option<Duration>` field; left out means none.
#[derive(Debug)]
pub enum OptionalDurationText {}

impl OptionalDurationText {
    /// As text, or nothing.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => DurationText::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// From text or a number of seconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        deserializer.deserialize_option(Optional(DURATION))
    }
}

impl JsonSchema for OptionalDurationText {
    fn schema_name() -> Cow<'static, str> {
        "OptionalDuration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "null"], "x-kind": "duration"})
    }
}

/// Notation of a bounded wait: a duration, or `"forever"` (stock's -1) for none.
#[derive(Debug)]
pub enum WaitText {}

impl WaitText {
    /// As text.
    pub fn serialize<S: Serializer>(wait: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match wait {
            Some(duration) => DurationText::serialize(duration, serializer),
            None => serializer.serialize_str("forever"),
        }
    }

    /// From text or a number of seconds; a negative number is for ever.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        deserializer.deserialize_any(Reader {
            expecting: "a duration such as \"30s\", a number of seconds or \"forever\"",
            from_number: |seconds| if seconds < 0.0 { Ok(None) } else { from_seconds(seconds).map(Some) },
            from_text: parse_wait,
        })
    }
}

/// Reads a duration, or `forever` or a negative number as none.
pub fn parse_wait(text: &str) -> Result<Option<Duration>, QuantityError> {
    match text.trim() {
        "forever" => Ok(None),
        text if text.parse::<f64>().is_ok_and(|seconds| seconds < 0.0) => Ok(None),
        text => duration_of(text).map(Some),
    }
}

impl JsonSchema for WaitText {
    fn schema_name() -> Cow<'static, str> {
        "Wait".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number"], "x-kind": "wait"})
    }
}

/// Notation of an optional size in bytes.
#[derive(Debug)]
pub enum OptionalSizeText {}

const SIZE: Reader<u64> = Reader {
    expecting: "a size such as \"512M\" or a number of bytes",
    from_number: |bytes| parse_size(&bytes.to_string()),
    from_text: parse_size,
};

impl OptionalSizeText {
    /// As text, or nothing.
    pub fn serialize<S: Serializer>(size: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match size {
            Some(size) => serializer.serialize_str(&format_size(*size)),
            None => serializer.serialize_none(),
        }
    }

    /// From text or a number of bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        deserializer.deserialize_option(Optional(SIZE))
    }
}

impl JsonSchema for OptionalSizeText {
    fn schema_name() -> Cow<'static, str> {
        "OptionalSize".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "null"], "x-kind": "size"})
    }
}

struct Optional<T>(Reader<T>);

impl<'de, T> Visitor<'de> for Optional<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.expecting)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self.0).map(Some).map_err(D::Error::custom)
    }
}

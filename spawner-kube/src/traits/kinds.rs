//! Types of options that accept more than one shape.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

/// How names become names of objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SlugScheme {
    /// Short and safe, with a hash where needed; KubeSpawner 7.
    #[default]
    Safe,
    /// Byte by byte; KubeSpawner before 7.
    Escape,
}

/// A list, or a table whose values are taken in the order of its keys, so that groups and profiles can change
/// single items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a list or a table")]
pub enum Items {
    /// In this order.
    List(Vec<Value>),
    /// In the order of the keys as text: `10` before `2`.
    Map(Map<String, Value>),
}

impl Default for Items {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Items {
    /// The items in order.
    pub fn sorted(&self) -> Vec<Value> {
        match self {
            Self::List(items) => items.clone(),
            Self::Map(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|(key, _)| key.as_str());
                entries.into_iter().map(|(_, value)| value.clone()).collect()
            }
        }
    }
}

/// The profiles: a list of tables, or a table of tables taken in the order of its keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a list of tables, or a table")]
pub enum ProfileList {
    /// In this order.
    List(Vec<Map<String, Value>>),
    /// In the order of the keys, which are for sorting only.
    Map(Map<String, Value>),
}

impl Default for ProfileList {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl ProfileList {
    /// The profiles in order.
    pub fn sorted(&self) -> Vec<Value> {
        match self {
            Self::List(items) => items.iter().cloned().map(Value::Object).collect(),
            Self::Map(map) => Items::Map(map.clone()).sorted(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::List(items) => items.is_empty(),
            Self::Map(map) => map.is_empty(),
        }
    }
}

/// A command; a text is a command of one word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Command(#[schemars(with = "Option<WordOrList<String>>")] pub Option<Vec<String>>);

/// One alone, or a list: how editors are told of it.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum WordOrList<T> {
    Word(String),
    List(Vec<T>),
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a list of texts, or one text")]
        enum Shape {
            None(()),
            Word(String),
            Words(Vec<String>),
        }
        Ok(Self(match Shape::deserialize(from)? {
            Shape::None(()) => None,
            Shape::Word(word) => Some(vec![word]),
            Shape::Words(words) => Some(words),
        }))
    }
}

/// An amount of memory in bytes: a number, or a number with K, M, G or T (powers of 1024).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ByteCount(pub Option<i64>);

impl JsonSchema for ByteCount {
    fn schema_name() -> Cow<'static, str> {
        "ByteCount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "null"]})
    }
}

impl<'de> Deserialize<'de> for ByteCount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        if value.is_null() {
            return Ok(Self(None));
        }
        parse_bytes(&value).map(|bytes| Self(Some(bytes))).ok_or_else(|| {
            D::Error::custom(format!(
                "{value} is no amount of memory: a number of bytes, or a number with K, M, G or T, such as \"512M\" \
                 (not Mi or Gi: these units are powers of 1024 already)"
            ))
        })
    }
}

fn parse_bytes(value: &Value) -> Option<i64> {
    let bytes = match value {
        Value::Number(number) => return number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => {
            let unit = text.chars().next_back()?;
            let factor = match unit {
                'K' => 1_024.0,
                'M' => 1_048_576.0,
                'G' => 1_073_741_824.0,
                'T' => 1_099_511_627_776.0,
                _ => return None,
            };
            let number = text.strip_suffix(unit)?.trim();
            // Rust reads `inf` and `nan` as Python does; neither is an amount.
            python_float(number)? * factor
        }
        _ => return None,
    };
    whole(bytes)
}

/// A number with underscores between its digits, as Python reads it.
fn python_float(text: &str) -> Option<f64> {
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let misplaced = |(at, _): (usize, &str)| {
        let (before, after) = text.split_at(at);
        !digit(before.chars().next_back()) || !digit(after.chars().nth(1))
    };
    if text.match_indices('_').any(misplaced) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "checked to fit; the fraction is dropped as stock drops it"
)]
fn whole(number: f64) -> Option<i64> {
    (number.is_finite() && number.abs() < 9.0e18).then_some(number as i64)
}

/// Secrets for the registry: names, or tables with a `name`. A text alone is one name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct PullSecrets(#[schemars(with = "WordOrList<Value>")] pub Vec<Value>);

impl<'de> Deserialize<'de> for PullSecrets {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a list of names of secrets")]
        enum Shape {
            One(String),
            Many(Vec<Value>),
        }
        Ok(Self(match Shape::deserialize(from)? {
            Shape::One(name) => vec![json!({"name": name})],
            Shape::Many(items) => items,
        }))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(json!("512M"), Some(536_870_912))]
    #[case(json!("1.5G"), Some(1_610_612_736))]
    #[case(json!(1024), Some(1024))]
    #[case(json!(1024.9), Some(1024))]
    #[case(json!("1_0K"), Some(10_240))]
    #[case(json!("1__0K"), None)]
    #[case(json!("1Gi"), None)]
    #[case(json!(""), None)]
    #[case(json!("G"), None)]
    #[case(json!("infG"), None)]
    #[case(json!(["1G"]), None)]
    fn memory_is_read_as_stock_reads_it(#[case] text: Value, #[case] bytes: Option<i64>) {
        assert_eq!(serde_json::from_value::<ByteCount>(text).ok().and_then(|b| b.0), bytes);
    }

    #[test]
    fn tables_are_taken_in_the_order_of_their_keys_as_text() {
        let items: Items = serde_json::from_value(json!({"2": "b", "10": "a"})).unwrap();
        assert_eq!(items.sorted(), [json!("a"), json!("b")]);
    }

    #[test]
    fn single_words_and_names_may_stand_alone() {
        assert_eq!(serde_json::from_value::<Command>(json!("a")).unwrap().0, Some(vec!["a".to_owned()]));
        assert_eq!(serde_json::from_value::<PullSecrets>(json!("s")).unwrap().0, [json!({"name": "s"})]);
        assert!(serde_json::from_value::<Command>(json!([1])).is_err());
    }
}

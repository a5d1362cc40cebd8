//! Reads a plugin's options so that every mistake is told at once, each under its own key.

use serde::Deserializer;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde_json::{Map, Value};

use super::{PluginError, Problem};

/// Reads the sub-tree `path` (`spawner.local`) into `T`, a struct with `#[serde(default, deny_unknown_fields)]`.
/// `null` gives the defaults. Each key is tried on its own first, so that an error names its key, and an unknown
/// key names its nearest neighbour.
pub fn read_options<T: DeserializeOwned + Default>(value: Value, path: &str) -> Result<T, PluginError> {
    let map = match value {
        Value::Null => return Ok(T::default()),
        Value::Object(map) => map,
        other => return Err(PluginError::one(path, format!("must be a table, not {}", kind_of(&other)))),
    };
    let known = field_names::<T>();
    let mut problems = Vec::new();
    for (key, value) in &map {
        let at = format!("{path}.{key}");
        if !known.contains(&key.as_str()) {
            problems.push(Problem::new(at, unknown(key, known)));
            continue;
        }
        let alone: Map<String, Value> = std::iter::once((key.clone(), value.clone())).collect();
        if let Err(error) = serde_json::from_value::<T>(Value::Object(alone)) {
            problems.push(Problem::new(at, error.to_string()));
        }
    }
    PluginError::check(problems)?;
    serde_json::from_value(Value::Object(map)).map_err(|error| PluginError::one(path, error.to_string()))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

fn unknown(key: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|name| (strsim::jaro_winkler(key, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, name)) => format!("unknown key, did you mean `{name}`?"),
        None => format!("unknown key, known are: {}", known.join(", ")),
    }
}

/// The keys that `T` knows, as its derived `Deserialize` announces them.
fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // Always an error: the deserializer has no value to give, it only listens.
    let _ = T::deserialize(Listener(&mut names));
    names
}

struct Listener<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Listener<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("only structs have fields"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(Self::Error::custom("the fields are known now"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        port: u16,
        home_dir: Option<String>,
    }

    #[test]
    fn an_absent_table_gives_the_defaults() {
        assert_eq!(read_options::<Sample>(Value::Null, "spawner.sample"), Ok(Sample::default()));
    }

    #[test]
    fn every_wrong_key_is_told_with_its_path() {
        let error = read_options::<Sample>(json!({"port": "x", "homedir": "/", "zzz": 1}), "spawner.sample")
            .unwrap_err();
        let text = error.to_string();
        assert_eq!(error.problems.len(), 3, "{text}");
        assert!(text.contains("spawner.sample.port: invalid type: string \"x\", expected u16"), "{text}");
        assert!(text.contains("spawner.sample.homedir: unknown key, did you mean `home_dir`?"), "{text}");
        assert!(text.contains("spawner.sample.zzz: unknown key, known are: port, home_dir"), "{text}");
    }

    #[test]
    fn something_other_than_a_table_is_refused() {
        let error = read_options::<Sample>(json!([1]), "spawner.sample").unwrap_err();
        assert_eq!(error.to_string(), "spawner.sample: must be a table, not a list");
    }
}

//! Fields that are there for some readers only.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A field of a model that the reader may or may not see. A hidden field is left out of the JSON; a shown one can
/// still be null, which an `Option` alone could not tell apart.
///
/// Every field of this type carries `#[serde(default, skip_serializing_if = "Gate::is_hidden")]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gate<T> {
    /// Not for this reader.
    #[default]
    Hidden,
    /// The value.
    Shown(T),
}

impl<T> Gate<T> {
    /// Whether the field is left out.
    pub fn is_hidden(&self) -> bool {
        matches!(self, Self::Hidden)
    }

    /// Hides the field unless `visible`.
    pub fn keep_if(&mut self, visible: bool) {
        if !visible {
            *self = Self::Hidden;
        }
    }

    /// The value, if shown.
    pub fn as_option(&self) -> Option<&T> {
        if let Self::Shown(value) = self { Some(value) } else { None }
    }
}

impl<T> From<T> for Gate<T> {
    fn from(value: T) -> Self {
        Self::Shown(value)
    }
}

impl<T: Serialize> Serialize for Gate<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Shown(value) => value.serialize(serializer),
            Self::Hidden => serializer.serialize_none(),
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Gate<T> {
    /// Stock sends null for some fields of services that it has no value for, also where there is always one here: that
    /// is as good as hidden.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let nothing = value.is_null();
        match serde_json::from_value(value) {
            Ok(value) => Ok(Self::Shown(value)),
            Err(_) if nothing => Ok(Self::Hidden),
            Err(error) => Err(D::Error::custom(error)),
        }
    }
}

/// The schema of what is behind the gate; that the field may be missing is told by its `default`.
impl<T: JsonSchema> JsonSchema for Gate<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_a_value_where_it_can_be_one_and_hidden_elsewhere() {
        let read = |text: &str| serde_json::from_str::<Gate<Option<bool>>>(text).unwrap();
        assert_eq!((read("null"), read("true")), (Gate::Shown(None), Gate::Shown(Some(true))));
        assert_eq!(serde_json::from_str::<Gate<bool>>("null").unwrap(), Gate::Hidden);
        assert!(serde_json::from_str::<Gate<bool>>("1").is_err());
    }
}

//! From the name that an authenticator gives to the name of a user of this hub.

use std::collections::BTreeMap;

use hub_core::{NameError, UserName};
use regex::Regex;
use thiserror::Error;

/// Why a name is not one of this hub.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UserNameError {
    /// It cannot be a name at all.
    #[error(transparent)]
    Shape(#[from] NameError),
    /// It does not match `authenticator.username_pattern`.
    #[error("the name does not match the pattern that this hub asks for")]
    Pattern,
}

/// `normalize_username` and `validate_username` of stock: lower case, then the configured map, then the checks.
#[derive(Debug, Clone, Default)]
pub struct NameRules {
    map: BTreeMap<String, String>,
    pattern: Option<Regex>,
}

impl NameRules {
    /// `pattern` is anchored at the start only, like Python's `re.match`; empty means none.
    pub fn new(map: BTreeMap<String, String>, pattern: &str) -> Result<Self, regex::Error> {
        let pattern = if pattern.is_empty() { None } else { Some(Regex::new(&format!("^(?:{pattern})"))?) };
        Ok(Self { map, pattern })
    }

    /// Lower case, then the map.
    pub fn normalize(&self, name: &str) -> String {
        let lower = name.to_lowercase();
        self.map.get(&lower).cloned().unwrap_or(lower)
    }

    /// Checks a name as it is.
    pub fn validate(&self, name: &str) -> Result<UserName, UserNameError> {
        let valid = UserName::new(name)?;
        if self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(name)) {
            return Err(UserNameError::Pattern);
        }
        Ok(valid)
    }

    /// Both, in this order.
    pub fn accept(&self, name: &str) -> Result<UserName, UserNameError> {
        self.validate(&self.normalize(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lowered_then_mapped_then_checked() {
        let map = BTreeMap::from([("ada@example.org".to_owned(), "ada".to_owned())]);
        let rules = NameRules::new(map, "[a-z]+").unwrap();
        assert_eq!(rules.accept("Ada@Example.org").unwrap().as_str(), "ada");
        assert_eq!(rules.accept("9lives"), Err(UserNameError::Pattern));
        assert_eq!(rules.accept("a/b"), Err(UserNameError::Shape(NameError::Slash)));
        assert!(rules.accept("bob9").is_ok());
    }
}

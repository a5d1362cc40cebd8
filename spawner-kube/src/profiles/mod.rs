//! Profiles: what people choose from, and what their choice changes.
//!
//! Beyond stock, profiles, options and choices may carry `allowed_groups`, `allowed_users`, `allowed_workspaces` and `when`. What a person
//! may not choose is not in the list at all: not in the form, not for the API, not by a link.

mod choose;
mod form;
mod pattern;
mod prepare;
mod slugify;

use serde_json::Value;
use thiserror::Error;

pub(crate) use choose::fill_sample;
use choose::still_possible;
pub use choose::{apply_choice, check_choice};
pub use form::{FormError, Forms, options_from_form};
pub use pattern::check_pattern;
pub use prepare::{allowed, prepare};
pub use slugify::slugify;

use crate::traits::OverrideError;

/// Why a choice, or the list of profiles itself, is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// No profile of this name, or not for this person.
    #[error("There is no profile {chosen}. Choose one of: {known}")]
    NoSuchProfile {
        /// What was asked for.
        chosen: String,
        /// Slugs of those there are.
        known: String,
    },
    /// No such choice of an option, or not for this person.
    #[error("{option}: there is no choice {chosen}. Choose one of: {known}")]
    NoSuchChoice {
        /// Name of the option.
        option: String,
        /// What was asked for.
        chosen: String,
        /// Those there are.
        known: String,
    },
    /// A free text where none is taken.
    #[error("{option}: only the listed choices are possible")]
    NotUnlisted {
        /// Name of the option.
        option: String,
    },
    /// A free text that does not fit.
    #[error("{option}: {message}")]
    DoesNotFit {
        /// Name of the option.
        option: String,
        /// The profile's own message, else a general one.
        message: String,
    },
    /// An option without choices, and no text was given.
    #[error("{option}: a value is needed")]
    NothingChosen {
        /// Name of the option.
        option: String,
    },
    /// The configuration of the profiles is wrong.
    #[error("profile_list{at}: {reason}")]
    Config {
        /// Path below `profile_list`.
        at: String,
        /// What is wrong.
        reason: String,
    },
    /// What the choice changes does not fit.
    #[error(transparent)]
    Override(#[from] OverrideError),
}

impl ProfileError {
    fn config(at: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Config { at: at.into(), reason: reason.into() }
    }

    /// Whether the person's choice is at fault, not the configuration.
    pub fn is_choice(&self) -> bool {
        !matches!(self, Self::Config { .. } | Self::Override(_))
    }
}

/// What Python takes for true.
fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn is_default(value: &Value) -> bool {
    value.get("default").is_some_and(truthy)
}

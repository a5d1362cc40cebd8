//! `[templates]`: looks. Answers to `template_paths`, `template_vars` and `logo_file`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Language of the pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PageLanguage {
    /// As the browser asks for, English where it asks for none that there is.
    #[default]
    Auto,
    /// English.
    En,
    /// French.
    Fr,
}

/// Your own pages and logo.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TemplatesSection {
    /// Directories with templates that replace or extend the built-in ones; the first that has a name wins.
    pub paths: Vec<PathBuf>,
    /// Variables for the templates, for example `announcement`.
    pub vars: Map<String, Value>,
    /// Language of the built-in pages.
    pub language: PageLanguage,
    /// Image at the top of the pages.
    pub logo_file: Option<PathBuf>,
}

//! `[templates]`: looks. Answers to `template_paths`, `template_vars` and `logo_file`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Your own pages and logo.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TemplatesSection {
    /// Directories with templates that replace or extend the built-in ones; the first that has a name wins.
    pub paths: Vec<PathBuf>,
    /// Variables for the templates, for example `announcement`.
    pub vars: Map<String, Value>,
    /// Image at the top of the pages.
    pub logo_file: Option<PathBuf>,
}

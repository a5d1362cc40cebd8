//! One recorded case.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// A line of the file.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) server_name: String,
    #[serde(default)]
    pub(crate) hub: Map<String, Value>,
    #[serde(default)]
    pub(crate) config: Map<String, Value>,
    #[serde(default)]
    pub(crate) spawner_config: Option<Map<String, Value>>,
    #[serde(default)]
    pub(crate) user_options: Option<Value>,
    #[serde(default)]
    pub(crate) formdata: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default)]
    pub(crate) want_pvc: bool,
    #[serde(default)]
    pub(crate) pod: Value,
    #[serde(default)]
    pub(crate) server_url: Option<String>,
    #[serde(default)]
    pub(crate) events: Vec<Value>,
    #[serde(default)]
    pub(crate) last_event: Option<String>,
    #[serde(default)]
    pub(crate) expected: Map<String, Value>,
}

/// How a case ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What is not as expected, each with its path.
    pub(crate) differences: Vec<String>,
}

impl Outcome {
    pub(crate) fn differs(text: impl Into<String>) -> Self {
        Self { differences: vec![text.into()] }
    }
}

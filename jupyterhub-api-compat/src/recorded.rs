//! What JupyterHub 6.1.1 answered to `tests/recorded/record_api_vectors.py`.

use serde_json::Value;

/// The cases of one section; never empty.
pub(crate) fn section(name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../tests/recorded/api_vectors.json")).unwrap();
    let cases = all[name].as_array().cloned().unwrap_or_default();
    assert!(!cases.is_empty(), "nothing recorded under {name}");
    cases
}

//! The two encodings that stock JupyterHub adds to plain SQL: JSON kept as text, and naive UTC timestamps.

mod json;
mod time;

pub use json::{JsonDict, JsonList, bytes_value, python_json, value_bytes};
pub use time::Timestamp;
pub(crate) use time::sqlite_text;

//! What the configuration of a stock hub means rests on Python: format strings, the text of floats and of JSON.

pub(crate) mod format;
mod spec;
mod text;

pub use format::{FormatError, Missing, PyValue};
pub use hub_core::python::{float_text, json_text};
pub use text::repr;

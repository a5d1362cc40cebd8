//! Integration tests of the vocabulary.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like the tests themselves")]

mod scope_laws;
mod scope_vectors;

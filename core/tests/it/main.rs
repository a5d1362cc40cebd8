//! Integration tests of the vocabulary.

mod scope_laws;
mod scope_vectors;

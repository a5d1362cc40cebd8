//! Tests of the configuration through its public face.

#![expect(clippy::unwrap_used, reason = "a test may end that way")]

mod examples;
mod layers;
mod problems;
mod reference;
mod secrets;
mod show;
mod support;

//! Tests of the configuration through its public face.

mod examples;
mod layers;
mod problems;
mod reference;
mod secrets;
mod show;
mod support;

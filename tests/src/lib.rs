//! The harness of the end-to-end tests: starts a hub in a folder of its own and plays the people who use it.
//!
//! A test names the hub under test, [`hub::Kind::Himalia`] or [`hub::Kind::Stock`], and is otherwise the same for both:
//! running it against stock shows that the test is right, running it against ours that the hub is.
//!
//! Nothing outlives a test: every process that a hub starts carries a mark in its environment, by which
//! [`processes::Mark`] finds what is left and ends it.

pub mod browser;
pub mod client;
pub mod database;
pub mod environment;
pub mod events;
pub mod forms;
pub mod hub;
pub mod kernel;
pub mod keycloak;
pub mod kube;
pub mod nginx;
pub mod openhexa;
pub mod ports;
pub mod processes;
pub mod settings;
pub mod usage;
pub mod wait;

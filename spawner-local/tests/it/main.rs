//! The local spawner with real processes.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without may end it")]

mod accounts;
mod adoption;
mod crash;
mod faults;
mod lifecycle;
mod logs;
mod run_as;
mod stopping;
mod support;

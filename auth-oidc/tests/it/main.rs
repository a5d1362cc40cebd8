//! A provider in this process, honest and otherwise, and people who log in through it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod attempts;
mod back_channel;
mod claims;
mod client;
mod environment;
mod login;
mod outages;
mod provider;
mod refresh;
mod refusals;
mod strangers;
mod support;
mod tokens;

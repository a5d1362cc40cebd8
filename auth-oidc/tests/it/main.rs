//! A provider in this process, honest and otherwise, and people who log in through it.

mod back_channel;
mod claims;
mod client;
mod login;
mod outages;
mod provider;
mod refresh;
mod support;
mod tokens;

//! Login and credentials against an application on a real socket.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without may end it")]

mod app;
mod credentials;
mod login;
mod support;

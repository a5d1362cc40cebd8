//! The proxy over real sockets.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

mod api;
mod bodies;
mod errors;
mod forwarding;
mod life;
mod options;
mod peer;
mod pooling;
mod routing;
mod strict;
mod tls;
mod websocket;

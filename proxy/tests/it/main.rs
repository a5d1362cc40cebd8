//! The proxy over real sockets.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

mod acme;
mod api;
mod api_model;
mod bodies;
mod corpus;
mod cross;
mod errors;
mod extended_connect;
mod flags;
mod forwarding;
mod frames;
mod greeting;
mod handover;
mod http2;
mod life;
mod observing;
mod options;
mod peer;
mod pooling;
mod program;
mod routing;
mod streams;
mod strict;
mod tls;
mod tls_client;
mod websocket;

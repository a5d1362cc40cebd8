//! The proxy over real sockets.

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
mod websocket;

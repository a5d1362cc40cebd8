//! The proxy's front: sockets, worker threads, client connections, draining.

pub(crate) mod client;
mod client_io;
mod connection;
mod framing;
pub(crate) mod listener;
mod proxy;
pub(crate) mod settings;
pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod worker;

pub(crate) use client_io::ClientIo;
pub use proxy::Proxy;

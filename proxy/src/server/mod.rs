//! The proxy's front: sockets, worker threads, client connections, draining.

pub(crate) mod client;
mod client_io;
pub(crate) mod clock;
pub(crate) mod connection;
mod descriptors;
pub(crate) mod framing;
mod greeting;
pub(crate) mod listener;
mod phase;
mod proxy;
pub(crate) mod proxy_protocol;
mod refusal;
mod scissors;
pub(crate) mod settings;
mod shares;
pub(crate) mod sockets;
pub(crate) mod stream;
pub(crate) mod tls;
mod token_hash;
pub(crate) mod websockets;
pub(crate) mod worker;

pub(crate) use client_io::ClientIo;
pub use phase::{Phase, PhaseControl};
pub use proxy::Proxy;
pub use scissors::Scissors;
pub use sockets::Sockets;
pub use token_hash::TokenHash;
pub use websockets::Cut;

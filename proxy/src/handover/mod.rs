//! One process takes the place of another without a connection noticing.
//!
//! The old process listens on a UNIX socket. The new one connects to it and receives the listening sockets, binds
//! whatever else it needs, and says so. Then the old one takes no more connections (they wait in the sockets'
//! queues), finishes the API requests under way and tells all routes. From the moment the new one serves, the old one
//! only serves what is open: keep-alive connections until their next answer, websockets until they end. It reports
//! when routes were used that way, and obeys orders to cut websockets. If the new process fails before it serves,
//! the old one goes on as if nothing had happened.
//!
//! [`Program`](crate::Program) does all of it by itself. A process that is more than a proxy takes the steps one by
//! one, with [`Succession`] and [`Offer`].

mod give;
mod succession;
mod take;
mod wire;

use std::path::PathBuf;

pub(crate) use self::{give::HandOverSocket, take::Predecessor};
pub use self::{
    give::{Estate, Heir},
    succession::{Offer, Succession},
};
use crate::{error::ProxyError, server::Sockets};

/// The process before, if one answers at `path`, and its sockets, or else those of the service manager.
pub(crate) async fn inherit(path: Option<PathBuf>) -> Result<(Option<Predecessor>, Sockets), ProxyError> {
    if let Some(path) = path {
        let found = blocking(move || take::connect(&path)).await??;
        if let Some((predecessor, sockets)) = found {
            return Ok((Some(predecessor), sockets));
        }
    }
    Ok((None, Sockets::from_environment()))
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ProxyError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ProxyError::WorkerLost)
}

//! The hand-over step by step, for processes that are more than a proxy.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::oneshot;

use super::{Estate, HandOverSocket, Heir, Predecessor, blocking, inherit};
use crate::{
    error::ProxyError,
    routes::RouteTable,
    server::{Scissors, Sockets},
};

/// The new process's side: [`begin`](Self::begin), [`take_routes`](Self::take_routes), [`finish`](Self::finish).
#[derive(Debug)]
pub struct Succession {
    path: PathBuf,
    predecessor: Option<Predecessor>,
}

impl Succession {
    /// Asks the process behind the socket for its own sockets. Where there is none, the sockets are those that the
    /// service manager passed.
    ///
    /// # Errors
    /// When a process is there and does not answer as it should.
    pub async fn begin(path: Option<&Path>) -> Result<(Self, Sockets), ProxyError> {
        let path = path.map(Path::to_path_buf);
        let (predecessor, sockets) = inherit(path.clone()).await?;
        Ok((Self { path: path.unwrap_or_default(), predecessor }, sockets))
    }

    /// Whether there is a process to take over from.
    pub fn has_predecessor(&self) -> bool {
        self.predecessor.is_some()
    }

    /// Tells the process before that all sockets are in use here, waits until it has ended what both cannot do at
    /// once, and takes over its routes. From now on nobody takes connections.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn take_routes(&mut self, routes: &RouteTable) -> Result<(), ProxyError> {
        let Some(predecessor) = self.predecessor.take() else { return Ok(()) };
        let (given, predecessor) = blocking(move || (predecessor.routes(), predecessor)).await?;
        routes.restore(&given.map_err(|source| self.problem(source))?);
        self.predecessor = Some(predecessor);
        Ok(())
    }

    /// Tells the process before that it is relieved: connections are taken here. What it still serves can be cut with
    /// `scissors`, and what it sees of `routes` is noted in them. The receiver says when it has ended; none: there was
    /// no such process.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn finish(
        mut self,
        routes: Arc<RouteTable>,
        scissors: &Scissors,
    ) -> Result<Option<oneshot::Receiver<()>>, ProxyError> {
        let Some(predecessor) = self.predecessor.take() else { return Ok(None) };
        let scissors = scissors.clone();
        let relieved = blocking(move || predecessor.relieve(routes, &scissors)).await?;
        relieved.map(Some).map_err(|source| self.problem(source))
    }

    fn problem(&self, source: std::io::Error) -> ProxyError {
        ProxyError::File { path: self.path.display().to_string(), source }
    }
}

/// The old process's side.
#[derive(Debug)]
pub struct Offer {
    estate: Arc<Estate>,
    socket: HandOverSocket,
}

impl Offer {
    /// Prepares to offer everything at the socket `path`, where a process before still answers.
    ///
    /// # Errors
    /// When the socket cannot be bound.
    pub fn new(path: &Path, estate: Estate) -> Result<Self, ProxyError> {
        Ok(Self { estate: Arc::new(estate), socket: HandOverSocket::beside(path)? })
    }

    /// Offers everything to whoever connects to the socket, as the same user. To be done when the process before is
    /// relieved.
    ///
    /// # Errors
    /// When something else is in the socket's place: then nobody can take over.
    pub fn place(&mut self) -> std::io::Result<()> {
        self.socket.place()
    }

    /// Waits for a process that is ready to take over. From then on nobody takes connections, until
    /// [`give`](Self::give).
    pub async fn asked(&self) -> Heir {
        self.socket.asked(&self.estate).await
    }

    /// Gives everything away. `false`: the other process does not serve within `patience`, and the proxy of this one
    /// takes connections again.
    pub async fn give(&mut self, heir: Heir, patience: Duration) -> bool {
        self.socket.give(heir, &self.estate, patience).await
    }
}

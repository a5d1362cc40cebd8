//! The new process's side.

use std::{
    io,
    os::unix::net::UnixStream,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;
use tracing::{debug, info};

use super::wire::{self, FromNew, FromOld, VERSION};
use crate::{
    error::ProxyError,
    routes::{RouteTable, SavedRoute},
    server::{Scissors, Sockets},
};

/// For each answer of the old process.
const PATIENCE: Duration = Duration::from_secs(30);

/// The process that serves until we do.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

/// Asks the process behind `path` for its sockets; `None` when there is none. Blocks.
pub(crate) fn connect(path: &Path) -> Result<Option<(Predecessor, Sockets)>, ProxyError> {
    let problem = |source| ProxyError::File { path: path.display().to_string(), source };
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(problem(error)),
    };
    let receive = || -> io::Result<Sockets> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        wire::send(&stream, &FromNew::Hello { version: VERSION, pid: std::process::id() })?;
        Ok(Sockets::from_descriptors(wire::receive_sockets(&stream)?))
    };
    let sockets = receive().map_err(problem)?;
    info!(path = %path.display(), "taking over from a running proxy");
    Ok(Some((Predecessor(stream), sockets)))
}

impl Predecessor {
    /// Has the old process pause, and returns its routes. Blocks.
    pub(crate) fn routes(&self) -> io::Result<Vec<SavedRoute>> {
        wire::send(&self.0, &FromNew::Ready)?;
        match wire::receive(&self.0)? {
            FromOld::Routes(routes) => Ok(routes),
            FromOld::Activity(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "routes were expected")),
        }
    }

    /// Tells the old process that it is relieved, and stays in touch with it until it ends. The receiver says when
    /// that is.
    pub(crate) fn relieve(
        self,
        routes: Arc<RouteTable>,
        scissors: &Scissors,
    ) -> io::Result<oneshot::Receiver<()>> {
        let Self(stream) = self;
        stream.set_read_timeout(None)?;
        let (reading, (gone, ended)) = (stream.try_clone()?, oneshot::channel());
        std::thread::Builder::new().name("predecessor".to_owned()).spawn(move || {
            while let Ok(FromOld::Activity(seen)) = wire::receive(&reading) {
                for (key, millis) in seen {
                    if let Some(route) = routes.exact(&key) {
                        route.activity.touch_at(millis);
                    }
                }
            }
            debug!("the proxy before has ended");
            // Nobody waits for it unless this process is relieved itself.
            let _ = gone.send(());
        })?;
        // From here there is no way back: nothing after it may fail.
        wire::send(&stream, &FromNew::Serving)?;
        let sending = Mutex::new(stream);
        scissors.follow(Box::new(move |order| {
            let stream = sending.lock().unwrap_or_else(PoisonError::into_inner);
            wire::send(&stream, &FromNew::Cut(order.clone())).is_ok()
        }));
        Ok(ended)
    }
}

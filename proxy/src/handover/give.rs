//! The old process's side.

use std::{
    collections::HashMap,
    io,
    os::unix::{fs::PermissionsExt, net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::net::sockopt::socket_peercred;
use tokio::{net::UnixListener, task::spawn_blocking, time::Instant};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::wire::{self, FromNew, FromOld, VERSION};
use crate::{
    error::ProxyError,
    routes::RouteTable,
    server::{Phase, PhaseControl, Scissors, listener::Copies},
};

/// For the new process to bind everything.
const PREPARING: Duration = Duration::from_secs(30);
/// For the new process to serve, while nobody does.
const TAKING: Duration = Duration::from_secs(10);
/// For API requests under way.
const FINISHING: Duration = Duration::from_secs(5);
/// How often the use of routes is reported afterwards.
const REPORT: Duration = Duration::from_secs(5);

/// The socket on which a process offers its place.
#[derive(Debug)]
pub(crate) struct HandOverSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The file that goes with this process: beside the path, at the path, or none when the place was given away.
    file: Option<PathBuf>,
}

impl Drop for HandOverSocket {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // A file that stays is replaced by the next process.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Everything that is handed over.
#[derive(Debug)]
pub struct Estate {
    pub(crate) sockets: Copies,
    pub(crate) phase: PhaseControl,
    pub(crate) routes: Arc<RouteTable>,
    pub(crate) scissors: Scissors,
}

/// A process that is ready to take over. Nobody takes connections until it does, or has failed to.
#[derive(Debug)]
pub struct Heir(StdUnixStream);

impl HandOverSocket {
    /// Binds the socket beside its path, where the process before still answers. Only the own user may connect.
    pub(crate) fn beside(path: &Path) -> Result<Self, ProxyError> {
        let fresh = path.with_added_extension(std::process::id().to_string());
        let bind = || {
            let _ = std::fs::remove_file(&fresh);
            let listener = UnixListener::bind(&fresh)?;
            std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        match bind() {
            Ok(listener) => Ok(Self { listener, path: path.to_owned(), file: Some(fresh) }),
            Err(source) => Err(ProxyError::File { path: fresh.display().to_string(), source }),
        }
    }

    /// Moves the socket to its path, so that at every moment somebody answers there.
    pub(crate) fn place(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            std::fs::rename(&*file, &self.path)?;
            file.clone_from(&self.path);
        }
        Ok(())
    }

    /// Waits until another process has taken over; requests to `api` under way are finished before.
    pub(crate) async fn given(mut self, estate: Estate, api: TaskTracker) {
        let estate = Arc::new(estate);
        loop {
            let heir = self.asked(&estate).await;
            let deadline = Instant::now() + FINISHING;
            while !api.is_empty() && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            if self.give(heir, &estate, TAKING).await {
                return;
            }
        }
    }

    /// Waits for a process that is ready to take over. From then on nobody takes connections.
    pub(crate) async fn asked(&self, estate: &Arc<Estate>) -> Heir {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream.into_std(),
                Err(error) => {
                    warn!(%error, "cannot accept a hand-over for the moment");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            match prepare(stream, estate).await {
                Ok(stream) => {
                    estate.phase.set(Phase::Paused);
                    return Heir(stream);
                }
                Err(error) => warn!(%error, "hand-over failed, this process goes on"),
            }
        }
    }

    /// Gives the routes away, and with them everything. `false`: the other process does not serve within `patience`,
    /// and this one takes connections again.
    pub(crate) async fn give(&mut self, heir: Heir, estate: &Arc<Estate>, patience: Duration) -> bool {
        let (stream, routes) = (heir.0, Arc::clone(&estate.routes));
        let given = blocking(move || {
            stream.set_read_timeout(Some(patience))?;
            wire::send(&stream, &FromOld::Routes(routes.saved()))?;
            match wire::receive(&stream)? {
                FromNew::Serving => Ok(stream),
                other => Err(unexpected(&other)),
            }
        });
        match given.await {
            Ok(stream) => {
                self.file = None;
                for file in &estate.sockets.files {
                    file.give_away();
                }
                estate.phase.set(Phase::Retired);
                info!("another process has taken over; open connections go on here");
                stay_in_touch(stream, estate);
            }
            Err(error) => {
                estate.phase.set(Phase::Serving);
                warn!(%error, "hand-over failed, this process goes on");
            }
        }
        self.file.is_none()
    }
}

/// Sends the sockets, and waits until the other process has made use of them.
async fn prepare(stream: io::Result<StdUnixStream>, estate: &Arc<Estate>) -> io::Result<StdUnixStream> {
    let stream = stream?;
    let estate = Arc::clone(estate);
    blocking(move || {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PREPARING))?;
        stream.set_write_timeout(Some(PREPARING))?;
        let (peer, own) = (socket_peercred(&stream)?.uid, rustix::process::geteuid());
        if peer != own && !peer.is_root() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the other process is another user's",
            ));
        }
        match wire::receive(&stream)? {
            FromNew::Hello { version: VERSION, pid } => info!(pid, "a process wants to take over"),
            other => return Err(unexpected(&other)),
        }
        wire::send_sockets(&stream, &estate.sockets.descriptors)?;
        match wire::receive(&stream)? {
            FromNew::Ready => Ok(stream),
            other => Err(unexpected(&other)),
        }
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

fn unexpected(message: &FromNew) -> io::Error {
    let what = match message {
        FromNew::Hello { version, .. } => format!("it speaks version {version}, this process {VERSION}"),
        _ => "an unexpected message".to_owned(),
    };
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Obeys the new process and reports to it, on threads that end with this process.
fn stay_in_touch(stream: StdUnixStream, estate: &Arc<Estate>) {
    let reading = match stream.set_read_timeout(None).and_then(|()| stream.try_clone()) {
        Ok(reading) => reading,
        Err(error) => return warn!(%error, "websockets that stay here cannot be cut from now on"),
    };
    let scissors = estate.scissors.clone();
    spawn_blocking(move || {
        while let Ok(FromNew::Cut(order)) = wire::receive(&reading) {
            let count = scissors.cut(&order);
            info!(count, "websockets were cut by the process that took over");
        }
    });
    let routes = Arc::clone(&estate.routes);
    let mut told: HashMap<String, i64> =
        routes.saved().into_iter().filter_map(|route| Some((route.key, route.last_activity?))).collect();
    tokio::spawn(async move {
        let mut stream = Some(stream);
        while let Some(connected) = stream.take() {
            tokio::time::sleep(REPORT).await;
            let mut seen = Vec::new();
            routes.for_each(&mut |route| {
                let millis = route.activity.millis();
                if told.get(&*route.key) != Some(&millis) {
                    told.insert(route.key.to_string(), millis);
                    seen.push((route.key.to_string(), millis));
                }
            });
            let sent = blocking(move || {
                wire::send(&connected, &FromOld::Activity(seen))?;
                Ok(connected)
            });
            // Whoever took over has ended itself, and nobody wants to know any more.
            stream = sent.await.ok();
        }
    });
}

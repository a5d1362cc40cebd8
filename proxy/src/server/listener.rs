//! Listening sockets: one for each worker and address, sharing the address by `SO_REUSEPORT`.

use std::{
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::FileTypeExt, net::UnixListener as StdUnixListener},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::sockets::{Sockets, duplicate};
use crate::{error::ProxyError, options::Listen};

/// Connections that wait for a worker, for each socket.
const BACKLOG: i32 = 4096;

/// A bound socket, not yet part of any runtime.
#[derive(Debug)]
pub(crate) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener, Arc<SocketFile>),
}

/// Removes the socket file when the last user of it is gone, unless it is somebody else's by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    foreign: AtomicBool,
}

impl SocketFile {
    /// Leaves the file to whoever took over the socket.
    pub(crate) fn give_away(&self) {
        self.foreign.store(true, Ordering::Relaxed);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.foreign.load(Ordering::Relaxed) {
            // Nothing useful can be done about a failure here: the next start replaces a dead socket anyway.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A listening socket within a worker's runtime.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "held for its drop")] Arc<SocketFile>),
}

impl Bound {
    pub(crate) fn into_listener(self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Self::Unix(listener, file) => Listener::Unix(UnixListener::from_std(listener)?, file),
        })
    }
}

/// Binds `listen`, once for each of `workers` where the system allows it, or takes the sockets that are there
/// already. There are at least as many as workers. The address is the one bound (`None` for a socket file).
pub(crate) fn bind(
    listen: &Listen,
    workers: usize,
    inherited: &mut Sockets,
) -> Result<(Vec<Bound>, Option<SocketAddr>), ProxyError> {
    let error = |error| ProxyError::listen(listen, error);
    match listen {
        Listen::Tcp(address) => {
            let found = inherited.take_tcp(*address);
            let (mut sockets, address) = match found.first() {
                Some(first) => {
                    let address = first.local_addr().map_err(error)?;
                    (found, address)
                }
                None => bind_tcp(*address, workers).map_err(error)?,
            };
            let distinct = sockets.len();
            for index in 0..workers.saturating_sub(distinct) {
                // Where there are fewer sockets than workers, some share a queue.
                let Some(shared) = sockets.get(index % distinct) else { break };
                let shared = shared.try_clone().map_err(error)?;
                sockets.push(shared);
            }
            Ok((sockets.into_iter().map(Bound::Tcp).collect(), Some(address)))
        }
        Listen::Unix(path) => {
            let found = inherited.take_unix(path);
            let foreign = found.is_some() && inherited.files_are_foreign();
            let first = match found {
                Some(listener) => listener,
                None => bind_unix(path).map_err(error)?,
            };
            let file = Arc::new(SocketFile { path: path.clone(), foreign: AtomicBool::new(foreign) });
            let mut sockets = Vec::with_capacity(workers);
            for _ in 1..workers {
                sockets.push(Bound::Unix(first.try_clone().map_err(error)?, Arc::clone(&file)));
            }
            sockets.push(Bound::Unix(first, file));
            Ok((sockets, None))
        }
    }
}

/// Second descriptors of sockets, for another process, and the files that go with them.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) files: Vec<Arc<SocketFile>>,
}

impl Copies {
    pub(crate) fn add(&mut self, socket: &Bound) -> io::Result<()> {
        match socket {
            Bound::Tcp(listener) => self.descriptors.push(duplicate(listener.as_fd())?),
            Bound::Unix(listener, file) => {
                // All workers share one queue of a socket file, so one descriptor is enough.
                if !self.files.iter().any(|known| Arc::ptr_eq(known, file)) {
                    self.descriptors.push(duplicate(listener.as_fd())?);
                    self.files.push(Arc::clone(file));
                }
            }
        }
        Ok(())
    }
}

fn bind_tcp(address: SocketAddr, workers: usize) -> io::Result<(Vec<std::net::TcpListener>, SocketAddr)> {
    // The first socket is bound without SO_REUSEPORT: it must fail where another program listens, even one that
    // shares its port. Only then is the port opened for our own other sockets.
    let first = tcp_socket(address)?;
    first.bind(&address.into())?;
    let bound =
        first.local_addr()?.as_socket().ok_or_else(|| io::Error::other("the socket has no address"))?;
    let mut sockets = vec![first];
    if workers > 1 {
        for socket in &sockets {
            socket.set_reuse_port(true)?;
        }
        for _ in 1..workers {
            let socket = tcp_socket(bound)?;
            socket.set_reuse_port(true)?;
            match socket.bind(&bound.into()) {
                Ok(()) => sockets.push(socket),
                // Where a port cannot be opened afterwards, the workers share one queue instead.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => break,
                Err(error) => return Err(error),
            }
        }
    }
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok((sockets.into_iter().map(Into::into).collect(), bound))
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of a previous process that linger in TIME_WAIT must not keep us from starting.
    socket.set_reuse_address(true)?;
    if let SocketAddr::V6(v6) = address
        && v6.ip().is_unspecified()
    {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

fn bind_unix(path: &Path) -> io::Result<StdUnixListener> {
    let listener = match StdUnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_dead_socket(path) => {
            std::fs::remove_file(path)?;
            StdUnixListener::bind(path)?
        }
        other => other?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn is_dead_socket(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
    is_socket
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

//! Listening sockets that were opened by somebody else: systemd, or the process that ran before.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
};

use listenfd::ListenFd;
use rustix::net::{AddressFamily, sockopt};
use tracing::{info, warn};

/// Listening sockets to be used instead of opening new ones, found by the address that they are bound to.
#[derive(Debug, Default)]
pub struct Sockets {
    tcp: Vec<(SocketAddr, TcpListener)>,
    unix: Vec<(PathBuf, UnixListener)>,
    /// Whoever opened the sockets also cares for the socket files.
    files_are_foreign: bool,
}

impl Sockets {
    /// The sockets that the service manager passed (`LISTEN_FDS`); none when there are none.
    pub fn from_environment() -> Self {
        let mut passed = ListenFd::from_env();
        let mut sockets = Self { files_are_foreign: true, ..Self::default() };
        for index in 0..passed.len() {
            if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
                sockets.keep(sockets_tcp(listener));
            } else if let Ok(Some(listener)) = passed.take_unix_listener(index) {
                sockets.keep(sockets_unix(listener));
            } else {
                warn!(index, "a socket passed by the service manager is no listening stream socket");
            }
        }
        if passed.len() > 0 {
            info!(count = passed.len(), "using sockets of the service manager");
        }
        sockets
    }

    /// The sockets behind descriptors that another process sent.
    pub(crate) fn from_descriptors(descriptors: Vec<OwnedFd>) -> Self {
        let mut sockets = Self::default();
        for descriptor in descriptors {
            let kept = match sockopt::socket_domain(descriptor.as_fd()) {
                Ok(AddressFamily::UNIX) => sockets_unix(UnixListener::from(descriptor)),
                _ => sockets_tcp(TcpListener::from(descriptor)),
            };
            sockets.keep(kept);
        }
        sockets
    }

    fn keep(&mut self, found: io::Result<Found>) {
        match found {
            Ok(Found::Tcp(address, listener)) => self.tcp.push((address, listener)),
            Ok(Found::Unix(path, listener)) => self.unix.push((path, listener)),
            Err(error) => warn!(%error, "an inherited socket cannot be used"),
        }
    }

    pub(crate) fn files_are_foreign(&self) -> bool {
        self.files_are_foreign
    }

    /// The sockets bound to an address.
    pub fn take_tcp(&mut self, address: SocketAddr) -> Vec<TcpListener> {
        let same = |bound: &SocketAddr| {
            let any = |address: &SocketAddr| address.ip().is_unspecified();
            // `[::]` and `0.0.0.0` both mean all interfaces; which of them is bound depends on the machine.
            bound.port() == address.port() && (bound.ip() == address.ip() || (any(bound) && any(&address)))
        };
        self.tcp.extract_if(.., |(bound, _)| same(bound)).map(|(_, listener)| listener).collect()
    }

    /// The socket bound to a path.
    pub(crate) fn take_unix(&mut self, path: &Path) -> Option<UnixListener> {
        let at = self.unix.iter().position(|(bound, _)| bound == path)?;
        Some(self.unix.swap_remove(at).1)
    }

    /// Says which sockets no option names, and closes them.
    pub fn finish(self) {
        let tcp = self.tcp.iter().map(|(address, _)| address.to_string());
        let unix = self.unix.iter().map(|(path, _)| path.display().to_string());
        for address in tcp.chain(unix) {
            warn!(address, "an inherited socket is closed: no option names its address");
        }
    }
}

enum Found {
    Tcp(SocketAddr, TcpListener),
    Unix(PathBuf, UnixListener),
}

fn sockets_tcp(listener: TcpListener) -> io::Result<Found> {
    listener.set_nonblocking(true)?;
    Ok(Found::Tcp(listener.local_addr()?, listener))
}

fn sockets_unix(listener: UnixListener) -> io::Result<Found> {
    listener.set_nonblocking(true)?;
    let path = listener.local_addr()?.as_pathname().map(Path::to_path_buf);
    let path = path.ok_or_else(|| io::Error::other("the socket has no path"))?;
    Ok(Found::Unix(path, listener))
}

/// A second descriptor for a socket, to be sent to another process.
pub(crate) fn duplicate(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    socket.try_clone_to_owned()
}

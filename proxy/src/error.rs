//! What can go wrong outside a single request: starting, configuration, routes.

use std::io;

/// A failure to start or run the proxy, its API or its metrics listener.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Another socket already owns the address.
    #[error("{address} is already in use: stop the program that listens there or choose another address")]
    AddressInUse {
        /// The address or socket path as configured.
        address: String,
    },
    /// The address cannot be bound for another reason (permission, no such interface, bad path).
    #[error("cannot listen on {address}: {problem}{}", remedy(problem))]
    Listen {
        /// The address or socket path as configured.
        address: String,
        /// The operating system's answer.
        problem: io::Error,
    },
    /// No address was given to listen on.
    #[error("the proxy has nothing to listen on: give at least one address or socket path")]
    NothingToListenOn,
    /// An option holds a value that cannot be used.
    #[error("{option}: {problem}")]
    Option {
        /// The option, in the words of whoever set it.
        option: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A thread or its runtime could not be started.
    #[error("cannot start proxy worker {index}: {source}")]
    Worker {
        /// Number of the worker, from 0.
        index: usize,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A worker thread ended by a panic; the others were told to stop.
    #[error("a proxy worker stopped unexpectedly; the proxy cannot continue")]
    WorkerLost,
    /// The pid file, a certificate or another file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The path as configured.
        path: String,
        /// The operating system's answer.
        source: io::Error,
    },
}

impl ProxyError {
    /// An error about one option, naming it and the remedy.
    pub fn option(option: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Option { option: option.into(), problem: problem.into() }
    }

    pub(crate) fn listen(address: &impl ToString, source: io::Error) -> Self {
        let address = address.to_string();
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::AddressInUse { address }
        } else {
            Self::Listen { address, problem: source }
        }
    }
}

fn remedy(problem: &io::Error) -> &'static str {
    match problem.kind() {
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need the capability CAP_NET_BIND_SERVICE: grant it, or choose a higher port"
        }
        io::ErrorKind::AddrNotAvailable => "; choose an address of this machine",
        _ => "",
    }
}

/// A route that cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The target is no absolute URL.
    #[error("target {target:?} is not a URL: {problem}")]
    InvalidTarget {
        /// The target as given.
        target: String,
        /// What the URL parser found.
        problem: String,
    },
    /// The URL's scheme is none that the proxy can speak.
    #[error("target scheme {scheme:?} is not supported: use http, https or http+unix")]
    UnsupportedScheme {
        /// The scheme as given.
        scheme: String,
    },
    /// The routespec or target is longer than 8 KiB.
    #[error("the routespec or target is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The routespec has more than 256 segments.
    #[error("the routespec has more than {limit} path segments")]
    TooDeep {
        /// The limit in segments.
        limit: usize,
    },
}

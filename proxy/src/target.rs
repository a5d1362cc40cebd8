//! Targets: where a route leads.
//!
//! A [`Target`] is parsed once, when its route is added, so that a request only joins strings. Targets that share
//! scheme, host and port share one [`Origin`]: connections are pooled and counted by origin, not by route.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::{error::RouteError, forward::health::Health};

/// Longest accepted routespec and target, in bytes.
pub(crate) const MAX_TEXT: usize = 8 * 1024;

/// How the bytes travel to an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Plain HTTP.
    Plain,
    /// HTTP over TLS.
    Tls,
}

/// Where an origin listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// An address that needs no look-up.
    Address(IpAddr, u16),
    /// A host name, looked up at each connect.
    Name(String, u16),
    /// A UNIX domain socket.
    Unix(PathBuf),
}

/// Scheme, host and port of a target: the unit of pooling and of connection limits.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Unique for the life of the process; pools are keyed by it.
    pub(crate) id: u64,
    pub(crate) transport: Transport,
    pub(crate) endpoint: Endpoint,
    /// `host[:port]` as the `Host` header would say it.
    pub(crate) authority: HeaderValue,
    /// Host name for the TLS handshake, without brackets.
    pub(crate) server_name: String,
    /// Connections open to this origin, over all workers.
    pub(crate) open: AtomicUsize,
    pub(crate) health: Health,
}

/// A parsed target URL.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The URL as it was given; shown by the API.
    pub(crate) text: Arc<str>,
    pub(crate) origin: Arc<Origin>,
    /// Path of the URL; at least `/`.
    pub(crate) base_path: Box<str>,
    /// Query of the URL, put before the request's own query.
    pub(crate) query: Option<Box<str>>,
}

/// Keeps one [`Origin`] for each scheme, host and port in use.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    known: Mutex<HashMap<String, Weak<Origin>>>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Origins {
    /// Parses a target URL, sharing the origin with other live targets.
    pub(crate) fn parse(&self, text: &str) -> Result<Target, RouteError> {
        if text.len() > MAX_TEXT {
            return Err(RouteError::TooLong { limit: MAX_TEXT });
        }
        let invalid = |problem: String| RouteError::InvalidTarget { target: text.to_owned(), problem };
        let url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
        let (transport, unix, default_port) = match url.scheme() {
            "http" | "ws" => (Transport::Plain, false, 80),
            "https" | "wss" => (Transport::Tls, false, 443),
            "http+unix" | "unix+http" => (Transport::Plain, true, 0),
            scheme => return Err(RouteError::UnsupportedScheme { scheme: scheme.to_owned() }),
        };
        let host = url.host().ok_or_else(|| invalid("it has no host".to_owned()))?;
        let port = url.port().unwrap_or(default_port);
        let (endpoint, name) = if unix {
            let path = percent_decode_str(url.host_str().unwrap_or_default())
                .decode_utf8()
                .map_err(|_| invalid("the socket path is not UTF-8".to_owned()))?;
            if path.is_empty() || path.contains('\0') {
                return Err(invalid("the socket path is empty or holds a NUL byte".to_owned()));
            }
            (Endpoint::Unix(PathBuf::from(path.as_ref())), "localhost".to_owned())
        } else {
            match host {
                Host::Domain("") => return Err(invalid("it has no host".to_owned())),
                Host::Domain(name) => (Endpoint::Name(name.to_owned(), port), name.to_owned()),
                Host::Ipv4(ip) => (Endpoint::Address(ip.into(), port), ip.to_string()),
                Host::Ipv6(ip) => (Endpoint::Address(ip.into(), port), ip.to_string()),
            }
        };
        let shown = match endpoint {
            Endpoint::Address(IpAddr::V6(ip), _) => format!("[{ip}]"),
            _ => name.clone(),
        };
        let authority = match url.port() {
            Some(port) => format!("{shown}:{port}"),
            None => shown,
        };
        let authority = HeaderValue::from_str(&authority).map_err(|error| invalid(error.to_string()))?;
        let key = format!("{transport:?} {endpoint:?}");
        let origin = self.intern(key, || Origin {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            transport,
            endpoint,
            authority,
            server_name: name,
            open: AtomicUsize::new(0),
            health: Health::default(),
        });
        Ok(Target {
            text: text.into(),
            origin,
            base_path: if url.path().is_empty() { "/".into() } else { url.path().into() },
            query: url.query().filter(|query| !query.is_empty()).map(Into::into),
        })
    }

    fn intern(&self, key: String, build: impl FnOnce() -> Origin) -> Arc<Origin> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = known.get(&key).and_then(Weak::upgrade) {
            return origin;
        }
        // Dead entries are swept whenever the map would have to grow, so it stays in proportion to the live ones.
        if known.len() == known.capacity() {
            known.retain(|_, origin| origin.strong_count() > 0);
        }
        let origin = Arc::new(build());
        known.insert(key, Arc::downgrade(&origin));
        origin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_with_the_same_host_and_port_share_an_origin() {
        let origins = Origins::default();
        let one = origins.parse("http://127.0.0.1:8081").unwrap();
        let two = origins.parse("http://127.0.0.1:8081/hub/").unwrap();
        let other = origins.parse("http://127.0.0.1:8082/hub/").unwrap();
        assert_eq!(one.origin.id, two.origin.id);
        assert_ne!(one.origin.id, other.origin.id);
        assert_eq!(&*one.base_path, "/");
        assert_eq!(&*two.base_path, "/hub/");
    }

    #[test]
    fn a_unix_socket_path_is_decoded_from_the_host() {
        let target = Origins::default().parse("http+unix://%2Frun%2Fa%20b.sock/base?x=1").unwrap();
        assert_eq!(target.origin.endpoint, Endpoint::Unix("/run/a b.sock".into()));
        assert_eq!(&*target.base_path, "/base");
        assert_eq!(target.query.as_deref(), Some("x=1"));
    }

    #[test]
    fn ipv6_targets_keep_their_brackets_in_the_authority() {
        let target = Origins::default().parse("http://[::1]:81/").unwrap();
        assert_eq!(target.origin.authority, "[::1]:81");
        assert_eq!(target.origin.server_name, "::1");
    }

    #[test]
    fn unusable_targets_are_refused() {
        let origins = Origins::default();
        for bad in ["nonsense", "", "ftp://host/", "http://", "mailto:a@b", "http+unix:///x"] {
            assert!(origins.parse(bad).is_err(), "{bad}");
        }
        let long = format!("http://h/{}", "a".repeat(MAX_TEXT));
        assert_eq!(origins.parse(&long).unwrap_err(), RouteError::TooLong { limit: MAX_TEXT });
    }
}

//! How many connections each client address has, so that one cannot take all.

use std::{
    collections::HashMap,
    fmt::Debug,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use tracing::warn;

/// Open connections by client address. IPv6 clients count by their /64, which is what one of them can vary.
#[derive(Debug)]
pub(crate) struct Shares {
    limit: usize,
    /// Most requests under way.
    requests: usize,
    open: Mutex<HashMap<IpAddr, Usage>>,
    /// Somebody was told in the log that a bound was met.
    warned: AtomicBool,
}

/// What one client uses.
#[derive(Debug, Default)]
struct Usage {
    connections: usize,
    requests: Arc<AtomicUsize>,
}

/// A client has all the connections that it may have.
#[derive(Debug)]
pub(crate) struct Exhausted {
    pub(crate) client: IpAddr,
}

/// One connection of a client; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    client: IpAddr,
    requests: Arc<AtomicUsize>,
}

/// The requests of a client that are under way on all its connections.
#[derive(Debug)]
pub(crate) struct Requests {
    count: Arc<AtomicUsize>,
    limit: usize,
}

impl Requests {
    /// One more; `false` when that is too many. Counted in either case.
    pub(crate) fn begin(&self) -> bool {
        self.count.fetch_add(1, Relaxed) < self.limit
    }

    pub(crate) fn end(&self) {
        self.count.fetch_sub(1, Relaxed);
    }
}

impl Share {
    pub(crate) fn requests(&self) -> Requests {
        Requests { count: Arc::clone(&self.requests), limit: self.shares.requests }
    }
}

impl Shares {
    pub(crate) fn new(limit: usize, requests: usize) -> Arc<Self> {
        Arc::new(Self { limit, requests, open: Mutex::default(), warned: AtomicBool::new(false) })
    }

    /// One more connection for a client.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Share, Exhausted> {
        let client = whose(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = open.entry(client).or_default();
        if usage.connections >= self.limit {
            return Err(Exhausted { client });
        }
        usage.connections += 1;
        Ok(Share { shares: Arc::clone(self), client, requests: Arc::clone(&usage.requests) })
    }

    /// Says, once, that a client has met a bound: the one thing that an operator cannot see is that everybody comes
    /// from the address of one balancer.
    pub(crate) fn warn_of_bound(&self, client: Option<&impl Debug>) {
        if !self.warned.swap(true, Relaxed) {
            warn!(
                client = client.map(tracing::field::debug),
                connections = self.limit,
                requests = self.requests,
                "one address has met the bound of a client and is refused; if it is that of a balancer or proxy in \
                 front of this one, name it in trusted_proxies (--trusted-proxy), so that the bounds are those of the \
                 clients behind it; this is said once"
            );
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut open = self.shares.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = open.get_mut(&self.client) {
            usage.connections = usage.connections.saturating_sub(1);
            if usage.connections == 0 {
                open.remove(&self.client);
            }
        }
    }
}

fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        IpAddr::V4(v4) => v4.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_its_share_and_no_more() {
        let shares = Shares::new(2, 1);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = shares.take(address("2001:db8::1")).unwrap();
        let _second = shares.take(address("2001:db8::2")).unwrap();
        assert!(shares.take(address("2001:db8::3")).is_err());
        let _other = shares.take(address("2001:db8:0:1::1")).unwrap();
        drop(first);
        let _third = shares.take(address("2001:db8::3")).unwrap();
    }

    #[derive(Debug, Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_remedy_is_told_once() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let shares = Shares::new(1, 1);
            for _ in 0..3 {
                shares.warn_of_bound(Some(&"192.0.2.1"));
            }
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("192.0.2.1") && text.contains("trusted_proxies"), "{text}");
    }

    #[test]
    fn clients_that_left_are_forgotten() {
        let shares = Shares::new(1, 1);
        drop(shares.take("192.0.2.1".parse().unwrap()));
        assert!(shares.open.lock().unwrap().is_empty());
    }
}

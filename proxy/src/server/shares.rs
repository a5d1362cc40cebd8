//! How many connections each client address has, so that one cannot take all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// Open connections by client address. IPv6 clients count by their /64, which is what one of them can vary.
#[derive(Debug)]
pub(crate) struct Shares {
    limit: usize,
    /// Most requests under way.
    requests: usize,
    open: Mutex<HashMap<IpAddr, Usage>>,
}

/// What one client uses.
#[derive(Debug, Default)]
struct Usage {
    connections: usize,
    requests: Arc<AtomicUsize>,
}

/// A client has all the connections that it may have.
#[derive(Debug)]
pub(crate) struct Exhausted;

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
        Arc::new(Self { limit, requests, open: Mutex::default() })
    }

    /// One more connection for a client.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Share, Exhausted> {
        let client = whose(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = open.entry(client).or_default();
        if usage.connections >= self.limit {
            return Err(Exhausted);
        }
        usage.connections += 1;
        Ok(Share { shares: Arc::clone(self), client, requests: Arc::clone(&usage.requests) })
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

    #[test]
    fn clients_that_left_are_forgotten() {
        let shares = Shares::new(1, 1);
        drop(shares.take("192.0.2.1".parse().unwrap()));
        assert!(shares.open.lock().unwrap().is_empty());
    }
}

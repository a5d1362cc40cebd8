//! How many connections each client address has, so that one cannot take all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// Open connections by client address. IPv6 clients count by their /64, which is what one of them can vary.
#[derive(Debug)]
pub(crate) struct Shares {
    limit: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of a client; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    client: IpAddr,
}

impl Shares {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, open: Mutex::default() })
    }

    /// One more connection for a client; `None` when it has all that it may have.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Share> {
        let client = whose(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Share { shares: Arc::clone(self), client })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut open = self.shares.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
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
        let shares = Shares::new(2);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = shares.take(address("2001:db8::1")).unwrap();
        let _second = shares.take(address("2001:db8::2")).unwrap();
        assert!(shares.take(address("2001:db8::3")).is_none());
        let _other = shares.take(address("2001:db8:0:1::1")).unwrap();
        drop(first);
        let _third = shares.take(address("2001:db8::3")).unwrap();
    }

    #[test]
    fn clients_that_left_are_forgotten() {
        let shares = Shares::new(1);
        drop(shares.take("192.0.2.1".parse().unwrap()));
        assert!(shares.open.lock().unwrap().is_empty());
    }
}

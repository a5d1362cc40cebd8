//! Where servers listen: `spawner.ip` and `spawner.port`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address and port to bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binding {
    /// Unspecified for all addresses.
    pub(crate) ip: IpAddr,
    /// 0 for a free one at each start.
    pub(crate) port: u16,
}

impl Binding {
    /// Reads the setting; none when `ip` is no address. Empty means all addresses, and brackets are left away, as
    /// in stock.
    pub(crate) fn new(ip: &str, port: u16) -> Option<Self> {
        let ip = match ip.trim_start_matches('[').trim_end_matches(']') {
            "" | "*" => Ipv4Addr::UNSPECIFIED.into(),
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            text => text.parse().ok()?,
        };
        Some(Self { ip, port })
    }

    /// The host part of `JUPYTERHUB_SERVICE_URL`: empty, as in stock, when all addresses are meant.
    pub(crate) fn service_host(self) -> String {
        if self.ip.is_unspecified() { String::new() } else { self.ip.to_string() }
    }
}

/// The address by which this machine reaches a server that binds `ip`.
pub(crate) fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_address_means_all_and_is_reached_on_the_loopback() {
        for (text, host, reached) in [
            ("", "", "127.0.0.1"),
            ("0.0.0.0", "", "127.0.0.1"),
            ("::", "", "::1"),
            ("[::1]", "::1", "::1"),
            ("localhost", "127.0.0.1", "127.0.0.1"),
            ("10.0.0.7", "10.0.0.7", "10.0.0.7"),
        ] {
            let binding = Binding::new(text, 0).unwrap();
            assert_eq!(binding.service_host(), host, "{text}");
            assert_eq!(reachable(binding.ip).to_string(), reached, "{text}");
        }
        assert_eq!(Binding::new("somewhere", 0), None);
    }
}

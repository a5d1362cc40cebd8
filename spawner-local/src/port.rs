//! A port for a server, kept free until the server has it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpSocket;

/// A port that is set aside. While this lives, the port is bound but not listened on, so that the system gives it
/// to nobody who asks for any free port; a server that sets `SO_REUSEADDR`, as nearly all do, may bind it.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// The number.
    pub(crate) port: u16,
    _held: Option<TcpSocket>,
}

impl Reservation {
    /// Takes a free port for 0, otherwise sees whether `port` is free. `hold` keeps it bound.
    pub(crate) fn take(ip: IpAddr, port: u16, hold: bool) -> io::Result<Self> {
        let socket = if ip.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(ip, port))?;
        let port = socket.local_addr()?.port();
        Ok(Self { port, _held: hold.then_some(socket) })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn a_reserved_port_is_given_to_no_second_server_but_can_be_bound_by_the_first() {
        let held: Vec<Reservation> = (0..50).map(|_| Reservation::take(HERE, 0, true).unwrap()).collect();
        let mut ports: Vec<u16> = held.iter().map(|reservation| reservation.port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 50);
        // the standard library sets SO_REUSEADDR, like the servers that are meant
        let listener = TcpListener::bind((HERE, ports[0])).unwrap();
        assert_eq!(listener.local_addr().unwrap().port(), ports[0]);
    }

    #[tokio::test]
    async fn a_port_that_somebody_listens_on_is_not_free() {
        let listener = TcpListener::bind((HERE, 0)).unwrap();
        let taken = Reservation::take(HERE, listener.local_addr().unwrap().port(), true);
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}

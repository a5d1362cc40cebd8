//! The PROXY protocol, versions 1 and 2: how a load balancer says whose connection it passes on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header that is read; a version 2 header may carry extensions.
pub(super) const LONGEST: usize = 4096;
/// Longest header of version 1, line end included.
const LONGEST_V1: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V1: &[u8] = b"PROXY ";

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// Nothing that the protocol allows.
    Invalid,
    /// The beginning of a header.
    Partial,
    /// A whole header of this many bytes. No source means the balancer's own connection (health check).
    Complete { length: usize, source: Option<SocketAddr> },
}

/// Reads a header from the first bytes of a connection.
pub(crate) fn parse(bytes: &[u8]) -> Header {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(one, two)| one == two);
    if begins(SIGNATURE) {
        return if bytes.len() < SIGNATURE.len() { Header::Partial } else { version2(bytes) };
    }
    if !begins(V1) {
        return Header::Invalid;
    }
    match bytes.windows(2).position(|two| two == b"\r\n") {
        Some(end) if end + 2 <= LONGEST_V1 => {
            let line = bytes.get(..end).and_then(|line| std::str::from_utf8(line).ok());
            match line.and_then(version1) {
                Some(source) => Header::Complete { length: end + 2, source },
                None => Header::Invalid,
            }
        }
        None if bytes.len() < LONGEST_V1 => Header::Partial,
        _ => Header::Invalid,
    }
}

#[expect(clippy::option_option, reason = "no such line, and a line that names nobody")]
/// The line of version 1 without its end: `PROXY TCP4 source destination port port`.
fn version1(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (source, destination): (IpAddr, IpAddr) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (from, _to): (u16, u16) = (port(words.next()?)?, port(words.next()?)?);
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    (fits && words.next().is_none()).then_some(Some(SocketAddr::new(source, from)))
}

/// Digits only: the standard library would take a sign.
fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn version2(bytes: &[u8]) -> Header {
    let Some([command, family, high, low]) =
        bytes.get(12..16).and_then(|four| <[u8; 4]>::try_from(four).ok())
    else {
        return Header::Partial;
    };
    let length = 16 + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Header::Invalid;
    }
    let Some(body) = bytes.get(16..length) else { return Header::Partial };
    let source = match command {
        0x20 => None,
        0x21 => match family >> 4 {
            1 => match addresses::<4>(body) {
                Some((ip, port)) => Some(SocketAddr::new(Ipv4Addr::from(ip).into(), port)),
                None => return Header::Invalid,
            },
            2 => match addresses::<16>(body) {
                Some((ip, port)) => Some(SocketAddr::new(Ipv6Addr::from(ip).into(), port)),
                None => return Header::Invalid,
            },
            0 | 3 => None,
            _ => return Header::Invalid,
        },
        _ => return Header::Invalid,
    };
    Header::Complete { length, source }
}

/// Source address and port; the destination stands between them.
fn addresses<const N: usize>(body: &[u8]) -> Option<([u8; N], u16)> {
    let ip = body.get(..N)?.try_into().ok()?;
    let port = body.get(2 * N..2 * N + 2)?.try_into().ok()?;
    body.get(2 * N + 2..2 * N + 4)?;
    Some((ip, u16::from_be_bytes(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, body].concat()
    }

    #[test]
    fn both_versions_tell_the_source() {
        let from = |text: &str| Some(text.parse().unwrap());
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET";
        assert_eq!(parse(line), Header::Complete { length: 42, source: from("192.0.2.1:56324") });
        let line = b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n";
        assert_eq!(parse(line), Header::Complete { length: 32, source: from("[2001:db8::1]:1") });
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), Header::Complete { length: 15, source: None });
        let body = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 187, 9, 9];
        let found = parse(&[v2(0x21, 0x11, &body), b"GET".to_vec()].concat());
        assert_eq!(found, Header::Complete { length: 30, source: from("192.0.2.1:56324") });
        assert_eq!(parse(&v2(0x20, 0, &[])), Header::Complete { length: 16, source: None });
        let mut body = [0; 36];
        (body[15], body[33]) = (1, 7);
        assert_eq!(parse(&v2(0x21, 0x21, &body)), Header::Complete { length: 52, source: from("[::1]:7") });
    }

    #[test]
    fn a_header_in_pieces_is_partial_until_it_is_whole() {
        let whole = [
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec(),
            v2(0x21, 0x11, &[1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0, 9]),
        ];
        for header in whole {
            for end in 1..header.len() {
                assert_eq!(parse(&header[..end]), Header::Partial, "{end} of {header:?}");
            }
            assert!(matches!(parse(&header), Header::Complete { .. }));
        }
    }

    #[test]
    fn anything_else_is_invalid() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        ] {
            assert_eq!(parse(bytes), Header::Invalid, "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(parse(&[b"PROXY ".to_vec(), vec![b'x'; 200]].concat()), Header::Invalid);
        assert_eq!(parse(&v2(0x21, 0x11, &[1, 2, 3])), Header::Invalid);
        assert_eq!(parse(&v2(0x31, 0x11, &[0; 12])), Header::Invalid);
        assert_eq!(parse(&[SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat()), Header::Invalid);
    }
}

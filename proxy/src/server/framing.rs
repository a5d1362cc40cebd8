//! A strict second look at where requests begin and end.
//!
//! hyper repairs some ambiguous requests (it drops `Content-Length` beside `Transfer-Encoding` and merges equal
//! lengths) and takes bare line feeds. A proxy must not guess, because the next server may guess differently. So
//! the bytes are followed here before hyper sees them: heads line by line, bodies by skipping. A fault is kept with
//! the number of its request, and the request is answered 400 when its turn comes.

use std::mem;

use http::StatusCode;
use memchr::{memchr, memchr2};

/// Why a request is refused although it could be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    None = 0,
    LineEnding,
    FoldedHeader,
    HeaderName,
    Target,
    Host,
    ContentLength,
    TransferEncoding,
    LengthAndEncoding,
    Desynchronised,
    /// Nothing is wrong with the request but that there are too many.
    Crowded,
}

impl Fault {
    pub(crate) fn from_code(code: u8) -> Self {
        const ALL: [Fault; 11] = [
            Fault::None,
            Fault::LineEnding,
            Fault::FoldedHeader,
            Fault::HeaderName,
            Fault::Target,
            Fault::Host,
            Fault::ContentLength,
            Fault::TransferEncoding,
            Fault::LengthAndEncoding,
            Fault::Desynchronised,
            Fault::Crowded,
        ];
        ALL.get(usize::from(code)).copied().unwrap_or(Fault::Desynchronised)
    }

    /// The status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Crowded => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// What the client is told.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::None => "",
            Self::LineEnding => "lines of the request head must end with CR LF",
            Self::FoldedHeader => "folded header lines are not accepted",
            Self::HeaderName => "a header line has no valid name",
            Self::Target => "the request target holds characters that must be percent-encoded",
            Self::Host => "the request needs exactly one valid Host header",
            Self::ContentLength => "Content-Length must be given once, as a number",
            Self::TransferEncoding => "the only transfer encoding accepted is chunked, in HTTP/1.1",
            Self::LengthAndEncoding => "Content-Length and Transfer-Encoding exclude each other",
            Self::Crowded => "this address has too many requests under way",
            Self::Desynchronised => "the request body is not framed correctly",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a request line; empty lines are skipped.
    Start,
    /// Within a head.
    Head,
    /// Within a body of known length.
    Body(u64),
    /// At the line that tells the size of a chunk.
    ChunkSize,
    /// Within a chunk and the line end behind it.
    Chunk(u64),
    /// Within the lines after the last chunk.
    Trailer,
    /// The border of the next request is unknown.
    Lost,
}

/// Follows the requests of one connection.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// A line whose end has not arrived yet.
    partial: Vec<u8>,
    /// Longest line to keep; hyper refuses the head at the same size.
    limit: usize,
    /// Heads seen to their end.
    heads: u64,
    head: Head,
    /// A head was faulty, so that no further request will be served.
    refused: bool,
}

/// What the current head said so far.
#[derive(Debug, Default)]
struct Head {
    http10: bool,
    hosts: u32,
    length: Option<u64>,
    chunked: bool,
    fault: Option<Fault>,
}

impl Head {
    fn blame(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

/// What a call to [`Framing::feed`] found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The first faulty request: its number (from 1) and the fault.
    pub(crate) fault: Option<(u64, Fault)>,
}

impl Framing {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            state: State::Start,
            partial: Vec::new(),
            limit,
            heads: 0,
            head: Head::default(),
            refused: false,
        }
    }

    /// Heads seen to their end, the faulty one included.
    pub(crate) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the client may stop sending here: between two requests, or after one that is refused anyway.
    pub(crate) fn may_end(&self) -> bool {
        self.between_requests() || self.refused
    }

    /// Whether the last byte fed ended a request (or none was fed).
    fn between_requests(&self) -> bool {
        self.state == State::Start && self.partial.is_empty()
    }

    /// Whether a head has begun and not ended.
    pub(crate) fn within_head(&self) -> bool {
        self.state == State::Head || (self.state == State::Start && !self.partial.is_empty())
    }

    /// Follows the next bytes of the connection.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        while !bytes.is_empty() {
            match &mut self.state {
                State::Lost => break,
                State::Body(left) | State::Chunk(left) => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= take as u64;
                    bytes = bytes.get(take..).unwrap_or_default();
                    if *left == 0 {
                        self.state = match self.state {
                            State::Chunk(_) => State::ChunkSize,
                            _ => State::Start,
                        };
                    }
                }
                State::Start | State::Head | State::ChunkSize | State::Trailer => {
                    let Some(end) = memchr(b'\n', bytes) else {
                        if self.partial.len() + bytes.len() > self.limit {
                            self.state = State::Lost;
                            self.partial = Vec::new();
                        } else {
                            self.partial.extend_from_slice(bytes);
                        }
                        break;
                    };
                    let (line, rest) = bytes.split_at(end);
                    bytes = rest.get(1..).unwrap_or_default();
                    if self.partial.is_empty() {
                        self.line(line, &mut seen);
                    } else {
                        let mut whole = mem::take(&mut self.partial);
                        whole.extend_from_slice(line);
                        self.line(&whole, &mut seen);
                    }
                }
            }
        }
        seen
    }

    /// One line without its line feed.
    fn line(&mut self, line: &[u8], seen: &mut Seen) {
        let (line, crlf) = match line.split_last() {
            Some((b'\r', line)) => (line, true),
            _ => (line, false),
        };
        match self.state {
            State::Start if line.is_empty() && crlf => {}
            State::Start => {
                self.head = Head::default();
                self.state = State::Head;
                self.check_line(line, crlf);
                self.request_line(line);
            }
            State::Head if line.is_empty() => {
                if !crlf {
                    self.head.blame(Fault::LineEnding);
                }
                self.end_of_head(seen);
            }
            State::Head => {
                self.check_line(line, crlf);
                self.header(line);
            }
            State::ChunkSize => self.state = if crlf { chunk_size(line) } else { State::Lost },
            State::Trailer if line.is_empty() => self.state = if crlf { State::Start } else { State::Lost },
            State::Trailer if crlf => {}
            _ => self.state = State::Lost,
        }
    }

    fn check_line(&mut self, line: &[u8], crlf: bool) {
        if !crlf || memchr2(b'\r', 0, line).is_some() {
            self.head.blame(Fault::LineEnding);
        }
    }

    fn request_line(&mut self, line: &[u8]) {
        self.head.http10 = line.ends_with(b" HTTP/1.0");
        if line.iter().any(|byte| *byte < b' ' || *byte > b'~') {
            self.head.blame(Fault::Target);
        }
    }

    fn header(&mut self, line: &[u8]) {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return self.head.blame(Fault::FoldedHeader);
        }
        let Some(colon) = memchr(b':', line) else {
            return self.head.blame(Fault::HeaderName);
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default();
        // The name's length tells most headers apart from the three that matter.
        match name.len() {
            0 => self.head.blame(Fault::HeaderName),
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.head.hosts += 1;
                if self.head.hosts > 1 || !is_host(value.trim_ascii()) {
                    self.head.blame(Fault::Host);
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = digits(trim(value));
                if length.is_none() || self.head.length.is_some() {
                    self.head.blame(Fault::ContentLength);
                }
                self.head.length = length.or(Some(0));
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.head.chunked || self.head.http10 || !trim(value).eq_ignore_ascii_case(b"chunked") {
                    self.head.blame(Fault::TransferEncoding);
                }
                self.head.chunked = true;
            }
            // hyper refuses names with other bytes; blanks are caught here because they hide one of the three.
            _ if memchr2(b' ', b'\t', name).is_some() => self.head.blame(Fault::HeaderName),
            _ => {}
        }
    }

    fn end_of_head(&mut self, seen: &mut Seen) {
        self.heads += 1;
        let mut head = mem::take(&mut self.head);
        if head.chunked && head.length.is_some() {
            head.blame(Fault::LengthAndEncoding);
        }
        if head.hosts == 0 && !head.http10 {
            head.blame(Fault::Host);
        }
        if let Some(fault) = head.fault {
            self.state = State::Lost;
            self.refused = true;
            seen.fault.get_or_insert((self.heads, fault));
            return;
        }
        self.state = match head.length {
            _ if head.chunked => State::ChunkSize,
            None | Some(0) => State::Start,
            Some(length) => State::Body(length),
        };
    }
}

fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |at| at + 1);
    value.get(start..end).unwrap_or_default()
}

fn digits(value: &[u8]) -> Option<u64> {
    let all = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    all.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

/// Bytes of a host, port included, per RFC 3986. An empty one is allowed there, too.
pub(crate) fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=:[]%".contains(byte))
}

fn chunk_size(line: &[u8]) -> State {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    let proper = matches!(trim(extension).first(), None | Some(b';'));
    let size = std::str::from_utf8(size).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
    match size {
        Some(0) if proper => State::Trailer,
        // The chunk is followed by CR LF, which hyper checks.
        Some(size) if proper && size <= u64::MAX - 2 => State::Chunk(size + 2),
        _ => State::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed_all(text: &str, step: usize) -> (Framing, Option<(u64, Fault)>) {
        let mut framing = Framing::new(8192);
        let mut fault = None;
        for piece in text.as_bytes().chunks(step) {
            fault = fault.or(framing.feed(piece).fault);
        }
        (framing, fault)
    }

    #[test]
    fn well_formed_requests_pass_however_they_are_cut() {
        let text = "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n\
                    POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /\
                    PUT / HTTP/1.1\r\nhost: h:1\r\nTransfer-Encoding:  Chunked\t\r\n\r\n\
                    a;x=y\r\n0123456789\r\n2 \r\n\r\n\r\n0\r\nX: y\r\n\r\n\
                    GET / HTTP/1.0\r\n\r\n";
        for step in [1, 2, 3, 7, 64, text.len()] {
            let (framing, fault) = feed_all(text, step);
            assert_eq!(fault, None, "step {step}");
            assert_eq!(framing.heads(), 4, "step {step}");
            assert!(framing.may_end(), "step {step}");
        }
    }

    #[test]
    fn ambiguous_heads_are_faults_of_their_request() {
        let cases = [
            ("Host: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", Fault::LengthAndEncoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\nHost: h", Fault::LengthAndEncoding),
            ("Host: h\r\nContent-Length: 1\r\nContent-Length: 1", Fault::ContentLength),
            ("Host: h\r\nContent-Length: +1", Fault::ContentLength),
            ("Host: h\r\nContent-Length: 1, 1", Fault::ContentLength),
            ("Host: h\r\nContent-Length:", Fault::ContentLength),
            ("Host: h\r\nContent-Length: 18446744073709551616", Fault::ContentLength),
            ("Host: h\r\nTransfer-Encoding: gzip, chunked", Fault::TransferEncoding),
            ("Host: h\r\nTransfer-Encoding: identity", Fault::TransferEncoding),
            ("Host: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Fault::TransferEncoding),
            ("Host: h\r\nTransfer-Encoding: \x0bchunked", Fault::TransferEncoding),
            ("Host: h\r\nContent-Length : 1", Fault::HeaderName),
            ("Host: h\r\nX: a\r\n b", Fault::FoldedHeader),
            ("Host: h\nX: a", Fault::LineEnding),
            ("Host: h\r\nX: a\rContent-Length: 3", Fault::LineEnding),
            ("Host: h\r\nHost: h", Fault::Host),
            ("Host: a, b", Fault::Host),
            ("Host: a/b", Fault::Host),
            ("X: y", Fault::Host),
            ("Host: h\r\nnonsense", Fault::HeaderName),
        ];
        for (headers, expected) in cases {
            let text = format!(
                "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n{headers}\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"
            );
            for step in [1, 5, text.len()] {
                let (framing, fault) = feed_all(&text, step);
                assert_eq!(fault, Some((2, expected)), "{headers:?} in steps of {step}");
                assert_eq!(framing.heads(), 2, "nothing after the faulty head is believed: {headers:?}");
            }
        }
    }

    #[test]
    fn a_broken_chunk_loses_the_border_of_what_follows() {
        for chunk in ["x\r\n", "\r\n", "-1\r\n", "0x1\r\n", "1 2\r\n", "fffffffffffffffff\r\n", "1\n"] {
            let text = format!(
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}GET / HTTP/1.1\r\nHost: h\r\n\r\n"
            );
            let (framing, _) = feed_all(&text, 3);
            assert_eq!(framing.heads(), 1, "{chunk:?}");
            assert!(!framing.may_end());
        }
    }

    #[test]
    fn every_fault_survives_its_code() {
        for code in 0..=Fault::Desynchronised as u8 {
            assert_eq!(Fault::from_code(code) as u8, code);
        }
    }
}

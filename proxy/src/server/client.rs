//! What is known about one client connection, shared by its socket, its requests and the worker's sweeper.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
};

use futures_util::task::AtomicWaker;
use http::HeaderValue;

use super::{clock::Clock, framing::Fault, shares::Requests};

/// How a connection was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Closing {
    No,
    /// With the next answer: another process takes the connections that follow.
    Retire,
    /// After the request under way, or at once when there is none.
    Graceful,
    /// Now.
    Abort,
}

/// Which waiting time applies to a connection, and since when it runs (milliseconds of [`Client::now`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Between two requests.
    Idle(u64),
    /// For the rest of a request head.
    Head(u64),
    /// While a request is served: since the last byte either way.
    Serving(u64),
}

/// Where a connection comes from and what it speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// None for UNIX sockets.
    pub(crate) remote: Option<SocketAddr>,
    /// Came over TLS.
    pub(crate) secure: bool,
    /// HTTP/2: requests overlap, and need no second look at their framing.
    pub(crate) multiplexed: bool,
    /// What it says in `X-Forwarded-*` is believed.
    pub(crate) trusted: bool,
}

/// One client connection. Atomics because hyper wants its sockets to be `Send`; only one thread uses them.
#[derive(Debug)]
pub(crate) struct Client {
    /// The remote address as `X-Forwarded-For` shows it; none for UNIX sockets.
    pub(crate) address: Option<HeaderValue>,
    /// Came over TLS.
    pub(crate) secure: bool,
    pub(crate) multiplexed: bool,
    pub(crate) trusted: bool,
    clock: Clock,
    /// Those of all connections from the same address.
    requests: Option<Requests>,
    /// Counted in `requests` as one, until it is found idle. With HTTP/1.1 that stands for its requests, as there is
    /// one at a time: to count each would have all cores write to one place for each.
    counted: AtomicBool,
    last_io: AtomicU64,
    /// When the last request ended, or the connection began. HTTP/2 has bytes without requests, such as pings.
    idle_since: AtomicU64,
    /// When the unfinished head began; 0 when there is none.
    head_since: AtomicU64,
    /// Heads that arrived, and requests handed to the service.
    heads: AtomicU64,
    served: AtomicU64,
    in_flight: AtomicU64,
    fault_at: AtomicU64,
    fault: AtomicU8,
    /// The client will send no more, but may still read.
    half_closed: AtomicBool,
    /// The client takes nothing of what is to be sent.
    blocked: AtomicBool,
    closing: AtomicU8,
    pub(crate) waker: AtomicWaker,
}

impl Client {
    pub(crate) fn new(origin: Origin, clock: Clock, requests: Option<Requests>) -> Self {
        let address = origin
            .remote
            .map(|address| address.ip().to_canonical().to_string())
            .and_then(|text| HeaderValue::from_str(&text).ok());
        let client = Self {
            address,
            secure: origin.secure,
            multiplexed: origin.multiplexed,
            trusted: origin.trusted,
            clock,
            requests,
            counted: AtomicBool::new(false),
            last_io: AtomicU64::new(0),
            idle_since: AtomicU64::new(clock.millis()),
            head_since: AtomicU64::new(0),
            heads: AtomicU64::new(0),
            served: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            fault_at: AtomicU64::new(0),
            fault: AtomicU8::new(0),
            half_closed: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            closing: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        };
        client.note_io();
        client
    }

    /// Milliseconds since the worker started, at least 1.
    pub(crate) fn now(&self) -> u64 {
        self.clock.millis()
    }

    pub(crate) fn note_io(&self) {
        self.last_io.store(self.now(), Relaxed);
    }

    /// Takes over what the socket saw after reading.
    pub(crate) fn note_read(&self, heads: u64, within_head: bool, fault: Option<(u64, Fault)>) {
        let now = self.now();
        self.last_io.store(now, Relaxed);
        self.heads.store(heads, Relaxed);
        if !within_head {
            self.head_since.store(0, Relaxed);
        } else if self.head_since.load(Relaxed) == 0 {
            self.head_since.store(now, Relaxed);
        }
        if let Some((at, fault)) = fault {
            self.fault_at.store(at, Relaxed);
            self.fault.store(fault as u8, Relaxed);
        }
    }

    /// Begins the next request; the fault is why it must be refused.
    pub(crate) fn begin(self: &Arc<Self>) -> (Turn, Option<Fault>) {
        let number = self.served.load(Relaxed) + 1;
        self.served.store(number, Relaxed);
        self.in_flight.store(self.in_flight.load(Relaxed) + 1, Relaxed);
        if self.multiplexed {
            let crowded = self.requests.as_ref().is_some_and(|requests| !requests.begin());
            return (Turn(Arc::clone(self)), crowded.then_some(Fault::Crowded));
        }
        self.close_after_last();
        let crowded = !self.count();
        let at = self.fault_at.load(Relaxed);
        let fault = if at != 0 && number >= at {
            Some(Fault::from_code(self.fault.load(Relaxed)))
        } else if number > self.heads.load(Relaxed) {
            Some(Fault::Desynchronised)
        } else if crowded {
            Some(Fault::Crowded)
        } else {
            None
        };
        (Turn(Arc::clone(self)), fault)
    }

    /// Counts an HTTP/1.1 connection that is in use; `false` when its client has too many of them.
    fn count(&self) -> bool {
        match &self.requests {
            Some(requests) if !self.counted.load(Relaxed) => {
                self.counted.store(true, Relaxed);
                requests.begin()
            }
            _ => true,
        }
    }

    /// Takes an idle HTTP/1.1 connection out of the count.
    pub(crate) fn rest(&self) {
        if let Some(requests) = &self.requests
            && self.counted.swap(false, Relaxed)
        {
            requests.end();
        }
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    /// Whether a request has arrived that is not answered yet, be it that the service has not seen it.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.is_serving() || self.heads.load(Relaxed) > self.served.load(Relaxed)
    }

    pub(crate) fn note_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Relaxed);
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Relaxed)
    }

    pub(crate) fn is_half_closed(&self) -> bool {
        self.half_closed.load(Relaxed)
    }

    /// The client closed its sending side after whole requests: answer them, then close.
    pub(crate) fn half_close(&self) {
        self.half_closed.store(true, Relaxed);
        self.close_after_last();
    }

    fn close_after_last(&self) {
        if self.is_half_closed() && self.served.load(Relaxed) >= self.heads.load(Relaxed) {
            self.close(Closing::Graceful);
        }
    }

    pub(crate) fn close(&self, how: Closing) {
        let code = match how {
            Closing::No => 0,
            Closing::Retire => 1,
            Closing::Graceful => 2,
            Closing::Abort => 3,
        };
        self.closing.fetch_max(code, Relaxed);
        self.waker.wake();
    }

    /// Milliseconds without a byte either way.
    pub(crate) fn silent_since(&self) -> u64 {
        self.last_io.load(Relaxed)
    }

    pub(crate) fn closing(&self) -> Closing {
        match self.closing.load(Relaxed) {
            0 => Closing::No,
            1 => Closing::Retire,
            2 => Closing::Graceful,
            _ => Closing::Abort,
        }
    }

    pub(crate) fn waiting(&self) -> Waiting {
        let last_io = self.last_io.load(Relaxed);
        match self.head_since.load(Relaxed) {
            _ if self.is_serving() => Waiting::Serving(last_io),
            _ if self.multiplexed => Waiting::Idle(self.idle_since.load(Relaxed)),
            0 => Waiting::Idle(last_io),
            since => Waiting::Head(since),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.rest();
    }
}

/// A request under way; dropped when its response has been handed to the socket or given up.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Client>);

impl Drop for Turn {
    fn drop(&mut self) {
        let client = &self.0;
        if let Some(requests) = client.requests.as_ref().filter(|_| client.multiplexed) {
            requests.end();
        }
        client.in_flight.store(client.in_flight.load(Relaxed).saturating_sub(1), Relaxed);
        client.note_io();
        if client.multiplexed {
            client.idle_since.store(client.now(), Relaxed);
        }
        if client.is_half_closed() {
            client.waker.wake();
        }
    }
}

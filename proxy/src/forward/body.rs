//! Bodies on their way through: streamed, never collected, the sender held back by the receiver.

use std::{
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered, task::AtomicWaker};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep, timeout},
};

use super::{bounds, pool::Lease, upstream::Progress};
use crate::{
    access_log::Entry,
    routes::Route,
    server::{client::Turn, worker::Worker},
};

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The client's side: broken framing or a lost connection.
    #[error("request body: {0}")]
    Client(hyper::Error),
    /// The target's side.
    #[error("response body: {0}")]
    Upstream(hyper::Error),
    /// The target answered without wanting the body.
    #[error("the target answered without reading the request body")]
    Unwanted,
    /// The target stopped sending.
    #[error("the target sent nothing for too long")]
    Stalled,
}

/// Holds a request body back until the target says `100 Continue`.
#[derive(Debug, Default)]
pub(crate) struct ContinueGate {
    state: AtomicU8,
    waker: AtomicWaker,
}

const WAITING: u8 = 0;
const OPEN: u8 = 1;
const UNWANTED: u8 = 2;

impl ContinueGate {
    /// The target wants the body.
    pub(crate) fn open(&self) {
        let _ = self.state.compare_exchange(WAITING, OPEN, Relaxed, Relaxed);
        self.waker.wake();
    }

    /// The target has answered; a body that was not asked for is never sent.
    pub(crate) fn give_up(&self) {
        let _ = self.state.compare_exchange(WAITING, UNWANTED, Relaxed, Relaxed);
        self.waker.wake();
    }

    /// Whether the body is still held back.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state.load(Relaxed) == WAITING
    }
}

/// The client's request body, as the target's connection reads it.
#[derive(Default)]
pub(crate) struct RequestBody {
    stream: Option<Box<RequestStream>>,
}

struct RequestStream {
    /// `None` once it ended.
    incoming: Option<Incoming>,
    route: Arc<Route>,
    linger: mpsc::Sender<Incoming>,
    gate: Option<(Arc<ContinueGate>, Pin<Box<Sleep>>)>,
    fault: Arc<ClientFault>,
    started: bool,
}

/// Set when the request body ended by the client's fault: the answer is then 400, not 503.
#[derive(Debug, Default)]
pub(crate) struct ClientFault(AtomicU8);

impl ClientFault {
    pub(crate) fn happened(&self) -> bool {
        self.0.load(Relaxed) != 0
    }
}

impl RequestBody {
    pub(crate) fn stream(
        incoming: Incoming,
        route: &Arc<Route>,
        worker: &Worker,
        gate: Option<Arc<ContinueGate>>,
    ) -> (Self, Arc<ClientFault>) {
        let fault = Arc::new(ClientFault::default());
        let wait = worker.settings().timeouts.expect_continue;
        let stream = RequestStream {
            incoming: Some(incoming),
            route: Arc::clone(route),
            linger: worker.linger.clone(),
            gate: gate.map(|gate| (gate, Box::pin(sleep(wait)))),
            fault: Arc::clone(&fault),
            started: false,
        };
        (Self { stream: Some(Box::new(stream)) }, fault)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        if let Some((gate, patience)) = &mut stream.gate {
            gate.waker.register(cx.waker());
            if gate.is_waiting() && patience.as_mut().poll(cx).is_ready() {
                gate.open();
            }
            match gate.state.load(Relaxed) {
                WAITING => return Poll::Pending,
                UNWANTED => return Poll::Ready(Some(Err(BodyError::Unwanted))),
                _ => stream.gate = None,
            }
        }
        let Some(incoming) = &mut stream.incoming else { return Poll::Ready(None) };
        stream.started = true;
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => stream.route.activity.touch(),
            Some(Err(_)) => {
                stream.fault.0.store(1, Relaxed);
                stream.incoming = None;
            }
            None => stream.incoming = None,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Client)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.incoming.as_ref().is_none_or(Body::is_end_stream))
    }

    fn size_hint(&self) -> SizeHint {
        match self.stream.as_ref().and_then(|stream| stream.incoming.as_ref()) {
            Some(incoming) => incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for RequestStream {
    fn drop(&mut self) {
        // A client that is still sending would lose our answer if the connection were closed under it.
        if self.started
            && let Some(incoming) = self.incoming.take()
            && !incoming.is_end_stream()
        {
            let _ = self.linger.try_send(incoming);
        }
    }
}

/// Bodies that may be read to their end at the same time, and as many that may wait for that.
pub(crate) const LINGERING_BODIES: usize = 256;
/// Most bytes and longest time for which an unwanted request body is still read.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(5);

/// Reads abandoned request bodies to their end, within bounds.
pub(crate) async fn drain_bodies(mut bodies: mpsc::Receiver<Incoming>) {
    let mut reading = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(body) = bodies.recv(), if reading.len() < LINGERING_BODIES => {
                reading.push(timeout(LINGER_TIME, drain(body)));
            }
            Some(_) = reading.next() => {}
            else => return,
        }
    }
}

async fn drain(mut body: Incoming) {
    let mut left = LINGER_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let len = frame.data_ref().map_or(0, Bytes::len);
        left = match left.checked_sub(len) {
            Some(left) => left,
            None => return,
        };
    }
}

/// The answer to a client.
pub(crate) struct ProxyBody {
    content: Content,
    /// Dropped with the body: the request is then over.
    _turn: Option<Turn>,
    entry: Option<Box<Entry>>,
}

enum Content {
    Empty,
    Full(Option<Bytes>),
    Relay(Relay),
}

/// The limit on the silence of a target whose answer has begun.
struct Silence {
    limit: Duration,
    /// Of the bytes either way: an upload may go on while its answer has begun.
    progress: Arc<Progress>,
    /// Set once it was needed.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether a part of the body is awaited. While the client takes its time nobody looks for one.
    waiting: bool,
}

impl Silence {
    /// Ready when the target has been silent for too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { limit, progress, timer, waiting } = self;
        if !std::mem::replace(waiting, true) {
            progress.note();
            if let Some(timer) = timer {
                timer.as_mut().reset(Instant::now() + *limit);
            }
        }
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(*limit)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let Some(left) = progress.left_of(*limit) else { return Poll::Ready(()) };
            timer.as_mut().reset(Instant::now() + left);
        }
    }
}

/// A target's response body.
pub(crate) struct Relay {
    incoming: Incoming,
    lease: Option<Lease>,
    /// Whether this response makes the route look used, and which.
    active: Option<Arc<Route>>,
    gate: Option<Arc<ContinueGate>>,
    silence: Option<Silence>,
    /// Why the body ends too early: told a turn later, so that what came before it has left.
    broken: Option<hyper::Error>,
    worker: Rc<Worker>,
}

impl Relay {
    pub(crate) fn new(
        incoming: Incoming,
        lease: Lease,
        active: Option<Arc<Route>>,
        gate: Option<Arc<ContinueGate>>,
        worker: &Rc<Worker>,
    ) -> Self {
        let limited = worker.settings().timeouts.response.zip(lease.progress.clone());
        let silence =
            limited.map(|(limit, progress)| Silence { limit, progress, timer: None, waiting: false });
        let mut relay = Self {
            incoming,
            lease: Some(lease),
            active,
            gate,
            silence,
            broken: None,
            worker: Rc::clone(worker),
        };
        if relay.incoming.is_end_stream() {
            relay.finish();
        }
        relay
    }

    /// The whole response has arrived: its connection may serve the next request.
    fn finish(&mut self) {
        if let Some(route) = &self.active {
            route.activity.touch();
        }
        if let Some(lease) = self.lease.take() {
            // A body that the target never asked for leaves the connection in the middle of a request.
            let whole = self.gate.as_ref().is_none_or(|gate| !gate.is_waiting());
            if !whole || bounds::is_wanted(&self.worker.shared, lease.origin()) {
                lease.link.close();
            } else {
                self.worker.pool.borrow().put(lease, self.worker.now());
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(BodyError::Upstream(error))));
        }
        let polled = match &mut self.lease {
            Some(lease) => lease.link.poll_frame(&mut self.incoming, cx),
            None => Pin::new(&mut self.incoming).poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(silence) = &mut self.silence {
                    silence.waiting = false;
                }
                if self.incoming.is_end_stream() {
                    self.finish();
                } else if let Some(route) = &self.active {
                    route.activity.touch();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.worker.stats.broken_responses.inc();
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => match &mut self.silence {
                Some(silence) => silence.poll(cx).map(|()| Some(Err(BodyError::Stalled))),
                None => Poll::Pending,
            },
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(gate) = &self.gate {
            gate.give_up();
        }
    }
}

impl ProxyBody {
    pub(crate) fn empty(turn: Option<Turn>) -> Self {
        Self { content: Content::Empty, _turn: turn, entry: None }
    }

    pub(crate) fn full(bytes: impl Into<Bytes>, turn: Option<Turn>) -> Self {
        Self { content: Content::Full(Some(bytes.into())), _turn: turn, entry: None }
    }

    pub(crate) fn relay(relay: Relay, turn: Option<Turn>) -> Self {
        Self { content: Content::Relay(relay), _turn: turn, entry: None }
    }
}

impl ProxyBody {
    /// Has the request logged when it is over.
    pub(crate) fn log(&mut self, entry: Box<Entry>) {
        self.entry = Some(entry);
    }

    fn count(&mut self, frame: &Frame<Bytes>) {
        if let (Some(entry), Some(data)) = (&mut self.entry, frame.data_ref()) {
            entry.bytes += data.len() as u64;
        }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match &mut self.content {
            Content::Empty => Poll::Ready(None),
            Content::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Relay(relay) => relay.poll_frame(cx),
        };
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.count(frame);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Relay(relay) => relay.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Content::Relay(relay) => relay.incoming.size_hint(),
        }
    }
}

//! Websockets: two connections joined byte by byte.
//!
//! Thousands of them are open and idle at most moments. So a direction owns no buffer: bytes pass through one that
//! all websockets of the worker share, and only what the receiver could not take at once is kept.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
    task::spawn_local,
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::upstream::UpstreamIo;
use crate::{
    access_log::Entry,
    metrics::{OpenGauge, Tally},
    routes::Route,
    server::{
        ClientIo,
        client::Turn,
        connection::Guest,
        stream::Stream,
        websockets::{Listed, Opener},
        worker::Worker,
    },
};

/// Most bytes moved in one go before other connections get their turn.
const TURN: usize = 256 * 1024;

/// What stays with a websocket for as long as it lives.
pub(crate) struct Held {
    /// The client's connection, whose place within the bounds a websocket keeps.
    pub(crate) guest: Rc<Guest>,
    /// The request, which lasts as long as its websocket.
    #[expect(dead_code, reason = "held for its drop")]
    pub(crate) turn: Turn,
    pub(crate) entry: Option<Box<Entry>>,
    /// Says how long hyper may go on sending after the end; on HTTP/2 alone.
    pub(crate) farewell: Option<oneshot::Sender<Duration>>,
}

/// Joins the two connections, client's first, as soon as both have been upgraded.
pub(crate) fn start(
    worker: &Rc<Worker>,
    held: Held,
    route: Arc<Route>,
    opener: Opener,
    upgrades: (OnUpgrade, OnUpgrade),
) {
    // Listed before the client knows that it is open: an order to cut it may come with the next byte.
    let cut = worker.cut.child_token();
    let listed = worker.shared.websockets.list(opener, Arc::clone(&route), cut.clone());
    let running = run(Rc::clone(worker), held, route, (cut, listed), upgrades);
    spawn_local(worker.tasks.track_future(running));
}

async fn run(
    worker: Rc<Worker>,
    mut held: Held,
    route: Arc<Route>,
    (cut, _listed): (CancellationToken, Listed),
    (from_client, from_target): (OnUpgrade, OnUpgrade),
) {
    let upgraded = tokio::select! {
        upgraded = async { tokio::try_join!(from_client, from_target) } => upgraded,
        () = cut.cancelled() => return,
    };
    let (from_client, from_target) = match upgraded {
        Ok(upgraded) => upgraded,
        Err(error) => return debug!(route = %route.key, %error, "websocket was not opened"),
    };
    let (client_stream, client_bytes) = if held.guest.client.multiplexed {
        (Stream::Multiplexed(Box::new(TokioIo::new(from_client))), Bytes::new())
    } else {
        let Some((stream, bytes)) = plain::<ClientIo>(from_client) else { return };
        (stream.into_stream(), bytes)
    };
    let Some((target_stream, target_bytes)) = plain::<UpstreamIo>(from_target) else { return };
    let _open = OpenGauge::new(&worker.stats.open_websockets);
    route.activity.touch();
    // On HTTP/2 the bytes are counted where those of the connection are.
    let elsewhere = Tally::default();
    let (received, sent) = if held.guest.client.multiplexed {
        (&elsewhere, &elsewhere)
    } else {
        (&worker.stats.received_bytes, &worker.stats.sent_bytes)
    };
    // What came with the head of the client's request was counted there.
    sent.add(target_bytes.len() as u64);
    let mut tunnel = Tunnel {
        patience: worker.settings().timeouts.half_closed,
        silence: None,
        stuck: None,
        ends: (client_stream, target_stream),
        up: Direction::new(client_bytes, received),
        down: Direction::new(target_bytes, sent),
    };
    let joined = poll_fn(|cx| {
        let polled = tunnel.poll(cx, &worker, &route);
        if let Some(entry) = &mut held.entry {
            entry.bytes += std::mem::take(&mut tunnel.down.passed);
        }
        polled
    });
    let end = tokio::select! {
        end = joined => end,
        () = cut.cancelled() => Ok(()),
    };
    match end {
        Err(error) => debug!(route = %route.key, %error, "websocket broke"),
        Ok(()) => {
            if let Some(farewell) = held.farewell.take() {
                // In vain when all is sent already.
                let _ = farewell.send(worker.settings().timeouts.half_closed);
            }
        }
    }
    drop(held);
}

/// The socket below an upgraded connection, with the bytes that were read beyond the head.
fn plain<S>(upgraded: Upgraded) -> Option<(S, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let parts = upgraded.downcast::<TokioIo<S>>();
    let parts = parts.inspect_err(|_| debug!("upgraded connection is of an unknown kind")).ok()?;
    // A copy, as even an empty one would keep hyper's whole buffer for as long as the websocket lives.
    Some((parts.io.into_inner(), Bytes::copy_from_slice(&parts.read_buf)))
}

struct Tunnel<'a> {
    /// How long the other side may be silent once one has ended, with the timer once it runs. A socket tells nobody
    /// that its peer is gone when there is nothing left to send to it.
    patience: Duration,
    silence: Option<Pin<Box<Sleep>>>,
    /// Runs once a receiver was too slow, and looks from time to time whether it still takes something.
    stuck: Option<Pin<Box<Sleep>>>,
    ends: (Stream, UpstreamIo),
    up: Direction<'a>,
    down: Direction<'a>,
}

impl Tunnel<'_> {
    /// Ready when both directions have ended, or one has failed.
    fn poll(&mut self, cx: &mut Context<'_>, worker: &Worker, route: &Route) -> Poll<io::Result<()>> {
        let mut scratch = worker.scratch.borrow_mut();
        let (client, target) = &mut self.ends;
        let up = self.up.poll(cx, client, target, &mut scratch, route)?;
        let down = self.down.poll(cx, target, client, &mut scratch, route)?;
        drop(scratch);
        match (up.is_ready(), down.is_ready()) {
            (true, true) => return Poll::Ready(Ok(())),
            (false, false) => {}
            _ if self.poll_silence(cx).is_ready() => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            _ => {}
        }
        self.poll_stuck(cx, worker).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ready when one side has taken nothing for too long of what waits for it.
    fn poll_stuck(&mut self, cx: &mut Context<'_>, worker: &Worker) -> Poll<()> {
        let limit = worker.settings().timeouts.stuck;
        let mut longest = None;
        for direction in [&mut self.up, &mut self.down] {
            let waits = direction.waits_since(|| worker.now());
            longest = longest.into_iter().chain(waits).min();
        }
        if longest.is_none() && self.stuck.is_none() {
            return Poll::Pending;
        }
        let timer = self.stuck.get_or_insert_with(|| Box::pin(sleep(limit)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let Some(since) = longest else {
                self.stuck = None;
                return Poll::Pending;
            };
            let waited = Duration::from_millis(worker.now().saturating_sub(since));
            match limit.checked_sub(waited).filter(|left| !left.is_zero()) {
                Some(left) => timer.as_mut().reset(Instant::now() + left),
                None => return Poll::Ready(()),
            }
        }
    }

    /// Ready when one side has ended, and the other one has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let moved = std::mem::take(&mut self.up.moved) | std::mem::take(&mut self.down.moved);
        let patience = self.patience;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(patience)));
        if moved {
            silence.as_mut().reset(Instant::now() + patience);
        }
        silence.as_mut().poll(cx)
    }
}

/// One direction of a tunnel.
#[derive(Debug)]
struct Direction<'a> {
    /// Read, and not yet taken by the receiver.
    pending: Bytes,
    state: DirectionState,
    unflushed: bool,
    /// Bytes came or went since somebody looked.
    moved: bool,
    /// Bytes read since somebody looked.
    passed: u64,
    /// Whether the receiver has to take something before the sender is heard again, and since when it has taken
    /// nothing, in milliseconds of the worker.
    blocked: bool,
    blocked_since: Option<u64>,
    bytes: &'a Tally,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DirectionState {
    Open,
    /// The sender has ended; the receiver is to be told.
    Ending,
    Done,
}

impl<'a> Direction<'a> {
    fn new(pending: Bytes, bytes: &'a Tally) -> Self {
        // What came together with the head of the answer has passed as well.
        let passed = pending.len() as u64;
        Self {
            pending,
            state: DirectionState::Open,
            unflushed: false,
            moved: false,
            passed,
            blocked: false,
            blocked_since: None,
            bytes,
        }
    }

    /// Since when the receiver has taken nothing of what waits for it.
    fn waits_since(&mut self, now: impl FnOnce() -> u64) -> Option<u64> {
        if self.blocked {
            return Some(*self.blocked_since.get_or_insert_with(now));
        }
        self.blocked_since = None;
        None
    }

    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        scratch: &mut [u8],
        route: &Route,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut moved = 0;
        self.blocked = true;
        loop {
            while !self.pending.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.pending))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.pending.advance(written);
                self.moved = true;
                self.blocked_since = None;
                self.unflushed = true;
                if self.pending.is_empty() {
                    // Only a new value lets go of the memory.
                    self.pending = Bytes::new();
                }
            }
            match self.state {
                DirectionState::Done => {
                    self.blocked = false;
                    return Poll::Ready(Ok(()));
                }
                DirectionState::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = DirectionState::Done;
                    self.blocked = false;
                    return Poll::Ready(Ok(()));
                }
                DirectionState::Open => {}
            }
            if moved >= TURN {
                self.blocked = false;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut *from).poll_read(cx, &mut buffer) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    if self.unflushed {
                        ready!(Pin::new(&mut *to).poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    self.blocked = false;
                    return Poll::Pending;
                }
            }
            let bytes = buffer.filled();
            if bytes.is_empty() {
                self.state = DirectionState::Ending;
                continue;
            }
            route.activity.touch();
            moved += bytes.len();
            self.moved = true;
            self.passed += bytes.len() as u64;
            self.bytes.add(bytes.len() as u64);
            match Pin::new(&mut *to).poll_write(cx, bytes) {
                Poll::Ready(written) => {
                    let written = written?;
                    self.unflushed = true;
                    self.blocked_since = None;
                    if let Some(rest) = bytes.get(written..)
                        && !rest.is_empty()
                    {
                        self.pending = Bytes::copy_from_slice(rest);
                    }
                }
                Poll::Pending => self.pending = Bytes::copy_from_slice(bytes),
            }
        }
    }
}

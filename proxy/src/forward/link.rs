//! A connection to a target, driven by whoever waits for it.
//!
//! hyper parts a connection into a sender of requests and a future that does the work. In a task of its own that future
//! costs each request several changes of tasks, so it is kept beside the sender and polled where the answer is awaited:
//! within the task of the client's connection. An idle connection is not polled at all; whether its target has closed
//! it is found out when it is taken, and by the worker's sweeper.
//!
//! Two things need a task beside the answer. A request body must go on while the client does not read the answer: the
//! task ends with the exchange. And a connection that becomes a websocket leaves hyper by itself.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{Request, Response};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;
use tracing::debug;

use super::{body::RequestBody, upstream::UpstreamIo};

/// Bytes of an answer that may be passed on in one go before other connections get their turn.
const BURST: usize = 64 * 1024;

type Connection = http1::Connection<TokioIo<UpstreamIo>, RequestBody>;
type Sent = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// A connection to a target.
#[derive(Debug)]
pub(crate) struct Link {
    sender: http1::SendRequest<RequestBody>,
    engine: Rc<Engine>,
    /// Bytes passed on in one go so far.
    burst: usize,
}

/// Who polls the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    /// Whoever uses the link.
    User,
    /// The task of this number, until the link is idle.
    Task(u64),
    /// A task, to the end.
    Other,
}

#[derive(Debug)]
struct Engine {
    /// `None` once it has ended or left for a task of its own.
    connection: RefCell<Option<Connection>>,
    driver: Cell<Driver>,
    tasks: Cell<u64>,
    bell: Arc<Bell>,
    /// Rings the bell; the one waker that the connection ever sees, so that a socket need not learn a new one each time.
    waker: Waker,
}

/// Wakes whoever drives at this moment; nobody while the link is idle or in the hands of its user.
///
/// The two halves of hyper's connection wake each other. Where one task has both that would be another turn of it for
/// nothing, so its waker is here only while it waits.
#[derive(Debug, Default)]
struct Bell(AtomicWaker);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake();
    }
}

impl Engine {
    /// Drives the connection as far as it goes; ready once it has ended.
    fn poll(&self) -> Poll<()> {
        let mut slot = self.connection.borrow_mut();
        let Some(connection) = slot.as_mut() else { return Poll::Ready(()) };
        match Pin::new(connection).poll(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(end) => {
                *slot = None;
                if let Err(error) = end {
                    debug!(%error, "target connection ended");
                }
                Poll::Ready(())
            }
        }
    }

    /// The same for a task that waits for what happens next.
    fn poll_for(&self, cx: &Context<'_>) -> Poll<()> {
        self.bell.0.register(cx.waker());
        self.poll()
    }
}

impl Link {
    pub(super) fn new(sender: http1::SendRequest<RequestBody>, connection: Connection) -> Self {
        let bell = Arc::<Bell>::default();
        let engine = Engine {
            connection: RefCell::new(Some(connection)),
            driver: Cell::new(Driver::User),
            tasks: Cell::new(0),
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        };
        Self { sender, engine: Rc::new(engine), burst: 0 }
    }

    fn is_driven_here(&self) -> bool {
        self.engine.driver.get() == Driver::User
    }

    /// Sends a request and waits for the head of the answer. With `upgrade` the connection may become another protocol's.
    ///
    /// The request is handed over before the future is made, and hyper's part of it, which has room for a request to be
    /// given back, lies in a box: futures are moved, and what they hold with them.
    pub(super) fn exchange(
        &mut self,
        request: Request<RequestBody>,
        upgrade: bool,
    ) -> impl Future<Output = Sent> + use<> {
        if upgrade {
            self.let_go();
        } else if !request.body().is_end_stream() {
            self.drive_aside();
        }
        let driven = self.is_driven_here().then(|| Rc::clone(&self.engine));
        let mut sending = Box::pin(self.sender.try_send_request(request));
        async move {
            let Some(engine) = driven else { return sending.await };
            let quiet = &mut Context::from_waker(Waker::noop());
            poll_fn(|cx| {
                // The answer arrives by nothing else than this.
                let _ = engine.poll_for(cx);
                let polled = sending.as_mut().poll(quiet);
                if polled.is_ready() {
                    engine.bell.0.take();
                }
                polled
            })
            .await
        }
    }

    /// The next part of the answer's body.
    pub(super) fn poll_frame(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if !self.is_driven_here() {
            return Pin::new(incoming).poll_frame(cx);
        }
        let quiet = &mut Context::from_waker(Waker::noop());
        let mut polled = Pin::new(&mut *incoming).poll_frame(quiet);
        if polled.is_pending() {
            if self.burst >= BURST {
                self.burst = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let _ = self.engine.poll_for(cx);
            polled = Pin::new(incoming).poll_frame(quiet);
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.burst += frame.data_ref().map_or(0, Bytes::len),
            _ => self.burst = 0,
        }
        if polled.is_ready() {
            self.engine.bell.0.take();
        }
        polled
    }

    /// Whether another request may be sent, as far as is known.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether the connection serves no further request, as far as is known.
    pub(super) fn is_spent(&self) -> bool {
        self.sender.is_closed() || (self.is_driven_here() && !self.is_ready())
    }

    /// Looks whether the connection still stands.
    pub(super) fn is_open(&self) -> bool {
        if self.is_driven_here() && self.engine.poll().is_ready() {
            return false;
        }
        !self.sender.is_closed()
    }

    /// To be called when the link lies idle: no task drives it any more.
    pub(super) fn rest(&mut self) {
        self.burst = 0;
        if matches!(self.engine.driver.get(), Driver::Task(_)) && self.is_ready() {
            self.engine.driver.set(Driver::User);
            self.engine.bell.0.wake();
        }
    }

    /// Closes the connection in its own time: TLS says farewell.
    pub(super) fn close(self) {
        self.drive_aside();
    }

    /// Has a task drive the connection for as long as it is not idle.
    fn drive_aside(&self) {
        if !self.is_driven_here() {
            return;
        }
        let number = self.engine.tasks.get() + 1;
        self.engine.tasks.set(number);
        self.engine.driver.set(Driver::Task(number));
        let engine = Rc::clone(&self.engine);
        spawn_local(poll_fn(move |cx| {
            if engine.driver.get() == Driver::Task(number) { engine.poll_for(cx) } else { Poll::Ready(()) }
        }));
    }

    /// Gives the connection to a task, where it may become another protocol's.
    fn let_go(&self) {
        self.engine.driver.set(Driver::Other);
        if let Some(connection) = self.engine.connection.take() {
            spawn_local(async move {
                if let Err(error) = connection.with_upgrades().await {
                    debug!(%error, "target connection ended");
                }
            });
        }
    }
}

//! A client's socket as hyper reads it: followed by the framing check and able to survive a half-close.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{client::Client, framing::Framing, stream::Stream};
use crate::metrics::WorkerStats;

#[derive(Debug)]
pub(crate) struct ClientIo {
    stream: Stream,
    client: Arc<Client>,
    /// Only HTTP/1 needs a second look at where requests end.
    framing: Option<Framing>,
    stats: Arc<WorkerStats>,
}

impl ClientIo {
    pub(crate) fn new(
        stream: Stream,
        client: Arc<Client>,
        head_limit: usize,
        stats: Arc<WorkerStats>,
    ) -> Self {
        let framing = (!client.multiplexed).then(|| Framing::new(head_limit));
        Self { stream, client, framing, stats }
    }

    /// The plain stream, after an upgrade.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.client.is_half_closed() {
            // The end of input was seen and hyper will close when all is answered; told of the end, it would give
            // up what is not flushed yet. What can still be learned is that the client is gone altogether.
            return match this.stream.take_error() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            };
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        this.stats.received_bytes.add(read.len() as u64);
        let Some(framing) = &mut this.framing else {
            this.client.note_io();
            return Poll::Ready(Ok(()));
        };
        if read.is_empty() {
            if framing.may_end() && this.client.awaits_answer() {
                this.client.half_close();
                return Poll::Pending;
            }
            return Poll::Ready(Ok(()));
        }
        let seen = framing.feed(read);
        this.client.note_read(framing.heads(), framing.within_head(), seen.fault);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.client.note_blocked(polled.is_pending());
        let written = ready!(polled)?;
        this.client.note_io();
        this.stats.sent_bytes.add(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.client.note_blocked(polled.is_pending());
        let written = ready!(polled)?;
        this.client.note_io();
        this.stats.sent_bytes.add(written as u64);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.client.note_blocked(polled.is_pending());
        polled
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

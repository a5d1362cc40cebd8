//! The byte streams that the proxy speaks over.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// Most bytes that are joined before they are written.
const JOINED: usize = 2048;

/// A connection, whichever way it came.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    TlsServer(Box<tokio_rustls::server::TlsStream<Stream>>),
    TlsClient(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// One request of an HTTP/2 connection that became a websocket.
    Multiplexed(Box<TokioIo<Upgraded>>),
}

impl Stream {
    /// The error that the system noted for the socket since the last look, if any.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
            Self::TlsServer(stream) => return stream.get_ref().0.take_error(),
            Self::TlsClient(stream) => stream.get_ref().0.take_error(),
            Self::Multiplexed(_) => return None,
        }
        .unwrap_or_else(Some)
    }
}

macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::TlsServer($stream) => $call,
            Stream::TlsClient($stream) => $call,
            Stream::Multiplexed($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let [whole] = slices {
            // The system has a shorter way for one piece.
            return Pin::new(this).poll_write(cx, whole);
        }
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        if let Self::Tcp(stream) = this
            && total <= JOINED
        {
            // A head with a small body: copying them is cheaper than what the system does for several pieces.
            let mut joined = [0; JOINED];
            let mut end = 0;
            for slice in slices {
                let (from, to) = (end, end + slice.len());
                if let Some(part) = joined.get_mut(from..to) {
                    part.copy_from_slice(slice);
                    end = to;
                }
            }
            return Pin::new(stream).poll_write(cx, joined.get(..end).unwrap_or_default());
        }
        each!(this, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

//! What two processes say to each other: sockets, then JSON in frames of known length.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{routes::SavedRoute, server::Cut};

/// Both sides must speak the same version.
pub(super) const VERSION: u32 = 1;
/// Largest frame: some hundred thousand routes.
const MAX_FRAME: usize = 256 * 1024 * 1024;
/// Sockets in one message, and in all.
const BATCH: usize = 64;
const MAX_SOCKETS: usize = 16 * 1024;

/// From the new process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromNew {
    Hello {
        version: u32,
        pid: u32,
    },
    /// Everything is bound; connections and changes of routes may pause.
    Ready,
    /// Connections are being taken.
    Serving,
    /// For websockets that stayed behind.
    Cut(Cut),
}

/// From the old process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromOld {
    /// All routes; none is changed any more.
    Routes(Vec<SavedRoute>),
    /// When routes were last used by connections that stayed behind: key and milliseconds.
    Activity(Vec<(String, i64)>),
}

pub(super) fn send(mut stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&bytes)
}

pub(super) fn receive<T: DeserializeOwned>(mut stream: &UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
    }
    let mut bytes = Vec::new();
    stream.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&bytes)?)
}

/// Sends sockets: their number, then batches of them, each with one byte.
pub(super) fn send_sockets(mut stream: &UnixStream, sockets: &[OwnedFd]) -> io::Result<()> {
    let count = u32::try_from(sockets.len()).map_err(io::Error::other)?;
    stream.write_all(&count.to_be_bytes())?;
    for batch in sockets.chunks(BATCH) {
        let batch: Vec<BorrowedFd<'_>> = batch.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&batch)) {
            return Err(io::Error::other("too many sockets for one message"));
        }
        sendmsg(stream, &[IoSlice::new(b"s")], &mut control, SendFlags::empty())?;
    }
    Ok(())
}

pub(super) fn receive_sockets(mut stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut count = [0; 4];
    stream.read_exact(&mut count)?;
    let count = u32::from_be_bytes(count) as usize;
    if count > MAX_SOCKETS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too many sockets"));
    }
    let mut sockets = Vec::with_capacity(count);
    while sockets.len() < count {
        let before = sockets.len();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let got = recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(batch) = message {
                sockets.extend(batch);
            }
        }
        if got.bytes == 0 || sockets.len() == before {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_messages_arrive_in_order() {
        let (one, two) = UnixStream::pair().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sockets: Vec<OwnedFd> = (0..150).map(|_| listener.try_clone().unwrap().into()).collect();
        let sending = std::thread::spawn(move || {
            send_sockets(&one, &sockets).unwrap();
            send(&one, &FromOld::Activity(vec![("/a".to_owned(), 7)])).unwrap();
        });
        let received = receive_sockets(&two).unwrap();
        assert_eq!(received.len(), 150);
        for socket in received {
            assert_eq!(std::net::TcpListener::from(socket).local_addr().unwrap(), address);
        }
        assert!(matches!(receive(&two).unwrap(), FromOld::Activity(seen) if seen == [("/a".to_owned(), 7)]));
        sending.join().unwrap();
        assert!(receive::<FromNew>(&two).is_err(), "the other side is gone");
    }

    #[test]
    fn nonsense_is_an_error_and_not_a_wait_for_gigabytes() {
        let (mut one, two) = UnixStream::pair().unwrap();
        one.write_all(&[0xff; 8]).unwrap();
        assert_eq!(receive::<FromNew>(&two).unwrap_err().kind(), io::ErrorKind::InvalidData);
        one.write_all(&[0xff; 4]).unwrap();
        assert_eq!(receive_sockets(&two).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

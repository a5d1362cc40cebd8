//! Clients: plain blocking connections, each in a thread of its own.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};

const PATIENCE: Duration = Duration::from_mins(1);

/// A connection to a proxy.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// With a buffer for large bodies.
    pub(super) fn open(address: SocketAddr) -> Result<Self> {
        Self::with_buffer(address, 256 * 1024)
    }

    /// For heads and small messages, where many are open.
    pub(super) fn small(address: SocketAddr) -> Result<Self> {
        Self::with_buffer(address, 4 * 1024)
    }

    fn with_buffer(address: SocketAddr, size: usize) -> Result<Self> {
        let stream = TcpStream::connect(address).context("the proxy cannot be reached")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: vec![0; size] })
    }

    /// Sends a request and reads its answer; the status and the size of the body.
    pub(super) fn ask(&mut self, request: &[u8]) -> Result<(u16, usize)> {
        self.stream.write_all(request)?;
        self.answer()
    }

    fn answer(&mut self) -> Result<(u16, usize)> {
        let (status, length, _) = self.whole_answer()?;
        Ok((status, length))
    }

    /// Status, length of the body, and head in lower case.
    fn whole_answer(&mut self) -> Result<(u16, usize, String)> {
        let mut read = 0;
        let (end, status, length, head) = loop {
            let free = self.buffer.get_mut(read..).context("the head of an answer is too long")?;
            let count = self.stream.read(free)?;
            if count == 0 {
                bail!("the connection ended before the answer");
            }
            read += count;
            let seen = self.buffer.get(..read).unwrap_or_default();
            if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(seen.get(..end).unwrap_or_default()).to_ascii_lowercase();
                let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length:"))
                    .and_then(|length| length.trim().parse::<usize>().ok());
                break (end + 4, status, length.unwrap_or(0), head);
            }
        };
        let mut body = read - end;
        while body < length && status != 101 {
            let count = self.stream.read(&mut self.buffer)?;
            if count == 0 {
                bail!("the connection ended within the answer");
            }
            body += count;
        }
        Ok((status, length, head))
    }

    /// Opens a websocket.
    pub(super) fn upgrade(&mut self, path: &str) -> Result<()> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        match self.ask(request.as_bytes())?.0 {
            101 => Ok(()),
            status => bail!("a websocket was answered {status}"),
        }
    }

    /// Sends bytes and waits for them to come back.
    pub(super) fn echo(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)?;
        let mut back = vec![0; bytes.len()];
        self.stream.read_exact(&mut back)?;
        if back != bytes {
            bail!("other bytes came back");
        }
        Ok(())
    }

    /// Sends a body of `size` bytes to `path`.
    pub(super) fn send_large(&mut self, path: &str, size: usize) -> Result<u16> {
        let head = format!("POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {size}\r\n\r\n");
        self.stream.write_all(head.as_bytes())?;
        let block = vec![b'y'; 256 * 1024];
        for _ in 0..size / block.len() {
            self.stream.write_all(&block)?;
        }
        Ok(self.answer()?.0)
    }

    /// Sends a body of `gibibytes` and a bit, calling `watch` now and then, and makes sure that the target received all
    /// of it.
    pub(super) fn send_huge(&mut self, gibibytes: u64, chunked: bool, mut watch: impl FnMut()) -> Result<()> {
        const BLOCK: u64 = 256 * 1024;
        let blocks = gibibytes * 1024 * 1024 * 1024 / BLOCK + 1;
        let size = blocks * BLOCK;
        let mut block = vec![b'y'; usize::try_from(BLOCK)?];
        let mut framing = format!("Content-Length: {size}");
        if chunked {
            block = [format!("{BLOCK:x}\r\n").as_bytes(), &block, b"\r\n"].concat();
            "Transfer-Encoding: chunked".clone_into(&mut framing);
        }
        let head = format!("POST /counted HTTP/1.1\r\nHost: bench\r\n{framing}\r\n\r\n");
        self.stream.write_all(head.as_bytes())?;
        for number in 0..blocks {
            self.stream.write_all(&block)?;
            if number % 256 == 0 {
                watch();
            }
        }
        if chunked {
            self.stream.write_all(b"0\r\n\r\n")?;
        }
        let (status, _, head) = self.whole_answer()?;
        let received = head.lines().find_map(|line| line.strip_prefix("x-received:"));
        let received = received.and_then(|count| count.trim().parse::<u64>().ok());
        if (status, received) != (200, Some(size)) {
            bail!("of {size} bytes the target received {received:?}, status {status}");
        }
        Ok(())
    }
}

pub(super) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n").into_bytes()
}

/// Runs `work` on `connections` connections until `total` units are done. `measured` is called when all are open
/// and warm, and again at the end.
pub(super) fn spread<T>(
    address: SocketAddr,
    connections: u32,
    total: u32,
    prepare: impl Fn(&mut Connection) -> Result<()> + Sync,
    work: impl Fn(&mut Connection) -> Result<()> + Sync,
    measured: impl Fn() -> Result<T>,
) -> Result<(T, T)> {
    let ready = Barrier::new(connections as usize + 1);
    let go = Barrier::new(connections as usize + 1);
    let left = AtomicU32::new(total);
    std::thread::scope(|scope| {
        let one = || -> Result<()> {
            let prepared = Connection::open(address).and_then(|mut connection| {
                prepare(&mut connection)?;
                work(&mut connection)?;
                Ok(connection)
            });
            ready.wait();
            go.wait();
            let mut connection = prepared?;
            while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                work(&mut connection)?;
            }
            Ok(())
        };
        let builders = (0..connections).map(|_| std::thread::Builder::new().stack_size(256 * 1024));
        let threads = builders
            .map(|builder| builder.spawn_scoped(scope, one))
            .collect::<std::io::Result<Vec<_>>>()
            .context("the clients' threads cannot be started")?;
        ready.wait();
        let before = measured()?;
        go.wait();
        for thread in threads {
            match thread.join() {
                Ok(done) => done?,
                Err(_) => bail!("a client panicked"),
            }
        }
        Ok((before, measured()?))
    })
}

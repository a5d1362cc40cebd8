//! The target behind the proxies: a thread for each connection, in a process of its own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;

use crate::command::{free_port, wait_for};

/// Size of a large body.
pub(super) const LARGE: usize = 64 * 1024 * 1024;
pub(super) const SMALL: usize = 1024;

#[derive(Debug, Args)]
pub(crate) struct UpstreamArgs {
    /// Port to listen on
    #[arg(long)]
    port: u16,
}

/// Serves until it is killed.
pub(crate) fn serve(args: &UpstreamArgs) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", args.port))?;
    for stream in listener.incoming() {
        let stream = stream?;
        let builder = std::thread::Builder::new().stack_size(256 * 1024);
        // A connection that breaks is the client's affair.
        builder.spawn(move || drop(answer(&stream)))?;
    }
    Ok(())
}

fn answer(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    let mut writer = stream;
    let block = vec![b'x'; 256 * 1024];
    loop {
        let mut length = Some(0);
        let mut upgrade = false;
        let mut first = String::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let lower = line.trim_end().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            if first.is_empty() {
                first = line;
            } else if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            } else if lower.starts_with("transfer-encoding:") {
                length = None;
            } else if lower.starts_with("upgrade:") {
                upgrade = true;
            }
        }
        if upgrade {
            writer.write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            )?;
            let mut buffer = [0; 4096];
            loop {
                let count = reader.read(&mut buffer)?;
                if count == 0 {
                    return Ok(());
                }
                writer.write_all(buffer.get(..count).unwrap_or_default())?;
            }
        }
        let received = match length {
            Some(length) => std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?,
            None => chunked(&mut reader)?,
        };
        if first.contains("/counted") {
            let count = received.to_string();
            write!(writer, "HTTP/1.1 200 OK\r\nX-Received: {count}\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let size = if first.contains("/large") { LARGE } else { SMALL };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
        );
        if size == SMALL {
            let mut whole = head.into_bytes();
            whole.extend_from_slice(block.get(..SMALL).unwrap_or_default());
            writer.write_all(&whole)?;
            continue;
        }
        writer.write_all(head.as_bytes())?;
        for _ in 0..size / block.len() {
            writer.write_all(&block)?;
        }
    }
}

/// Reads a body in chunks; its size.
fn chunked(reader: &mut impl BufRead) -> std::io::Result<u64> {
    let mut received = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(std::io::Error::other)?;
        received += std::io::copy(&mut reader.take(size), &mut std::io::sink())?;
        // The end of the chunk; of the last one, the end of the trailers, which nobody sends here.
        reader.read_line(&mut line)?;
        if size == 0 {
            return Ok(received);
        }
    }
}

/// A running target; killed when dropped.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    child: Child,
}

impl Upstream {
    pub(super) fn start() -> Result<Self> {
        Self::start_at(free_port()?)
    }

    pub(super) fn start_at(port: u16) -> Result<Self> {
        let program = std::env::current_exe().context("this program has a path")?;
        let mut command = Command::new(program);
        command.args(["bench", "upstream", "--port", &port.to_string()]);
        let child = command.stdin(Stdio::null()).spawn().context("the target cannot be started")?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let started = Self { address, child };
        wait_for("the target", Duration::from_secs(10), || Ok(TcpStream::connect(address).ok()))?;
        Ok(started)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

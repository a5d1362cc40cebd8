//! A plain HTTP client with one kept connection, so that what is measured is the hub.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// One kept connection to a hub, with a token.
#[derive(Debug)]
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    token: &'static str,
}

impl Client {
    pub(super) fn connect(port: u16, token: &'static str) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), token })
    }

    /// Asks for a path below `/hub/api`. The status and the length of the answer, whose body is read and dropped.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, u64)> {
        let request = format!(
            "{method} /hub/api{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status =
            self.line()?.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().context("a length that is no number")?;
            }
            chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        }
        if !chunked {
            self.skip(length)?;
            return Ok((status, length));
        }
        let mut sum = 0;
        loop {
            let size = u64::from_str_radix(self.line()?.trim(), 16).context("a chunk without a size")?;
            self.skip(size)?;
            self.line()?;
            sum += size;
            if size == 0 {
                return Ok((status, sum));
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the hub has closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        let read = std::io::copy(&mut self.stream.by_ref().take(length), &mut std::io::sink())?;
        ensure!(read == length, "a body that is cut off");
        Ok(())
    }
}

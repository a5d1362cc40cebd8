//! The lines of a watch, one JSON object each.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use kube::client::Body;

use super::error::ApiError;

/// Longest line. Objects of a cluster have at most 1.5 MiB.
const LONGEST: usize = 8 << 20;

/// The lines of one answer, as they come.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of a line.
    searched: usize,
}

impl Lines {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line; none when the answer has ended. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.buffer.len() > LONGEST {
                return Err(ApiError::Unreachable("a line of the watch has no end".to_owned()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => {
                    return Err(ApiError::Unreachable(format!("the watch broke off: {error}")));
                }
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(at) = rest.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                return None;
            };
            let line = self.buffer.split_to(self.searched + at).freeze();
            self.buffer.advance(1);
            self.searched = 0;
            if !line.is_empty() {
                return Some(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_told_apart_wherever_they_were_cut() {
        let body = Body::from(b"{\"a\":1}\n\n{\"b\":2}\n{\"c\"".to_vec());
        let mut lines = Lines::new(body);
        assert_eq!(lines.next().await.unwrap().as_deref(), Some(&b"{\"a\":1}"[..]));
        assert_eq!(lines.next().await.unwrap().as_deref(), Some(&b"{\"b\":2}"[..]));
        assert_eq!(lines.next().await.unwrap(), None, "half a line is none");
    }
}

//! What services of tests read of a request.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The head of a request, up to the empty line, or what came of it.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => head.extend(chunk.iter().take(read)),
        }
    }
    head
}

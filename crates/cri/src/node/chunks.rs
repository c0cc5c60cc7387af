//! A client's stream of chunks, on a bounded channel.

use std::io;

use tokio::sync::mpsc;
use tonic::Streaming;

/// Sends the chunks of `parts` to `to`, until the stream's end, an error of it or that nobody takes
/// them any more. `chunk` answers `None` for a message that holds none, which is an error.
pub(super) fn forward<M: Send + 'static>(
    mut parts: Streaming<M>,
    to: mpsc::Sender<Result<Vec<u8>, io::Error>>,
    chunk: fn(M) -> Option<Vec<u8>>,
) {
    tokio::spawn(async move {
        loop {
            let chunk = match parts.message().await {
                Ok(Some(message)) => chunk(message).ok_or_else(|| {
                    let what = "the client sent a message without a chunk";
                    io::Error::new(io::ErrorKind::InvalidData, what)
                }),
                Ok(None) => return,
                Err(status) => Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the client's stream broke: {}", status.message()),
                )),
            };
            let last = chunk.is_err();
            // Nobody takes more when the work has failed.
            if to.send(chunk).await.is_err() || last {
                return;
            }
        }
    });
}

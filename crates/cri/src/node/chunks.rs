//! A client's stream of chunks, on a bounded channel.

use std::io;

use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Response, Streaming};

use super::{Answer, Answers};
use crate::{error::Error, v1::status};

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

/// Chunks on their way to a client, as its stream of answers. What fails before the first byte is
/// the call's own failure.
pub(super) async fn answer<M: Send + 'static>(
    chunks: mpsc::Receiver<Result<Vec<u8>, Error>>,
    message: fn(Vec<u8>) -> M,
) -> Answer<Answers<M>> {
    let mut chunks = ReceiverStream::new(chunks);
    let first = match chunks.next().await {
        Some(Err(error)) => return Err(status::from(&error)),
        first => first,
    };
    let chunks = tokio_stream::iter(first).chain(chunks);
    #[expect(clippy::result_large_err, reason = "the transport's own type")]
    let told = move |chunk: Result<Vec<u8>, Error>| {
        chunk.map(message).map_err(|error| status::from(&error))
    };
    Ok(Response::new(Box::pin(chunks.map(told))))
}

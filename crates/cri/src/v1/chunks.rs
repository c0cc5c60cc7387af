//! A list as a stream of answers, each far below the 16 MiB at which clients give up.

use cri_api::Message;
use tokio_stream::Iter;
use tonic::Status;

/// Bytes of things in one answer; a thing that is larger has an answer of its own.
const BYTES: usize = 1 << 20;

/// The answers.
pub(super) type Chunks<R> = Iter<std::vec::IntoIter<Result<R, Status>>>;

/// Cuts a list into answers. An empty list is a stream without any.
pub(super) fn of<T: Message, R>(things: Vec<T>, answer: impl Fn(Vec<T>) -> R) -> Chunks<R> {
    let mut answers = Vec::new();
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    for thing in things {
        let size = thing.encoded_len();
        if !chunk.is_empty() && bytes + size > BYTES {
            answers.push(Ok(answer(std::mem::take(&mut chunk))));
            bytes = 0;
        }
        bytes += size;
        chunk.push(thing);
    }
    if !chunk.is_empty() {
        answers.push(Ok(answer(chunk)));
    }
    tokio_stream::iter(answers)
}

#[cfg(test)]
mod tests {
    use cri_api::v1::PodSandbox;
    use tokio_stream::StreamExt;

    use super::*;

    fn pod(bytes: usize) -> PodSandbox {
        PodSandbox {
            id: "x".repeat(bytes),
            ..PodSandbox::default()
        }
    }

    async fn sizes(pods: Vec<PodSandbox>) -> Vec<usize> {
        of(pods, |chunk| chunk.len())
            .map(Result::unwrap)
            .collect()
            .await
    }

    #[tokio::test]
    async fn nothing_is_lost_and_no_answer_is_large() {
        assert_eq!(sizes(vec![]).await, [0; 0]);
        assert_eq!(sizes(vec![pod(10)]).await, [1]);
        assert_eq!(sizes(vec![pod(400_000); 5]).await, [2, 2, 1]);
        assert_eq!(sizes(vec![pod(1), pod(2 << 20), pod(1)]).await, [1, 1, 1]);
    }
}

//! Frames that no client of ours sends: each gets its answer, and harms its own connection at most.
#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod common;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use agent_api::grpc;
use agent_api::ttrpc::proto::Codec as _;
use agent_api::ttrpc::{Code, Request, Response};
use common::{Calls, Pod, soon};

/// A connection without a client.
struct Raw(UnixStream);

impl Raw {
    fn to(pod: &Pod) -> Self {
        let stream = sys::socket::connect(&pod.socket()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self(stream)
    }

    fn frame(&mut self, length: u32, stream: u32, kind: u8, payload: &[u8]) {
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend(stream.to_be_bytes());
        frame.extend([kind, 0]);
        frame.extend(payload);
        self.0.write_all(&frame).unwrap();
    }

    fn call(&mut self, stream: u32, service: &str, method: &str, payload: &[u8]) {
        let request = Request {
            service: service.into(),
            method: method.into(),
            payload: payload.to_vec(),
            ..Request::default()
        };
        let bytes = request.encode().unwrap();
        self.frame(u32::try_from(bytes.len()).unwrap(), stream, 1, &bytes);
    }

    /// The next answer: its stream, code and text.
    fn answer(&mut self) -> (u32, i32, String) {
        let mut header = [0; 10];
        self.0.read_exact(&mut header).unwrap();
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        let mut payload = vec![0; usize::try_from(number(0)).unwrap()];
        self.0.read_exact(&mut payload).unwrap();
        let status = Response::decode(&payload)
            .unwrap()
            .status
            .unwrap_or_default();
        (number(4), status.code, status.message)
    }
}

async fn healthy(calls: &Calls) {
    let check = grpc::CheckRequest::default();
    calls.health.check(soon(), &check).await.unwrap();
}

#[tokio::test]
async fn odd_frames_are_answered_and_the_connection_goes_on() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let mut raw = Raw::to(&pod);
    let invalid = i32::from(Code::INVALID_ARGUMENT);
    raw.call(1, "no.Service", "Check", b"");
    let (stream, code, text) = raw.answer();
    assert_eq!((stream, code), (1, invalid), "{text}");
    assert!(text.contains("no.Service"), "{text}");
    raw.call(3, "grpc.AgentService", "NoSuchCall", b"");
    let (stream, code, text) = raw.answer();
    assert_eq!(
        (stream, code),
        (3, i32::from(Code::UNIMPLEMENTED)),
        "{text}"
    );
    raw.call(4, "grpc.Health", "Check", b"");
    let (stream, code, text) = raw.answer();
    assert_eq!((stream, code), (4, invalid), "{text}");
    // Over the limit of 4 MiB: the body is passed over, the connection stays.
    let large = vec![b'x'; 5 << 20];
    raw.frame(5 << 20, 5, 1, &large);
    let (stream, code, text) = raw.answer();
    assert_eq!((stream, code), (5, invalid), "{text}");
    // A request that is none, and a call's message that is none.
    raw.frame(4, 7, 1, &[0xff; 4]);
    let (stream, code, _) = raw.answer();
    assert_eq!((stream, code), (7, invalid));
    raw.call(9, "grpc.AgentService", "CreateContainer", &[0xff; 9]);
    let (stream, code, text) = raw.answer();
    assert_eq!(stream, 9);
    assert_ne!(code, 0, "{text}");
    // Data for a stream that nobody opened, a frame of an unknown kind.
    raw.frame(1, 11, 3, b"x");
    let (stream, code, _) = raw.answer();
    assert_eq!((stream, code), (11, invalid));
    raw.frame(1, 13, 9, b"x");
    raw.call(15, "grpc.Health", "Check", b"");
    let (stream, code, text) = raw.answer();
    assert_eq!((stream, code), (15, 0), "{text}");
    healthy(&calls).await;
    pod.destroy(calls).await;
}

#[tokio::test]
async fn garbage_and_half_frames_end_their_own_connection() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let mut state = 0x2545_f491_u32;
    for round in 0..200 {
        let stream = sys::socket::connect(&pod.socket()).unwrap();
        let mut bytes = Vec::new();
        for _ in 0..(round % 64) {
            // Xorshift: the same garbage at every run.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            bytes.extend(state.to_ne_bytes());
        }
        // The agent may have closed it already.
        drop((&stream).write_all(&bytes));
    }
    let mut half = Raw::to(&pod);
    half.frame(100, 1, 1, b"not all of it");
    drop(half);
    // A call that nobody waits for any more is finished all the same.
    let mut gone = Raw::to(&pod);
    let request = grpc::CreateSandboxRequest {
        sandbox_id: pod.name.clone(),
        ..Default::default()
    };
    gone.call(
        1,
        "grpc.AgentService",
        "CreateSandbox",
        &request.encode().unwrap(),
    );
    assert_eq!(gone.answer().1, 0);
    drop(gone);
    healthy(&calls).await;
    pod.destroy(calls).await;
}

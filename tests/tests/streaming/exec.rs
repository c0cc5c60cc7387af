//! Exec.

use std::time::Duration;

use system_tests::{
    Stream,
    stream::{V4, V5, Want},
};
use tonic::Code;

use crate::{Waiting, running, soon};

#[tokio::test]
async fn output_and_exit_code_arrive_in_every_version() {
    let it = Waiting::new().await;
    let script = "echo out; echo err >&2; exit 3";
    for (offered, taken) in [
        (&[V5][..], V5),
        (&[V4], V4),
        (&["v9.channel.k8s.io", V4, V5], V4),
        (&["channel.k8s.io"], "channel.k8s.io"),
        (&[], ""),
    ] {
        let stream = it
            .exec(&["/bin/sh", "-c", script], Want::OUTPUT, offered)
            .await;
        assert_eq!(stream.protocol, taken);
        let got = stream.finish().await;
        assert_eq!((got.text(1), got.text(2)), ("out\n".into(), "err\n".into()));
        if taken.starts_with('v') {
            assert_eq!(got.exit_code(), Some(3), "{got:?}");
        } else {
            assert_eq!(got.text(3), "command terminated with non-zero exit code: 3");
        }
        assert_eq!(u16::from(got.close.unwrap().code), 1000);
    }
    let got = it.shell("exit 0", Want::OUTPUT).await.finish().await;
    assert_eq!(got.text(3), r#"{"metadata":{},"status":"Success"}"#);
    it.node.finish().await;
}

#[tokio::test]
async fn base64_carries_the_same_bytes() {
    let it = Waiting::new().await;
    let stream = it
        .exec(
            &["/bin/sh", "-c", "printf '\\001\\377'"],
            Want::OUTPUT,
            &["v4.base64.channel.k8s.io"],
        )
        .await;
    let got = stream.finish().await;
    // The channel is a digit there.
    assert_eq!(got.text(usize::from(b'1')), "Af8=");
    it.node.finish().await;
}

#[tokio::test]
async fn stdin_reaches_the_command_and_its_end_too() {
    let it = Waiting::new().await;
    let mut stream = it.shell("cat; echo end", Want::ALL).await;
    stream.send(0, b"one\n").await;
    stream.until(1, "one\n").await;
    stream.send(0, b"two\n").await;
    stream.until(1, "two\n").await;
    stream.close_channel(0).await;
    let got = stream.finish().await;
    assert_eq!(got.text(1), "one\ntwo\nend\n");
    assert_eq!(got.exit_code(), Some(0));
    it.node.finish().await;
}

#[tokio::test]
async fn megabytes_pass_in_both_directions_at_once() {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    const SIZE: usize = 24 << 20;

    let it = Waiting::new().await;
    let stream = it.exec(&["/bin/cat"], Want::ALL, &[V5]).await;
    let (mut sink, mut source) = stream.into_socket().split();
    let pattern = |at: usize| u8::try_from((at / 7 + at / 4096) % 251).unwrap();
    let sent: Vec<u8> = (0..SIZE).map(pattern).collect();
    let write = async {
        for piece in sent.chunks(100_000) {
            let message = [&[0], piece].concat();
            sink.send(Message::Binary(message.into())).await.unwrap();
        }
        sink.send(Message::Binary(vec![255, 0].into()))
            .await
            .unwrap();
    };
    let read = async {
        let (mut got, mut status) = (Vec::with_capacity(SIZE), Vec::new());
        while let Some(Ok(message)) = source.next().await {
            let Message::Binary(bytes) = message else {
                continue;
            };
            match bytes.split_first() {
                Some((1, bytes)) => got.extend_from_slice(bytes),
                Some((3, bytes)) => status.extend_from_slice(bytes),
                _ => {}
            }
        }
        (got, status)
    };
    let ((), (got, status)) = tokio::join!(write, read);
    assert_eq!(got.len(), sent.len());
    assert!(got == sent, "bytes changed on the way");
    assert_eq!(status, br#"{"metadata":{},"status":"Success"}"#);
    it.node.finish().await;
}

#[tokio::test]
async fn a_terminal_has_its_size_from_the_start_and_hears_of_changes() {
    let it = Waiting::new().await;
    let script = "stty size; trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done";
    let url = it
        .client
        .exec_url(&it.id, &["/bin/sh", "-c", script], Want::TTY)
        .await
        .unwrap();
    let mut stream = Stream::open(&it.node, &url, &[V5]).await.unwrap();
    stream.resize(101, 33).await;
    stream.until(1, "ready").await;
    assert!(
        stream.got.text(1).starts_with("33 101\r\n"),
        "{:?}",
        stream.got
    );
    stream.resize(80, 24).await;
    stream.until(1, "24 80").await;
    // ^C, typed.
    stream.send(0, b"\x03").await;
    let got = stream.finish().await;
    assert_eq!(got.exit_code(), Some(130), "{got:?}");
    it.node.finish().await;
}

#[tokio::test]
async fn a_command_that_is_not_there_is_told_on_the_error_channel() {
    let it = Waiting::new().await;
    let stream = it.exec(&["/no/such"], Want::OUTPUT, &[V5]).await;
    let got = stream.finish().await;
    let status = got.status();
    assert_eq!(status["status"], "Failure");
    assert_eq!(status["reason"], "InternalError");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("/no/such"), "{message}");
    it.node.finish().await;
}

#[tokio::test]
async fn a_client_that_goes_takes_its_command_along() {
    let it = Waiting::new().await;
    let mut stream = it
        .shell("echo here; sleep 86001 | cat; echo never", Want::ALL)
        .await;
    stream.until(1, "here").await;
    assert!(running(&it.id, "86001") >= 1);
    // A connection that is cut rather than closed.
    drop(stream);
    soon("the command is gone", || running(&it.id, "86001") == 0).await;

    // One whose input nobody reads: the daemon can't see its end by reading.
    let mut stream = it.shell("echo here; exec sleep 86002", Want::ALL).await;
    stream.until(1, "here").await;
    let flood = async {
        loop {
            stream.send(0, &[b'x'; 60_000]).await;
        }
    };
    let held_up = tokio::time::timeout(Duration::from_secs(2), flood).await;
    assert!(held_up.is_err(), "nobody reads, and nothing holds us up");
    drop(stream);
    soon("the second command is gone", || {
        running(&it.id, "86002") == 0
    })
    .await;
    it.node.finish().await;
}

#[tokio::test]
async fn a_url_works_once_and_for_its_own_purpose() {
    let it = Waiting::new().await;
    let url = it
        .client
        .exec_url(&it.id, &["/bin/true"], Want::OUTPUT)
        .await
        .unwrap();
    let other = url.replace("/exec/", "/attach/");
    let refusal = Stream::open(&it.node, &other, &[V5]).await.unwrap_err();
    assert!(refusal.starts_with("404 "), "{refusal}");
    // Not used up by a request that could not become a stream.
    let refusal = Stream::open(&it.node, &url, &["nonsense"])
        .await
        .unwrap_err();
    assert!(
        refusal.starts_with("400 ") && refusal.contains(V5),
        "{refusal}"
    );
    let got = Stream::open(&it.node, &url, &[V5])
        .await
        .unwrap()
        .finish()
        .await;
    assert_eq!(got.exit_code(), Some(0));
    let again = Stream::open(&it.node, &url, &[V5]).await.unwrap_err();
    let guessed = format!("{}{}", &url[..url.len() - 64], "0".repeat(64));
    let guess = Stream::open(&it.node, &guessed, &[V5]).await.unwrap_err();
    assert_eq!(again, guess);
    // No token is ever in the log.
    let token = url.rsplit('/').next().unwrap();
    assert!(!it.node.daemon_log().contains(token));
    it.node.finish().await;
}

#[tokio::test]
async fn requests_are_refused_when_they_are_made() {
    let it = Waiting::new().await;
    let client = &it.client;
    let code = |result: Result<String, tonic::Status>| result.unwrap_err().code();
    let tty_and_stderr = Want {
        tty: true,
        ..Want::OUTPUT
    };
    let id = &it.id;
    for want in [tty_and_stderr, Want::default()] {
        let exec = client.exec_url(id, &["true"], want).await;
        assert_eq!(code(exec), Code::InvalidArgument, "{want:?}");
    }
    assert_eq!(
        code(client.exec_url(id, &[], Want::OUTPUT).await),
        Code::InvalidArgument
    );
    assert_eq!(
        code(client.exec_url("none", &["true"], Want::OUTPUT).await),
        Code::NotFound
    );
    // The container has neither a terminal nor standard input.
    for want in [Want::TTY, Want::ALL, Want::default()] {
        let attach = client.attach_url(id, want).await;
        assert_eq!(code(attach), Code::InvalidArgument, "{want:?}");
    }
    for port in [0, -1, 65536] {
        let error = client.forward_url(&it.pod, &[80, port]).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().starts_with("port[1] "), "{error}");
    }
    assert_eq!(
        code(client.forward_url("none", &[80]).await),
        Code::NotFound
    );

    client.stop(id, 5).await.unwrap();
    assert_eq!(
        code(client.exec_url(id, &["true"], Want::OUTPUT).await),
        Code::FailedPrecondition
    );
    assert_eq!(
        code(client.attach_url(id, Want::OUTPUT).await),
        Code::FailedPrecondition
    );
    client.stop_pod(&it.pod).await.unwrap();
    assert_eq!(
        code(client.forward_url(&it.pod, &[80]).await),
        Code::FailedPrecondition
    );
    it.node.finish().await;
}

//! Input and output by streams that the client opens, and connections as a hybrid vsock begins them.
#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use agent_api::grpc;
use agent_api::ttrpc::Code;
use common::{Pod, soon, status};

/// A connection that begins with a port.
fn open(pod: &Pod, port: u32) -> UnixStream {
    let mut stream = sys::socket::connect(&pod.socket()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    writeln!(stream, "CONNECT {port}").unwrap();
    let expected = format!("OK {port}\n");
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, expected.as_bytes());
    stream
}

#[tokio::test]
async fn megabytes_pass_both_ways_and_ends_are_told() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    let (input, output, errors) = (open(&pod, 5000), open(&pod, 5001), open(&pod, 5002));
    let request = grpc::ExecProcessRequest {
        container_id: "c1".into(),
        exec_id: "e1".into(),
        stdin_port: 5000,
        stdout_port: 5001,
        stderr_port: 5002,
        process: Some(grpc::Process {
            args: ["sh", "-c", "cat; echo done >&2"]
                .map(str::to_owned)
                .to_vec(),
            env: vec!["PATH=/bin".into()],
            cwd: "/".into(),
            user: Some(grpc::User::default()),
            ..Default::default()
        }),
        ..Default::default()
    };
    calls.agent.exec_process(soon(), &request).await.unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.to_le_bytes()[n as usize % 3])
        .collect();
    let writer = {
        let (mut input, sent) = (input, sent.clone());
        std::thread::spawn(move || {
            input.write_all(&sent).unwrap();
            input.shutdown(Shutdown::Write).unwrap();
            input
        })
    };
    let read = |mut stream: UnixStream| {
        tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all
        })
    };
    let (got, said) = tokio::join!(read(output), read(errors));
    assert!(got.unwrap() == sent);
    assert_eq!(said.unwrap(), b"done\n");
    drop(writer.join().unwrap());
    // A stream serves once, and one that nobody opened is named.
    let again = grpc::ExecProcessRequest {
        exec_id: "e2".into(),
        ..request
    };
    let (code, text) = status(calls.agent.exec_process(soon(), &again).await);
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(text.contains("port 5000"), "{text}");
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_connection_to_the_agents_own_port_goes_on_with_calls() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let mut stream = open(&pod, 1024);
    let mut request = vec![];
    // Health/Check, by hand: service, method.
    for (field, text) in [(0x0a, "grpc.Health"), (0x12, "Check")] {
        request.push(field);
        request.push(u8::try_from(text.len()).unwrap());
        request.extend(text.as_bytes());
    }
    let mut frame = u32::try_from(request.len()).unwrap().to_be_bytes().to_vec();
    frame.extend([0, 0, 0, 1, 1, 0]);
    frame.extend(request);
    stream.write_all(&frame).unwrap();
    let mut header = [0; 10];
    stream.read_exact(&mut header).unwrap();
    assert_eq!((header[7], header[8]), (1, 2), "stream 1, a response");
    for wrong in [
        "CONNECT \n",
        "CONNECT x\n",
        "CONNECT 99999999999999999999999999999\n",
    ] {
        let mut stream = sys::socket::connect(&pod.socket()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.write_all(wrong.as_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0, "{wrong}: closed");
    }
    pod.destroy(calls).await;
}

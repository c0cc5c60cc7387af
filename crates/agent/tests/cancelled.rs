//! Calls whose client gives up at any moment: what was begun is finished or undone, and the next call
//! finds it so.
#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod common;

use std::time::Duration;

use agent_api::grpc;
use agent_api::sandbox;
use agent_api::ttrpc::context::with_duration;
use agent_api::ttrpc::{Code, Error};
use common::{Pod, soon};

/// The code of an answer; None: it went well.
fn code<T>(answer: Result<T, Error>) -> Option<Code> {
    match answer {
        Ok(_) => None,
        Err(Error::RpcStatus(status)) => Some(status.code()),
        // The client's own limit.
        Err(_) => Some(Code::DEADLINE_EXCEEDED),
    }
}

#[tokio::test]
async fn every_call_may_be_given_up_at_any_time() {
    let (pod, calls) = Pod::sandbox().await;
    for round in 0..24_u64 {
        let id = format!("c{round}");
        // From long before the work is done to after it.
        let hasty = || with_duration(Duration::from_micros(40 << (round % 12)));
        let create = pod.container(&id, &["sleep", "1000"], |_| {});
        drop(calls.own.create_container(hasty(), &create).await);
        // The first call goes on: the second waits for nothing and finds the name taken, or makes it.
        let again = code(calls.own.create_container(soon(), &create).await);
        assert!(
            [None, Some(Code::ALREADY_EXISTS)].contains(&again),
            "{again:?}"
        );
        common::until("the container is there", async || {
            calls.state(&id).await.is_some()
        })
        .await;
        let start = grpc::StartContainerRequest {
            container_id: id.clone(),
        };
        drop(calls.agent.start_container(hasty(), &start).await);
        let again = code(calls.agent.start_container(soon(), &start).await);
        assert!(
            [None, Some(Code::FAILED_PRECONDITION)].contains(&again),
            "{again:?}"
        );
        let exec = sandbox::ExecProcessRequest {
            container_id: id.clone(),
            ..common::exec("e", &["sh", "-c", "exit 7"])
        };
        drop(calls.own.exec_process(hasty(), &exec).await);
        let again = code(calls.own.exec_process(soon(), &exec).await);
        assert!(
            [None, Some(Code::ALREADY_EXISTS)].contains(&again),
            "{again:?}"
        );
        let wait = grpc::WaitProcessRequest {
            container_id: id.clone(),
            exec_id: "e".into(),
        };
        // A process that is still being started has no name yet.
        let mut status = None;
        common::until("the process is there", async || {
            let waited = calls.agent.wait_process(soon(), &wait).await;
            status = waited.ok().map(|w| w.status);
            status.is_some()
        })
        .await;
        assert_eq!(status, Some(7));
        let init = sandbox::WaitContainerRequest { id: id.clone() };
        drop(calls.own.wait_container(hasty(), &init).await);
        let remove = grpc::RemoveContainerRequest {
            container_id: id.clone(),
            timeout: 0,
        };
        drop(calls.agent.remove_container(hasty(), &remove).await);
        calls.remove(&id).await;
        assert!(calls.state(&id).await.is_none());
    }
    pod.destroy(calls).await;
}

//! The published AgentService alone, as a Kata-style client uses it: the scenarios of [`suite`], each with an
//! agent of its own on this machine, and what is refused on a node.
#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod common;
mod suite;

use agent_api::grpc;
use agent_api::ttrpc::Code;
use common::{Calls, Pod, soon, status, text};
use suite::World;

/// The world of an agent on this machine.
fn world(pod: &Pod, calls: &Calls) -> World {
    World {
        agent: calls.agent.clone(),
        health: calls.health.clone(),
        name: pod.name.clone(),
        pid: pod.pid(),
        root: text(&pod.dir.path().join("lower")),
        dir: text(pod.dir.path()),
        files: text(&pod.dir.path().join("state/files")),
        own: false,
    }
}

macro_rules! on_this_machine {
    ($($module:ident::$scenario:ident)*) => {$(
        #[tokio::test]
        async fn $scenario() {
            let pod = Pod::start();
            let calls = pod.connect().await;
            let world = world(&pod, &calls);
            world.begin().await;
            suite::$module::$scenario(&world).await;
            pod.destroy(calls).await;
        }
    )*};
}
suite::scenarios!(on_this_machine);

macro_rules! in_a_network_of_its_own {
    ($($module:ident::$scenario:ident)*) => {$(
        #[tokio::test]
        async fn $scenario() {
            let (pod, calls) = common::network::pod().await;
            let world = world(&pod, &calls);
            world.begin().await;
            suite::$module::$scenario(&world).await;
            pod.destroy(calls).await;
        }
    )*};
}
suite::network_scenarios!(in_a_network_of_its_own);

#[tokio::test]
async fn what_would_change_the_host_is_refused() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let request = grpc::CreateSandboxRequest {
        kernel_modules: vec![grpc::KernelModule {
            name: "loop".into(),
            parameters: vec![],
        }],
        ..Default::default()
    };
    let refused = calls.agent.create_sandbox(soon(), &request).await;
    assert_eq!(status(refused).0, Code::FAILED_PRECONDITION);
    pod.destroy(calls).await;
}

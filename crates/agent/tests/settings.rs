//! What the agent is told at its start: a configuration in Kata's form, a policy, pipes of another size.
#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use agent_api::grpc;
use agent_api::ttrpc::Code;
use common::{Pod, soon, status, text};
use rustix::pipe::fcntl_getpipe_size;

/// A file for an agent.
fn file(dir: &Path, name: &str, content: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    text(&path)
}

#[tokio::test]
async fn a_configuration_lists_the_calls_that_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    // As Kata's own file has it, with what other agents answer.
    let config = file(
        dir.path(),
        "agent-config.toml",
        "dev_mode = true\nlog_level = \"info\"\n[endpoints]\nallowed = [\n  \"GuestDetailsRequest\",\n  \
         \"StartTracingRequest\", \"DestroySandboxRequest\",\n]\n",
    );
    for (forms, code, part) in [
        (
            "current",
            Code::PERMISSION_DENIED,
            "does not allow ListRoutes",
        ),
        ("kata-3.2", Code::UNIMPLEMENTED, "ListRoutes is blocked"),
    ] {
        let pod = Pod::start_with(&["--config", &config, "--forms", forms]);
        let calls = pod.connect().await;
        let details = grpc::GuestDetailsRequest::default();
        let details = calls.agent.get_guest_details(soon(), &details).await;
        assert!(details.unwrap().agent_details.is_some());
        let routes = grpc::ListRoutesRequest {};
        let (got, said) = status(calls.agent.list_routes(soon(), &routes).await);
        assert_eq!(got, code, "{said}");
        assert!(said.contains(part), "{said}");
        let check = grpc::CheckRequest::default();
        calls.health.check(soon(), &check).await.unwrap();
        // In dev mode what crashes leaves a core.
        let limits = fs::read_to_string(format!("/proc/{}/limits", pod.pid())).unwrap();
        let core = limits.lines().find(|l| l.starts_with("Max core file size"));
        assert!(core.unwrap().contains("unlimited"), "{limits}");
        assert!(
            pod.agent_log().contains("StartTracingRequest"),
            "{}",
            pod.agent_log()
        );
        pod.destroy(calls).await;
    }
}

#[tokio::test]
async fn a_policy_of_the_environment_holds_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let policy = file(dir.path(), "policy", "SetPolicy, DestroySandbox\n");
    let policy = format!("KATA_AGENT_POLICY_FILE={policy}");
    let pod = Pod::start_in(&["env", &policy], &[]);
    let calls = pod.connect().await;
    let list = grpc::ListInterfacesRequest {};
    let refused = calls.agent.list_interfaces(soon(), &list).await;
    assert_eq!(status(refused).0, Code::PERMISSION_DENIED);
    let all = grpc::SetPolicyRequest { policy: "*".into() };
    calls.agent.set_policy(soon(), &all).await.unwrap();
    calls.agent.list_interfaces(soon(), &list).await.unwrap();
    pod.destroy(calls).await;
}

#[test]
fn rules_that_are_not_understood_keep_the_agent_from_serving() {
    let dir = tempfile::tempdir().unwrap();
    let rego = file(dir.path(), "policy.rego", "package agent_policy\n");
    let half = file(dir.path(), "half.toml", "[endpoints]\nallowed = [\n");
    let wrong = file(dir.path(), "wrong.toml", "log_level = \"loud\"\n");
    let socket = format!("unix://{}", dir.path().join("a.sock").display());
    let config = |path: &str| vec!["--config".to_owned(), path.to_owned()];
    for (policy, more, part) in [
        (rego.as_str(), vec![], "package agent_policy"),
        ("/nonexistent/policy", vec![], "/nonexistent/policy"),
        ("", config(&half), "half.toml: line 3: a value is missing"),
        ("", config(&wrong), "log_level is \"loud\": expected error"),
        ("", config("/nonexistent.toml"), "/nonexistent.toml"),
    ] {
        let ended = Command::new(env!("CARGO_BIN_EXE_coffer-agent"))
            .args(["--listen", &socket])
            .args(&more)
            .env("KATA_AGENT_POLICY_FILE", policy)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains(part), "{more:?} {policy}: {said}");
        assert!(!dir.path().join("a.sock").exists(), "the socket stays");
    }
}

#[tokio::test]
async fn pipes_are_as_large_as_was_asked_for() {
    for (bytes, expected) in [("4096", 4096), ("200000", 262_144)] {
        let pod = Pod::start_with(&["--pipe-size", bytes]);
        let calls = pod.connect().await;
        let sandbox = pod.sandbox_request();
        calls.own.create_sandbox(soon(), &sandbox).await.unwrap();
        let pid = calls
            .create(&pod.container("c1", &["sleep", "100"], |_| {}))
            .await;
        calls.start("c1").await;
        let stdout = fs::File::open(format!("/proc/{pid}/fd/1")).unwrap();
        assert_eq!(fcntl_getpipe_size(&stdout).unwrap(), expected);
        assert_eq!(calls.sh("c1", "echo hi").await.1, "hi\n");
        pod.destroy(calls).await;
    }
    let pod = Pod::start_with(&["--pipe-size", "4000000000"]);
    let calls = pod.connect().await;
    let sandbox = pod.sandbox_request();
    calls.own.create_sandbox(soon(), &sandbox).await.unwrap();
    let request = pod.container("c1", &["true"], |_| {});
    let (_, said) = status(calls.own.create_container(soon(), &request).await);
    assert!(
        said.contains("cannot make pipes of 4000000000 bytes"),
        "{said}"
    );
    pod.destroy(calls).await;
}

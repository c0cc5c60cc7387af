//! What the published service does the same on a node and as the first process of a machine: one source for
//! both worlds, by the published calls alone.
//!
//! ```text
//!  crates/agent/tests/published.rs   an agent of its own for each, on a unix socket
//!  tests/vm/tests/agent.rs           one machine for all, one after the other, over a virtio socket
//! ```
//! A scenario takes away what it makes. It looks at the agent's world through a container that has the agent's
//! /proc: `$W` is the agent's root there.
#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared by two packages; a failure here fails the test"
)]

pub(crate) mod containers;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod storages;
pub(crate) mod streams;

use std::time::Duration;

use agent_api::grpc::{self, AgentServiceClient, HealthClient};
use agent_api::ttrpc::context::{Context, with_duration};
use agent_api::ttrpc::{Code, Error};

/// Calls with every scenario of a sandbox: `$with! { module::function … }`.
macro_rules! scenarios {
    ($with:ident) => {
        $with! {
            containers::a_container_and_an_exec_over_the_published_calls
            containers::sandbox_pidns_decides_the_pid_namespace
            containers::exit_codes_are_128_plus_the_signal
            containers::a_signal_for_all_reaches_descendants
            containers::what_does_not_exist_is_not_found
            containers::nothing_is_no_exec_id
            containers::an_execs_code_is_read_once
            containers::a_container_that_waits_for_its_start
            containers::pause_update_and_figures
            containers::an_oom_kill_is_told
            containers::users_by_name_are_the_containers_own
            containers::a_missing_program_leaves_nothing
            containers::a_directory_of_one_container_is_seen_in_another
            streams::stdin_is_written_and_closed
            streams::a_terminal_has_a_size_and_a_line_discipline
            streams::a_background_child_does_not_hold_the_end_of_output
            streams::output_comes_whole_and_in_order
            storages::storages_are_shared_by_mount_point_and_unmounted_by_the_last
            storages::memory_backed_volumes_grow
            storages::an_overlay_gets_an_upper_layer_of_its_own
            storages::a_volume_tells_its_size
            storages::a_storage_that_is_shared_outlives_its_users
            storages::directories_have_a_mode_and_a_group
            machine::details_name_what_there_is
            machine::files_are_copied_below_one_directory_only
            machine::a_termination_log_is_read_after_the_end
            machine::a_policy_lets_pass_what_it_names
            machine::two_calls_for_memory_are_unimplemented
            machine::the_sandboxes_resolver_reaches_its_containers
        }
    };
}
pub(crate) use scenarios;

/// Calls with every scenario that needs a network of the agent's own.
macro_rules! network_scenarios {
    ($with:ident) => {
        $with! {
            network::interfaces_are_found_by_their_hardware_address_and_swap_names
            network::routes_are_upserted_and_listed_as_they_are
            network::neighbours_are_made_and_replaced
            network::filter_rules_of_both_versions_are_set_and_read
        }
    };
}
pub(crate) use network_scenarios;

/// The container that looks around.
const LOOK: &str = "look";

/// An agent with a sandbox that has a shared pid namespace.
pub(crate) struct World {
    pub(crate) agent: AgentServiceClient,
    pub(crate) health: HealthClient,
    /// The sandbox; its containers' cgroups are below it.
    pub(crate) name: String,
    /// The agent's pid where it is.
    pub(crate) pid: i32,
    /// A busybox root filesystem, as the agent sees it.
    pub(crate) root: String,
    /// A directory for what a scenario makes.
    pub(crate) dir: String,
    /// Where CopyFile may write.
    pub(crate) files: String,
    /// Whether the machine is the agent's own.
    pub(crate) own: bool,
}

/// A limit for a call; a machine may be slow.
pub(crate) fn soon() -> Context {
    with_duration(Duration::from_secs(60))
}

/// The status of a call that fails.
#[track_caller]
pub(crate) fn status<T: std::fmt::Debug>(result: Result<T, Error>) -> (Code, String) {
    match result {
        Err(Error::RpcStatus(status)) => (status.code(), status.message),
        other => panic!("expected a status, not {other:?}"),
    }
}

pub(crate) fn all(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A process with few capabilities.
pub(crate) fn process(args: &[&str]) -> grpc::Process {
    grpc::Process {
        args: all(args),
        env: all(&["PATH=/bin:/sbin"]),
        cwd: "/".into(),
        user: Some(grpc::User::default()),
        capabilities: Some(grpc::LinuxCapabilities {
            bounding: all(&["CAP_KILL"]),
            effective: all(&["CAP_KILL"]),
            permitted: all(&["CAP_KILL"]),
            ..Default::default()
        }),
        no_new_privileges: true,
        ..Default::default()
    }
}

/// What looking around, and preparing things, takes.
fn powers() -> grpc::LinuxCapabilities {
    let names = all(&[
        "CAP_SYS_ADMIN",
        "CAP_SYS_PTRACE",
        "CAP_NET_ADMIN",
        "CAP_DAC_OVERRIDE",
        "CAP_CHOWN",
        "CAP_FOWNER",
        "CAP_KILL",
    ]);
    grpc::LinuxCapabilities {
        bounding: names.clone(),
        effective: names.clone(),
        permitted: names,
        ..Default::default()
    }
}

pub(crate) fn mount(kind: &str, source: &str, to: &str, options: &[&str]) -> grpc::Mount {
    grpc::Mount {
        destination: to.into(),
        source: source.into(),
        r#type: kind.into(),
        options: all(options),
    }
}

/// A storage with this driver.
pub(crate) fn storage(driver: &str, source: &str, fstype: &str, point: &str) -> grpc::Storage {
    grpc::Storage {
        driver: driver.into(),
        source: source.into(),
        fstype: fstype.into(),
        mount_point: point.into(),
        ..Default::default()
    }
}

impl World {
    /// CreateSandbox, and the container that looks around.
    pub(crate) async fn begin(&self) {
        let request = grpc::CreateSandboxRequest {
            sandbox_id: self.name.clone(),
            hostname: "kata".into(),
            dns: all(&["nameserver 192.0.2.53", "search example.org"]),
            sandbox_pidns: true,
            ..Default::default()
        };
        self.agent.create_sandbox(soon(), &request).await.unwrap();
        self.begin_looking().await;
    }

    /// Only the container that looks around: there is a sandbox.
    pub(crate) async fn begin_looking(&self) {
        let mut request = self.request(LOOK, &["sleep", "100000"]);
        let spec = request.oci.as_mut().unwrap();
        spec.mounts
            .push(mount("bind", "/proc", "/agent", &["bind"]));
        spec.process.as_mut().unwrap().capabilities = Some(powers());
        self.run(&request).await;
    }

    /// A container of the busybox root.
    pub(crate) fn request(&self, id: &str, args: &[&str]) -> grpc::CreateContainerRequest {
        let namespace = |kind: &str| grpc::LinuxNamespace {
            r#type: kind.into(),
            path: String::new(),
        };
        let spec = grpc::Spec {
            version: "1.0.2".into(),
            process: Some(process(args)),
            root: Some(grpc::Root {
                path: self.root.clone(),
                readonly: false,
            }),
            mounts: vec![
                mount("proc", "proc", "/proc", &[]),
                mount(
                    "tmpfs",
                    "tmpfs",
                    "/dev",
                    &["nosuid", "mode=755", "size=65536k"],
                ),
                mount(
                    "devpts",
                    "devpts",
                    "/dev/pts",
                    &["newinstance", "ptmxmode=0666", "mode=0620"],
                ),
            ],
            linux: Some(grpc::Linux {
                namespaces: ["mount", "ipc", "uts"].map(namespace).into(),
                cgroups_path: format!("/{}/{id}", self.name),
                ..Default::default()
            }),
            ..Default::default()
        };
        grpc::CreateContainerRequest {
            container_id: id.into(),
            oci: Some(spec),
            ..Default::default()
        }
    }

    /// As [`World::request`], with `storages`, the first of which is seen at /data.
    pub(crate) fn with(
        &self,
        id: &str,
        args: &[&str],
        storages: &[grpc::Storage],
    ) -> grpc::CreateContainerRequest {
        let mut request = self.request(id, args);
        let mounts = &mut request.oci.as_mut().unwrap().mounts;
        mounts.push(mount("bind", &storages[0].mount_point, "/data", &["rbind"]));
        request.storages = storages.to_vec();
        request
    }

    pub(crate) async fn create(&self, request: &grpc::CreateContainerRequest) -> Result<(), Error> {
        let created = self.agent.create_container(soon(), request).await;
        created.map(drop)
    }

    pub(crate) async fn run(&self, request: &grpc::CreateContainerRequest) {
        self.create(request).await.unwrap();
        let request = grpc::StartContainerRequest {
            container_id: request.container_id.clone(),
        };
        self.agent.start_container(soon(), &request).await.unwrap();
    }

    /// Runs a container of these words.
    pub(crate) async fn start(&self, id: &str, args: &[&str]) {
        self.run(&self.request(id, args)).await;
    }

    pub(crate) async fn remove(&self, id: &str) {
        let request = grpc::RemoveContainerRequest {
            container_id: id.into(),
            timeout: 10,
        };
        self.agent.remove_container(soon(), &request).await.unwrap();
    }

    pub(crate) async fn try_exec(
        &self,
        id: &str,
        exec: &str,
        process: grpc::Process,
    ) -> Result<(), Error> {
        let request = grpc::ExecProcessRequest {
            container_id: id.into(),
            exec_id: exec.into(),
            process: Some(process),
            ..Default::default()
        };
        self.agent.exec_process(soon(), &request).await.map(drop)
    }

    /// Runs a script in a container: exit code and output.
    pub(crate) async fn sh(&self, id: &str, script: &str) -> (i32, String) {
        let exec = "sh";
        self.try_exec(id, exec, process(&["sh", "-c", script]))
            .await
            .unwrap();
        let output = self.output(id, exec).await;
        (self.wait(id, exec).await, output)
    }

    /// Runs a script that sees the agent's root at `$W` and its /proc entry at `$P`; it has to succeed.
    pub(crate) async fn look(&self, script: &str) -> String {
        let mut process = process(&["sh", "-ec", script]);
        process.env.push(format!("P=/agent/{}", self.pid));
        process.env.push(format!("W=/agent/{}/root", self.pid));
        process.capabilities = Some(powers());
        self.try_exec(LOOK, "looking", process).await.unwrap();
        let output = self.output(LOOK, "looking").await;
        let errors = self.errors(LOOK, "looking").await;
        let code = self.wait(LOOK, "looking").await;
        assert_eq!(code, 0, "{script}: {output}{errors}");
        output
    }

    /// Whether something is mounted there in the agent's world.
    pub(crate) async fn mounted(&self, point: &str) -> bool {
        let mounts = self.look("cat $P/mounts").await;
        mounts
            .lines()
            .any(|line| line.split(' ').nth(1) == Some(point))
    }

    pub(crate) async fn write(&self, id: &str, exec: &str, data: &[u8]) -> Result<u32, Error> {
        let request = grpc::WriteStreamRequest {
            container_id: id.into(),
            exec_id: exec.into(),
            data: data.to_vec(),
        };
        let written = self.agent.write_stdin(soon(), &request).await?;
        Ok(written.len)
    }

    pub(crate) async fn close(&self, id: &str, exec: &str) {
        let request = grpc::CloseStdinRequest {
            container_id: id.into(),
            exec_id: exec.into(),
        };
        self.agent.close_stdin(soon(), &request).await.unwrap();
    }

    /// One read of standard output.
    pub(crate) async fn read(&self, id: &str, exec: &str, len: u32) -> Vec<u8> {
        let request = grpc::ReadStreamRequest {
            container_id: id.into(),
            exec_id: exec.into(),
            len,
        };
        self.agent.read_stdout(soon(), &request).await.unwrap().data
    }

    /// Standard output to its end.
    pub(crate) async fn output(&self, id: &str, exec: &str) -> String {
        let mut bytes = Vec::new();
        loop {
            let data = self.read(id, exec, 4096).await;
            if data.is_empty() {
                return String::from_utf8(bytes).unwrap();
            }
            bytes.extend(data);
        }
    }

    /// Standard error to its end.
    pub(crate) async fn errors(&self, id: &str, exec: &str) -> String {
        let request = grpc::ReadStreamRequest {
            container_id: id.into(),
            exec_id: exec.into(),
            len: 4096,
        };
        let mut bytes = Vec::new();
        loop {
            let read = self.agent.read_stderr(soon(), &request).await.unwrap();
            if read.data.is_empty() {
                return String::from_utf8(bytes).unwrap();
            }
            bytes.extend(read.data);
        }
    }

    pub(crate) async fn wait(&self, id: &str, exec: &str) -> i32 {
        let request = grpc::WaitProcessRequest {
            container_id: id.into(),
            exec_id: exec.into(),
        };
        self.agent
            .wait_process(soon(), &request)
            .await
            .unwrap()
            .status
    }

    pub(crate) async fn signal(&self, id: &str, exec: &str, signal: u32) -> Result<(), Error> {
        let request = grpc::SignalProcessRequest {
            container_id: id.into(),
            exec_id: exec.into(),
            signal,
        };
        self.agent.signal_process(soon(), &request).await.map(drop)
    }

    pub(crate) async fn destroy(&self) {
        let request = grpc::DestroySandboxRequest {};
        self.agent.destroy_sandbox(soon(), &request).await.unwrap();
    }

    /// Looks until `done`, for half a minute.
    pub(crate) async fn until(&self, what: &str, mut done: impl AsyncFnMut() -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !done().await {
            assert!(std::time::Instant::now() < deadline, "never came: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

//! A pod by the published calls alone.

use agent_api::grpc;
use agent_api::ttrpc::{Code, Error};
use vm_tests::agent::{Calls, soon};

/// A sandbox whose containers have the root filesystem `/rootfs`.
pub(crate) struct Pod {
    pub(crate) calls: Calls,
    name: String,
}

fn all(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn process(args: &[&str]) -> grpc::Process {
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

fn mount(kind: &str, to: &str, options: &[&str]) -> grpc::Mount {
    grpc::Mount {
        destination: to.into(),
        source: kind.into(),
        r#type: kind.into(),
        options: all(options),
    }
}

impl Pod {
    pub(crate) async fn create(calls: Calls, name: &str) -> Self {
        let request = grpc::CreateSandboxRequest {
            sandbox_id: name.into(),
            hostname: name.into(),
            ..Default::default()
        };
        calls.agent.create_sandbox(soon(), &request).await.unwrap();
        Self {
            calls,
            name: name.into(),
        }
    }

    pub(crate) async fn try_create(&self, id: &str, args: &[&str]) -> Result<(), Error> {
        let namespace = |kind: &str| grpc::LinuxNamespace {
            r#type: kind.into(),
            path: String::new(),
        };
        let spec = grpc::Spec {
            version: "1.0.2".into(),
            process: Some(process(args)),
            root: Some(grpc::Root {
                path: "/rootfs".into(),
                readonly: false,
            }),
            mounts: vec![
                mount("proc", "/proc", &[]),
                mount("tmpfs", "/dev", &["nosuid", "mode=755", "size=65536k"]),
                mount(
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
        let request = grpc::CreateContainerRequest {
            container_id: id.into(),
            oci: Some(spec),
            ..Default::default()
        };
        self.calls
            .agent
            .create_container(soon(), &request)
            .await
            .map(drop)
    }

    pub(crate) async fn start(&self, id: &str, args: &[&str]) {
        self.try_create(id, args).await.unwrap();
        let request = grpc::StartContainerRequest {
            container_id: id.into(),
        };
        self.calls
            .agent
            .start_container(soon(), &request)
            .await
            .unwrap();
    }

    pub(crate) async fn exec(&self, id: &str, exec: &str, args: &[&str]) {
        let request = grpc::ExecProcessRequest {
            container_id: id.into(),
            exec_id: exec.into(),
            process: Some(process(args)),
            ..Default::default()
        };
        self.calls
            .agent
            .exec_process(soon(), &request)
            .await
            .unwrap();
    }

    pub(crate) async fn write(&self, id: &str, text: &str) {
        let request = grpc::WriteStreamRequest {
            container_id: id.into(),
            exec_id: id.into(),
            data: text.into(),
        };
        let written = self
            .calls
            .agent
            .write_stdin(soon(), &request)
            .await
            .unwrap();
        assert_eq!(written.len as usize, text.len());
    }

    /// Reads a stream of a process to its end; the container's id means its first process.
    pub(crate) async fn output(&self, id: &str, exec: &str, stderr: bool) -> String {
        let request = grpc::ReadStreamRequest {
            container_id: id.into(),
            exec_id: exec.into(),
            len: 4096,
        };
        let mut bytes = Vec::new();
        loop {
            let read = match stderr {
                false => self.calls.agent.read_stdout(soon(), &request).await,
                true => self.calls.agent.read_stderr(soon(), &request).await,
            };
            let data = read.unwrap().data;
            if data.is_empty() {
                return String::from_utf8(bytes).unwrap();
            }
            bytes.extend(data);
        }
    }

    pub(crate) async fn wait(&self, id: &str, exec: &str) -> i32 {
        let request = grpc::WaitProcessRequest {
            container_id: id.into(),
            exec_id: exec.into(),
        };
        let ended = self.calls.agent.wait_process(soon(), &request).await;
        ended.unwrap().status
    }

    pub(crate) async fn destroy(&self) {
        let request = grpc::DestroySandboxRequest {};
        self.calls
            .agent
            .destroy_sandbox(soon(), &request)
            .await
            .unwrap();
    }
}

/// The status of a call that must fail.
pub(crate) fn code_of(result: Result<(), Error>) -> Code {
    match result {
        Err(Error::RpcStatus(status)) => status.code(),
        other => panic!("expected a status, not {other:?}"),
    }
}

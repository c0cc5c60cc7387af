//! `runtime.v1.RuntimeService`: each call converts, asks the service, converts back.

use cri_api::v1::{self as wire, runtime_service_server::RuntimeService};
use tonic::{Request, Response, Status};

use super::{answer, convert, events, status};
use crate::service::{Attach, Exec, Service};

/// The adapter.
#[derive(Debug, Clone)]
pub(crate) struct Runtime(pub(crate) Service);

type Answer<T> = Result<Response<T>, Status>;

#[expect(clippy::result_large_err, reason = "the transport's own type")]
fn ok<T>(answer: T) -> Answer<T> {
    Ok(Response::new(answer))
}

#[tonic::async_trait]
impl RuntimeService for Runtime {
    super::unimplemented::unimplemented_runtime_rpcs!();

    type GetContainerEventsStream = events::Events;

    async fn version(&self, _: Request<wire::VersionRequest>) -> Answer<wire::VersionResponse> {
        ok(answer::version())
    }

    async fn status(&self, request: Request<wire::StatusRequest>) -> Answer<wire::StatusResponse> {
        ok(answer::status(
            self.0.status(request.into_inner().verbose).await,
        ))
    }

    async fn runtime_config(
        &self,
        _: Request<wire::RuntimeConfigRequest>,
    ) -> Answer<wire::RuntimeConfigResponse> {
        ok(answer::runtime_config())
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<wire::RunPodSandboxRequest>,
    ) -> Answer<wire::RunPodSandboxResponse> {
        let request = request.into_inner();
        let config = convert::pod_config(request.config, request.runtime_handler)
            .map_err(|e| status::from(&e))?;
        let id = self
            .0
            .run_pod_sandbox(config)
            .await
            .map_err(|e| status::from(&e))?;
        ok(wire::RunPodSandboxResponse {
            pod_sandbox_id: id.into(),
        })
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<wire::StopPodSandboxRequest>,
    ) -> Answer<wire::StopPodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.0
            .stop_pod_sandbox(&id)
            .await
            .map_err(|e| status::from(&e))?;
        ok(wire::StopPodSandboxResponse {})
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<wire::RemovePodSandboxRequest>,
    ) -> Answer<wire::RemovePodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.0
            .remove_pod_sandbox(&id)
            .await
            .map_err(|e| status::from(&e))?;
        ok(wire::RemovePodSandboxResponse {})
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<wire::PodSandboxStatusRequest>,
    ) -> Answer<wire::PodSandboxStatusResponse> {
        let request = request.into_inner();
        let view = self
            .0
            .pod_sandbox_status(&request.pod_sandbox_id, request.verbose)
            .map_err(|e| status::from(&e))?;
        ok(answer::pod_status(view))
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<wire::ListPodSandboxRequest>,
    ) -> Answer<wire::ListPodSandboxResponse> {
        let filter =
            convert::pod_filter(request.into_inner().filter).map_err(|e| status::from(&e))?;
        let pods = self
            .0
            .list_pod_sandboxes(&filter)
            .map_err(|e| status::from(&e))?;
        ok(wire::ListPodSandboxResponse {
            items: pods.iter().map(|p| answer::pod(p)).collect(),
        })
    }

    async fn create_container(
        &self,
        request: Request<wire::CreateContainerRequest>,
    ) -> Answer<wire::CreateContainerResponse> {
        let request = request.into_inner();
        let config = convert::container_config(request.config).map_err(|e| status::from(&e))?;
        let id = self
            .0
            .create_container(&request.pod_sandbox_id, config)
            .await
            .map_err(|e| status::from(&e))?;
        ok(wire::CreateContainerResponse {
            container_id: id.into(),
        })
    }

    async fn start_container(
        &self,
        request: Request<wire::StartContainerRequest>,
    ) -> Answer<wire::StartContainerResponse> {
        let id = request.into_inner().container_id;
        self.0
            .start_container(&id)
            .await
            .map_err(|e| status::from(&e))?;
        ok(wire::StartContainerResponse {})
    }

    async fn stop_container(
        &self,
        request: Request<wire::StopContainerRequest>,
    ) -> Answer<wire::StopContainerResponse> {
        let request = request.into_inner();
        self.0
            .stop_container(&request.container_id, request.timeout)
            .await
            .map_err(|e| status::from(&e))?;
        ok(wire::StopContainerResponse {})
    }

    async fn remove_container(
        &self,
        request: Request<wire::RemoveContainerRequest>,
    ) -> Answer<wire::RemoveContainerResponse> {
        let id = request.into_inner().container_id;
        self.0
            .remove_container(&id)
            .await
            .map_err(|e| status::from(&e))?;
        ok(wire::RemoveContainerResponse {})
    }

    async fn list_containers(
        &self,
        request: Request<wire::ListContainersRequest>,
    ) -> Answer<wire::ListContainersResponse> {
        let filter =
            convert::container_filter(request.into_inner().filter).map_err(|e| status::from(&e))?;
        let found = self
            .0
            .list_containers(&filter)
            .map_err(|e| status::from(&e))?;
        ok(wire::ListContainersResponse {
            containers: found.iter().map(|c| answer::container(c)).collect(),
        })
    }

    async fn container_status(
        &self,
        request: Request<wire::ContainerStatusRequest>,
    ) -> Answer<wire::ContainerStatusResponse> {
        let request = request.into_inner();
        let view = self
            .0
            .container_status(&request.container_id, request.verbose)
            .map_err(|e| status::from(&e))?;
        ok(answer::container_status_response(view))
    }

    async fn reopen_container_log(
        &self,
        request: Request<wire::ReopenContainerLogRequest>,
    ) -> Answer<wire::ReopenContainerLogResponse> {
        let id = request.into_inner().container_id;
        self.0
            .reopen_container_log(&id)
            .await
            .map_err(|e| status::from(&e))?;
        ok(wire::ReopenContainerLogResponse {})
    }

    async fn exec_sync(
        &self,
        request: Request<wire::ExecSyncRequest>,
    ) -> Answer<wire::ExecSyncResponse> {
        let request = request.into_inner();
        let result = self
            .0
            .exec_sync(&request.container_id, request.cmd, request.timeout)
            .await
            .map_err(|e| status::from(&e))?;
        ok(wire::ExecSyncResponse {
            stdout: result.stdout,
            stderr: result.stderr,
            exit_code: result.exit_code,
        })
    }

    async fn get_container_events(
        &self,
        _: Request<wire::GetEventsRequest>,
    ) -> Answer<Self::GetContainerEventsStream> {
        ok(events::events(&self.0))
    }

    async fn exec(&self, request: Request<wire::ExecRequest>) -> Answer<wire::ExecResponse> {
        let request = request.into_inner();
        let exec = Exec {
            container: request.container_id,
            command: request.cmd,
            tty: request.tty,
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
        };
        let url = self.0.exec(exec).await.map_err(|e| status::from(&e))?;
        ok(wire::ExecResponse { url })
    }

    async fn attach(&self, request: Request<wire::AttachRequest>) -> Answer<wire::AttachResponse> {
        let request = request.into_inner();
        let attach = Attach {
            container: request.container_id,
            tty: request.tty,
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
        };
        let url = self.0.attach(attach).await.map_err(|e| status::from(&e))?;
        ok(wire::AttachResponse { url })
    }

    async fn port_forward(
        &self,
        request: Request<wire::PortForwardRequest>,
    ) -> Answer<wire::PortForwardResponse> {
        let request = request.into_inner();
        let url = self
            .0
            .port_forward(&request.pod_sandbox_id, &request.port)
            .map_err(|e| status::from(&e))?;
        ok(wire::PortForwardResponse { url })
    }

    async fn container_stats(
        &self,
        request: Request<wire::ContainerStatsRequest>,
    ) -> Answer<wire::ContainerStatsResponse> {
        let id = request.into_inner().container_id;
        let view = self
            .0
            .container_stats(&id)
            .await
            .map_err(|e| status::from(&e))?;
        ok(wire::ContainerStatsResponse {
            stats: Some(answer::stats(&view)),
        })
    }

    async fn list_container_stats(
        &self,
        request: Request<wire::ListContainerStatsRequest>,
    ) -> Answer<wire::ListContainerStatsResponse> {
        let filter = convert::stats_filter(request.into_inner().filter);
        let views = self
            .0
            .list_container_stats(&filter)
            .await
            .map_err(|e| status::from(&e))?;
        ok(wire::ListContainerStatsResponse {
            stats: views.iter().map(answer::stats).collect(),
        })
    }
}

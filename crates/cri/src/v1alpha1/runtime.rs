//! `runtime.RuntimeService`: each call converts, asks the service, converts back.

use cri_api::v1alpha1::{self as wire, runtime_service_server::RuntimeService};
use tonic::{Request, Response, Status};

use super::{answer, convert};
use crate::{
    service::Service,
    v1::status::{self, told},
};

/// The adapter.
#[derive(Debug, Clone)]
pub(crate) struct Runtime(pub(crate) Service);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl RuntimeService for Runtime {
    async fn version(&self, _: Request<wire::VersionRequest>) -> Answer<wire::VersionResponse> {
        told(Ok(()), |()| answer::version())
    }

    async fn status(&self, _: Request<wire::StatusRequest>) -> Answer<wire::StatusResponse> {
        told(Ok(self.0.status(false).await), answer::status)
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<wire::RunPodSandboxRequest>,
    ) -> Answer<wire::RunPodSandboxResponse> {
        let config =
            convert::pod_config(request.into_inner().config).map_err(|e| status::from(&e))?;
        told(self.0.run_pod_sandbox(config).await, |id| {
            wire::RunPodSandboxResponse {
                pod_sandbox_id: Some(id.into()),
            }
        })
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<wire::StopPodSandboxRequest>,
    ) -> Answer<wire::StopPodSandboxResponse> {
        let request = request.into_inner();
        let stopped = self.0.stop_pod_sandbox(request.pod_sandbox_id()).await;
        told(stopped, |()| wire::StopPodSandboxResponse {})
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<wire::RemovePodSandboxRequest>,
    ) -> Answer<wire::RemovePodSandboxResponse> {
        let request = request.into_inner();
        let removed = self.0.remove_pod_sandbox(request.pod_sandbox_id()).await;
        told(removed, |()| wire::RemovePodSandboxResponse {})
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<wire::PodSandboxStatusRequest>,
    ) -> Answer<wire::PodSandboxStatusResponse> {
        let request = request.into_inner();
        let view = self.0.pod_sandbox_status(request.pod_sandbox_id(), false);
        told(view, |view| answer::pod_status(&view))
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<wire::ListPodSandboxRequest>,
    ) -> Answer<wire::ListPodSandboxResponse> {
        let pods = convert::pod_filter(request.into_inner().filter)
            .and_then(|filter| self.0.list_pod_sandboxes(&filter));
        told(pods, |pods| wire::ListPodSandboxResponse {
            items: pods.iter().map(|pod| answer::pod(pod)).collect(),
        })
    }

    async fn create_container(
        &self,
        request: Request<wire::CreateContainerRequest>,
    ) -> Answer<wire::CreateContainerResponse> {
        let mut request = request.into_inner();
        let config =
            convert::container_config(request.config.take()).map_err(|e| status::from(&e))?;
        let made = self.0.create_container(request.pod_sandbox_id(), config);
        told(made.await, |id| wire::CreateContainerResponse {
            container_id: Some(id.into()),
        })
    }

    async fn start_container(
        &self,
        request: Request<wire::StartContainerRequest>,
    ) -> Answer<wire::StartContainerResponse> {
        let request = request.into_inner();
        let started = self.0.start_container(request.container_id()).await;
        told(started, |()| wire::StartContainerResponse {})
    }

    async fn stop_container(
        &self,
        request: Request<wire::StopContainerRequest>,
    ) -> Answer<wire::StopContainerResponse> {
        let request = request.into_inner();
        let stopped = self
            .0
            .stop_container(request.container_id(), request.timeout());
        told(stopped.await, |()| wire::StopContainerResponse {})
    }

    async fn remove_container(
        &self,
        request: Request<wire::RemoveContainerRequest>,
    ) -> Answer<wire::RemoveContainerResponse> {
        let request = request.into_inner();
        let removed = self.0.remove_container(request.container_id()).await;
        told(removed, |()| wire::RemoveContainerResponse {})
    }

    async fn list_containers(
        &self,
        request: Request<wire::ListContainersRequest>,
    ) -> Answer<wire::ListContainersResponse> {
        let found = convert::container_filter(request.into_inner().filter)
            .and_then(|filter| self.0.list_containers(&filter));
        told(found, |found| wire::ListContainersResponse {
            containers: found.iter().map(|c| answer::container(c)).collect(),
        })
    }

    async fn container_status(
        &self,
        request: Request<wire::ContainerStatusRequest>,
    ) -> Answer<wire::ContainerStatusResponse> {
        let request = request.into_inner();
        let view = self.0.container_status(request.container_id(), false);
        told(view.await, |view| answer::container_status(&view))
    }

    async fn exec_sync(
        &self,
        request: Request<wire::ExecSyncRequest>,
    ) -> Answer<wire::ExecSyncResponse> {
        let mut request = request.into_inner();
        let cmd = std::mem::take(&mut request.cmd);
        let result = self
            .0
            .exec_sync(request.container_id(), cmd, request.timeout());
        told(result.await, |result| wire::ExecSyncResponse {
            stdout: Some(result.stdout),
            stderr: Some(result.stderr),
            exit_code: Some(result.exit_code),
        })
    }

    async fn exec(&self, request: Request<wire::ExecRequest>) -> Answer<wire::ExecResponse> {
        let exec = convert::exec(request.into_inner());
        told(self.0.exec(exec).await, |url| wire::ExecResponse {
            url: Some(url),
        })
    }

    async fn attach(&self, request: Request<wire::AttachRequest>) -> Answer<wire::AttachResponse> {
        let attach = convert::attach(request.into_inner());
        told(self.0.attach(attach).await, |url| wire::AttachResponse {
            url: Some(url),
        })
    }

    async fn port_forward(
        &self,
        request: Request<wire::PortForwardRequest>,
    ) -> Answer<wire::PortForwardResponse> {
        let request = request.into_inner();
        let url = self.0.port_forward(request.pod_sandbox_id(), &request.port);
        told(url, |url| wire::PortForwardResponse { url: Some(url) })
    }

    async fn update_runtime_config(
        &self,
        request: Request<wire::UpdateRuntimeConfigRequest>,
    ) -> Answer<wire::UpdateRuntimeConfigResponse> {
        let config = request.into_inner().runtime_config;
        let network = config.and_then(|config| config.network_config);
        let cidr = network.and_then(|network| network.pod_cidr);
        let updated = self.0.update_runtime_config(cidr.unwrap_or_default()).await;
        told(updated, |()| wire::UpdateRuntimeConfigResponse {})
    }
}

//! `runtime.v1.RuntimeService`: each call converts, asks the service, converts back.

use cri_api::v1::{self as wire, runtime_service_server::RuntimeService};
use tonic::{Request, Response, Status};

use super::{
    answer, chunks,
    chunks::Chunks,
    convert, events, metrics, pod_stats,
    status::{self, told},
};
use crate::{
    error::Error,
    service::{Attach, Exec, Service},
};

/// The adapter.
#[derive(Debug, Clone)]
pub(crate) struct Runtime(pub(crate) Service);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl RuntimeService for Runtime {
    super::unimplemented::unimplemented_runtime_rpcs!();

    type GetContainerEventsStream = events::Events;
    type StreamPodSandboxesStream = Chunks<wire::StreamPodSandboxesResponse>;
    type StreamContainersStream = Chunks<wire::StreamContainersResponse>;
    type StreamContainerStatsStream = Chunks<wire::StreamContainerStatsResponse>;
    type StreamPodSandboxStatsStream = Chunks<wire::StreamPodSandboxStatsResponse>;
    type StreamPodSandboxMetricsStream = Chunks<wire::StreamPodSandboxMetricsResponse>;

    async fn version(&self, _: Request<wire::VersionRequest>) -> Answer<wire::VersionResponse> {
        told(Ok(()), |()| answer::version())
    }

    async fn status(&self, request: Request<wire::StatusRequest>) -> Answer<wire::StatusResponse> {
        let verbose = request.into_inner().verbose;
        told(Ok(self.0.status(verbose).await), answer::status)
    }

    async fn runtime_config(
        &self,
        _: Request<wire::RuntimeConfigRequest>,
    ) -> Answer<wire::RuntimeConfigResponse> {
        told(Ok(()), |()| answer::runtime_config())
    }

    async fn update_runtime_config(
        &self,
        request: Request<wire::UpdateRuntimeConfigRequest>,
    ) -> Answer<wire::UpdateRuntimeConfigResponse> {
        let config = request.into_inner().runtime_config.unwrap_or_default();
        let cidr = config.network_config.unwrap_or_default().pod_cidr;
        let updated = self.0.update_runtime_config(cidr).await;
        told(updated, |()| wire::UpdateRuntimeConfigResponse {})
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<wire::RunPodSandboxRequest>,
    ) -> Answer<wire::RunPodSandboxResponse> {
        let request = request.into_inner();
        let config = convert::pod_config(request.config, request.runtime_handler)
            .map_err(|e| status::from(&e))?;
        told(self.0.run_pod_sandbox(config).await, |id| {
            wire::RunPodSandboxResponse {
                pod_sandbox_id: id.into(),
            }
        })
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<wire::StopPodSandboxRequest>,
    ) -> Answer<wire::StopPodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        told(self.0.stop_pod_sandbox(&id).await, |()| {
            wire::StopPodSandboxResponse {}
        })
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<wire::RemovePodSandboxRequest>,
    ) -> Answer<wire::RemovePodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        told(self.0.remove_pod_sandbox(&id).await, |()| {
            wire::RemovePodSandboxResponse {}
        })
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<wire::PodSandboxStatusRequest>,
    ) -> Answer<wire::PodSandboxStatusResponse> {
        let request = request.into_inner();
        let view = self
            .0
            .pod_sandbox_status(&request.pod_sandbox_id, request.verbose);
        told(view, answer::pod_status)
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<wire::ListPodSandboxRequest>,
    ) -> Answer<wire::ListPodSandboxResponse> {
        let pods = self.pods(request.into_inner().filter);
        told(pods, |items| wire::ListPodSandboxResponse { items })
    }

    async fn stream_pod_sandboxes(
        &self,
        request: Request<wire::StreamPodSandboxesRequest>,
    ) -> Answer<Self::StreamPodSandboxesStream> {
        let pods = self.pods(request.into_inner().filter);
        told(pods, |pods| {
            chunks::of(pods, |pod_sandboxes| wire::StreamPodSandboxesResponse {
                pod_sandboxes,
            })
        })
    }

    async fn create_container(
        &self,
        request: Request<wire::CreateContainerRequest>,
    ) -> Answer<wire::CreateContainerResponse> {
        let request = request.into_inner();
        let config = convert::container_config(request.config).map_err(|e| status::from(&e))?;
        let made = self.0.create_container(&request.pod_sandbox_id, config);
        told(made.await, |id| wire::CreateContainerResponse {
            container_id: id.into(),
        })
    }

    async fn start_container(
        &self,
        request: Request<wire::StartContainerRequest>,
    ) -> Answer<wire::StartContainerResponse> {
        let id = request.into_inner().container_id;
        told(self.0.start_container(&id).await, |()| {
            wire::StartContainerResponse {}
        })
    }

    async fn stop_container(
        &self,
        request: Request<wire::StopContainerRequest>,
    ) -> Answer<wire::StopContainerResponse> {
        let request = request.into_inner();
        let stopped = self
            .0
            .stop_container(&request.container_id, request.timeout);
        told(stopped.await, |()| wire::StopContainerResponse {})
    }

    async fn remove_container(
        &self,
        request: Request<wire::RemoveContainerRequest>,
    ) -> Answer<wire::RemoveContainerResponse> {
        let id = request.into_inner().container_id;
        told(self.0.remove_container(&id).await, |()| {
            wire::RemoveContainerResponse {}
        })
    }

    async fn list_containers(
        &self,
        request: Request<wire::ListContainersRequest>,
    ) -> Answer<wire::ListContainersResponse> {
        let found = self.containers(request.into_inner().filter);
        told(found, |containers| wire::ListContainersResponse {
            containers,
        })
    }

    async fn stream_containers(
        &self,
        request: Request<wire::StreamContainersRequest>,
    ) -> Answer<Self::StreamContainersStream> {
        let found = self.containers(request.into_inner().filter);
        told(found, |found| {
            chunks::of(found, |containers| wire::StreamContainersResponse {
                containers,
            })
        })
    }

    async fn container_status(
        &self,
        request: Request<wire::ContainerStatusRequest>,
    ) -> Answer<wire::ContainerStatusResponse> {
        let request = request.into_inner();
        let view = self
            .0
            .container_status(&request.container_id, request.verbose);
        told(view.await, answer::container_status_response)
    }

    async fn update_container_resources(
        &self,
        request: Request<wire::UpdateContainerResourcesRequest>,
    ) -> Answer<wire::UpdateContainerResourcesResponse> {
        let request = request.into_inner();
        let said = convert::update(request.linux, request.windows).map_err(|e| status::from(&e))?;
        let updated = self
            .0
            .update_container_resources(&request.container_id, said);
        told(
            updated.await,
            |()| wire::UpdateContainerResourcesResponse {},
        )
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: Request<wire::UpdatePodSandboxResourcesRequest>,
    ) -> Answer<wire::UpdatePodSandboxResourcesResponse> {
        // The client's cgroup holds them: see the table of what is accepted without effect.
        let id = request.into_inner().pod_sandbox_id;
        told(self.0.pod_sandbox_status(&id, false), |_| {
            wire::UpdatePodSandboxResourcesResponse {}
        })
    }

    async fn reopen_container_log(
        &self,
        request: Request<wire::ReopenContainerLogRequest>,
    ) -> Answer<wire::ReopenContainerLogResponse> {
        let id = request.into_inner().container_id;
        told(self.0.reopen_container_log(&id).await, |()| {
            wire::ReopenContainerLogResponse {}
        })
    }

    async fn exec_sync(
        &self,
        request: Request<wire::ExecSyncRequest>,
    ) -> Answer<wire::ExecSyncResponse> {
        let request = request.into_inner();
        let result = self
            .0
            .exec_sync(&request.container_id, request.cmd, request.timeout);
        told(result.await, |result| wire::ExecSyncResponse {
            stdout: result.stdout,
            stderr: result.stderr,
            exit_code: result.exit_code,
        })
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
            ..Exec::default()
        };
        told(self.0.exec(exec).await, |url| wire::ExecResponse { url })
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
        told(self.0.attach(attach).await, |url| wire::AttachResponse {
            url,
        })
    }

    async fn port_forward(
        &self,
        request: Request<wire::PortForwardRequest>,
    ) -> Answer<wire::PortForwardResponse> {
        let request = request.into_inner();
        let url = self.0.port_forward(&request.pod_sandbox_id, &request.port);
        told(url, |url| wire::PortForwardResponse { url })
    }

    async fn container_stats(
        &self,
        request: Request<wire::ContainerStatsRequest>,
    ) -> Answer<wire::ContainerStatsResponse> {
        let id = request.into_inner().container_id;
        told(self.0.container_stats(&id).await, |view| {
            wire::ContainerStatsResponse {
                stats: Some(answer::stats(&view)),
            }
        })
    }

    async fn list_container_stats(
        &self,
        request: Request<wire::ListContainerStatsRequest>,
    ) -> Answer<wire::ListContainerStatsResponse> {
        let filter = convert::stats_filter(request.into_inner().filter);
        let views = self.0.list_container_stats(&filter).await;
        told(views, |views| wire::ListContainerStatsResponse {
            stats: views.iter().map(answer::stats).collect(),
        })
    }

    async fn stream_container_stats(
        &self,
        request: Request<wire::StreamContainerStatsRequest>,
    ) -> Answer<Self::StreamContainerStatsStream> {
        let filter = convert::stats_filter(request.into_inner().filter);
        let views = self.0.list_container_stats(&filter).await;
        told(views, |views| {
            let stats = views.iter().map(answer::stats).collect();
            chunks::of(stats, |container_stats| {
                wire::StreamContainerStatsResponse { container_stats }
            })
        })
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<wire::PodSandboxStatsRequest>,
    ) -> Answer<wire::PodSandboxStatsResponse> {
        let id = request.into_inner().pod_sandbox_id;
        told(self.0.pod_sandbox_stats(&id).await, |view| {
            wire::PodSandboxStatsResponse {
                stats: Some(pod_stats::stats(&view)),
            }
        })
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<wire::ListPodSandboxStatsRequest>,
    ) -> Answer<wire::ListPodSandboxStatsResponse> {
        let filter = convert::pod_stats_filter(request.into_inner().filter);
        let views = self.0.list_pod_sandbox_stats(&filter).await;
        told(views, |views| wire::ListPodSandboxStatsResponse {
            stats: views.iter().map(pod_stats::stats).collect(),
        })
    }

    async fn stream_pod_sandbox_stats(
        &self,
        request: Request<wire::StreamPodSandboxStatsRequest>,
    ) -> Answer<Self::StreamPodSandboxStatsStream> {
        let filter = convert::pod_stats_filter(request.into_inner().filter);
        let views = self.0.list_pod_sandbox_stats(&filter).await;
        told(views, |views| {
            let stats = views.iter().map(pod_stats::stats).collect();
            chunks::of(stats, |pod_sandbox_stats| {
                wire::StreamPodSandboxStatsResponse { pod_sandbox_stats }
            })
        })
    }

    async fn list_metric_descriptors(
        &self,
        _: Request<wire::ListMetricDescriptorsRequest>,
    ) -> Answer<wire::ListMetricDescriptorsResponse> {
        told(Ok(()), |()| wire::ListMetricDescriptorsResponse {
            descriptors: metrics::descriptors(),
        })
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _: Request<wire::ListPodSandboxMetricsRequest>,
    ) -> Answer<wire::ListPodSandboxMetricsResponse> {
        let view = self.0.pod_sandbox_metrics().await;
        told(view, |view| wire::ListPodSandboxMetricsResponse {
            pod_metrics: metrics::of(&view),
        })
    }

    async fn stream_pod_sandbox_metrics(
        &self,
        _: Request<wire::StreamPodSandboxMetricsRequest>,
    ) -> Answer<Self::StreamPodSandboxMetricsStream> {
        let view = self.0.pod_sandbox_metrics().await;
        told(view, |view| {
            chunks::of(metrics::of(&view), |pod_sandbox_metrics| {
                wire::StreamPodSandboxMetricsResponse {
                    pod_sandbox_metrics,
                }
            })
        })
    }

    async fn get_container_events(
        &self,
        _: Request<wire::GetEventsRequest>,
    ) -> Answer<Self::GetContainerEventsStream> {
        told(Ok(()), |()| events::events(&self.0))
    }
}

impl Runtime {
    fn pods(&self, filter: Option<wire::PodSandboxFilter>) -> Result<Vec<wire::PodSandbox>, Error> {
        let pods = self.0.list_pod_sandboxes(&convert::pod_filter(filter)?)?;
        Ok(pods.iter().map(|pod| answer::pod(pod)).collect())
    }

    fn containers(
        &self,
        filter: Option<wire::ContainerFilter>,
    ) -> Result<Vec<wire::Container>, Error> {
        let found = self
            .0
            .list_containers(&convert::container_filter(filter)?)?;
        Ok(found.iter().map(|one| answer::container(one)).collect())
    }
}

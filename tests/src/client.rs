//! CRI over a socket: the published calls, shortened where tests repeat themselves.

use std::{path::Path, time::Duration};

use cri_api::{
    node::{
        ImportImageHeader, ImportImageRequest, ImportedImage, import_image_event::Event,
        import_image_request::Part, node_client::NodeClient,
    },
    v1::{
        self, image_service_client::ImageServiceClient,
        runtime_service_client::RuntimeServiceClient,
    },
};
use hyper_util::rt::TokioIo;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// A connection.
#[derive(Debug, Clone)]
pub struct Client {
    /// `runtime.v1.RuntimeService`.
    pub runtime: RuntimeServiceClient<Channel>,
    /// `runtime.v1.ImageService`.
    pub images: ImageServiceClient<Channel>,
    /// `coffer.v1.Node`.
    pub node: NodeClient<Channel>,
}

impl Client {
    /// Connects, if somebody listens.
    ///
    /// # Errors
    /// Nobody does.
    pub async fn connect(socket: &Path) -> Result<Client, tonic::transport::Error> {
        let channel = Client::channel(socket).await?;
        Ok(Client {
            runtime: RuntimeServiceClient::new(channel.clone()),
            images: ImageServiceClient::new(channel.clone()),
            node: NodeClient::new(channel),
        })
    }

    /// A connection for a client of another kind.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn channel(socket: &Path) -> Result<Channel, tonic::transport::Error> {
        Client::channel_within(socket, Duration::from_secs(60)).await
    }

    /// The same, with this much time for a call.
    ///
    /// # Errors
    /// As [`Client::channel`].
    pub async fn channel_within(
        socket: &Path,
        patience: Duration,
    ) -> Result<Channel, tonic::transport::Error> {
        let socket = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move {
                tokio::net::UnixStream::connect(socket)
                    .await
                    .map(TokioIo::new)
            }
        });
        Endpoint::from_static("http://localhost")
            .timeout(patience)
            .connect_with_connector(connector)
            .await
    }

    /// Imports a tar stream.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn import(&self, name: &str, tar: &[u8]) -> Result<Vec<ImportedImage>, Status> {
        let header = Part::Header(ImportImageHeader {
            name: name.to_owned(),
        });
        let chunks = tar
            .chunks(256 << 10)
            .map(|chunk| Part::Chunk(chunk.to_vec()));
        let parts: Vec<ImportImageRequest> = std::iter::once(header)
            .chain(chunks)
            .map(|part| ImportImageRequest { part: Some(part) })
            .collect();
        let mut events = self
            .node
            .clone()
            .import_image(tokio_stream::iter(parts))
            .await?
            .into_inner();
        while let Some(event) = events.message().await? {
            if let Some(Event::Done(done)) = event.event {
                return Ok(done.images);
            }
        }
        Err(Status::internal("the import ended without a word"))
    }

    /// RunPodSandbox: the pod's id.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn run_pod(&self, config: &v1::PodSandboxConfig) -> Result<String, Status> {
        let request = v1::RunPodSandboxRequest {
            config: Some(config.clone()),
            runtime_handler: String::new(),
        };
        let answer = self.runtime.clone().run_pod_sandbox(request).await?;
        Ok(answer.into_inner().pod_sandbox_id)
    }

    /// CreateContainer: the container's id.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn create(
        &self,
        pod: &str,
        pod_config: &v1::PodSandboxConfig,
        config: &v1::ContainerConfig,
    ) -> Result<String, Status> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(config.clone()),
            sandbox_config: Some(pod_config.clone()),
        };
        let answer = self.runtime.clone().create_container(request).await?;
        Ok(answer.into_inner().container_id)
    }

    /// StartContainer.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn start(&self, id: &str) -> Result<(), Status> {
        let request = v1::StartContainerRequest {
            container_id: id.to_owned(),
        };
        self.runtime
            .clone()
            .start_container(request)
            .await
            .map(drop)
    }

    /// Pod and container, running: their ids.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn run(
        &self,
        pod_config: &v1::PodSandboxConfig,
        config: &v1::ContainerConfig,
    ) -> Result<(String, String), Status> {
        let pod = self.run_pod(pod_config).await?;
        let container = self.create(&pod, pod_config, config).await?;
        self.start(&container).await?;
        Ok((pod, container))
    }

    /// StopContainer with `seconds` between SIGTERM and SIGKILL.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn stop(&self, id: &str, seconds: i64) -> Result<(), Status> {
        let request = v1::StopContainerRequest {
            container_id: id.to_owned(),
            timeout: seconds,
        };
        self.runtime.clone().stop_container(request).await.map(drop)
    }

    /// RemoveContainer.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn remove(&self, id: &str) -> Result<(), Status> {
        let request = v1::RemoveContainerRequest {
            container_id: id.to_owned(),
        };
        self.runtime
            .clone()
            .remove_container(request)
            .await
            .map(drop)
    }

    /// StopPodSandbox.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn stop_pod(&self, id: &str) -> Result<(), Status> {
        let request = v1::StopPodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        self.runtime
            .clone()
            .stop_pod_sandbox(request)
            .await
            .map(drop)
    }

    /// RemovePodSandbox.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn remove_pod(&self, id: &str) -> Result<(), Status> {
        let request = v1::RemovePodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        self.runtime
            .clone()
            .remove_pod_sandbox(request)
            .await
            .map(drop)
    }

    /// ContainerStatus, verbose.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn status(&self, id: &str) -> Result<v1::ContainerStatus, Status> {
        let request = v1::ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: true,
        };
        let answer = self
            .runtime
            .clone()
            .container_status(request)
            .await?
            .into_inner();
        answer.status.ok_or_else(|| Status::internal("no status"))
    }

    /// PodSandboxStatus.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn pod_status(&self, id: &str) -> Result<v1::PodSandboxStatus, Status> {
        let request = v1::PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: false,
        };
        let answer = self
            .runtime
            .clone()
            .pod_sandbox_status(request)
            .await?
            .into_inner();
        answer.status.ok_or_else(|| Status::internal("no status"))
    }

    /// Sends the node's pod CIDR.
    ///
    /// # Errors
    /// The daemon's answer.
    pub async fn update_pod_cidr(&self, pod_cidr: &str) -> Result<(), Status> {
        let network_config = v1::NetworkConfig {
            pod_cidr: pod_cidr.to_owned(),
        };
        let request = v1::UpdateRuntimeConfigRequest {
            runtime_config: Some(v1::RuntimeConfig {
                network_config: Some(network_config),
            }),
        };
        self.runtime.clone().update_runtime_config(request).await?;
        Ok(())
    }

    /// A condition of Status, by its type.
    ///
    /// # Errors
    /// The daemon's answer; NOT_FOUND when there is no such condition.
    pub async fn condition(&self, kind: &str) -> Result<v1::RuntimeCondition, Status> {
        let mut runtime = self.runtime.clone();
        let answer = runtime.status(v1::StatusRequest::default()).await?;
        let status = answer.into_inner().status.unwrap_or_default();
        let mut conditions = status.conditions.into_iter();
        conditions
            .find(|condition| condition.r#type == kind)
            .ok_or_else(|| Status::not_found(kind))
    }

    /// ListPodSandbox.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn pods(&self) -> Result<Vec<v1::PodSandbox>, Status> {
        let all = v1::ListPodSandboxRequest::default();
        Ok(self
            .runtime
            .clone()
            .list_pod_sandbox(all)
            .await?
            .into_inner()
            .items)
    }

    /// ListContainers.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn containers(&self) -> Result<Vec<v1::Container>, Status> {
        let all = v1::ListContainersRequest::default();
        Ok(self
            .runtime
            .clone()
            .list_containers(all)
            .await?
            .into_inner()
            .containers)
    }

    /// ExecSync: exit code and standard output.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn exec(&self, id: &str, command: &[&str]) -> Result<(i32, String), Status> {
        let request = v1::ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command.iter().map(|word| (*word).to_owned()).collect(),
            timeout: 30,
        };
        let answer = self.runtime.clone().exec_sync(request).await?.into_inner();
        Ok((
            answer.exit_code,
            String::from_utf8_lossy(&answer.stdout).into_owned(),
        ))
    }

    /// Waits until a container has ended.
    ///
    /// # Errors
    /// The daemon's, or DEADLINE_EXCEEDED after 20 s.
    pub async fn wait(&self, id: &str) -> Result<v1::ContainerStatus, Status> {
        for _ in 0..800 {
            let status = self.status(id).await?;
            if status.state() == v1::ContainerState::ContainerExited {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err(Status::deadline_exceeded(format!(
            "container {id} still runs after 20 s"
        )))
    }
}

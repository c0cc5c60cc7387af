//! The daemon as functions: one CRI call each, with our types in and out. A client like any other:
//! all that it knows it has from the socket.

use std::{io, path::Path, sync::Arc, time::Duration};

use cri_api::{
    node::{
        self, ImportImageHeader, ImportImageRequest, import_image_event::Event,
        import_image_request::Part, node_client::NodeClient,
    },
    v1::{
        self, image_service_client::ImageServiceClient,
        runtime_service_client::RuntimeServiceClient,
    },
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::{
    convert,
    error::{CallKind, Error},
    sockpath::SocketPath,
    view::{
        Container, ExecResult, Image, NewContainer, NewPod, Pod, PodStatus, Stats, Status, Version,
    },
};

/// An answer may be as large as a busy node's lists are.
const MAX_ANSWER: usize = 64 << 20;
/// CRI's own limit for most calls is two minutes; ours leaves time for the daemon's answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(150);

/// A connection to the daemon; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    channel: Channel,
}

/// What an import reports on its way.
#[derive(Debug)]
pub(crate) enum ImportEvent {
    /// Bytes of the archive that the daemon has read.
    Progress(u64),
    /// A layer is there.
    Layer { digest: String, existed: bool },
    /// All is there: id, names and size of each image.
    Done(Vec<(String, Vec<String>, u64)>),
}

impl Daemon {
    /// Connects to `socket`; the error says why nobody answers there.
    pub(crate) async fn connect(socket: &Path) -> Result<Daemon, Error> {
        let failed = |source| Error::Connect {
            socket: socket.to_owned(),
            source,
        };
        let path = Arc::new(SocketPath::open(socket).map_err(failed)?);
        let first = UnixStream::connect(path.path()).await.map_err(failed)?;
        let first = Arc::new(std::sync::Mutex::new(Some(first)));
        let connector = tower::service_fn(move |_| {
            let path = Arc::clone(&path);
            let kept = first.lock().ok().and_then(|mut slot| slot.take());
            async move {
                let stream = match kept {
                    Some(stream) => stream,
                    None => UnixStream::connect(path.path()).await?,
                };
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        });
        let channel = Endpoint::from_static("http://localhost")
            .connect_with_connector(connector)
            .await
            .map_err(|error| failed(io::Error::other(error)))?;
        Ok(Daemon { channel })
    }

    pub(crate) fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    fn images_service(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub(crate) async fn version(&self) -> Result<Version, Error> {
        let request = v1::VersionRequest {
            version: "0.1.0".to_owned(),
        };
        let answer = self.runtime().version(limited(request)).await;
        let answer = answer.map_err(of("ask for the version"))?.into_inner();
        Ok(Version {
            client_version: env!("CARGO_PKG_VERSION"),
            runtime_name: answer.runtime_name,
            runtime_version: answer.runtime_version,
            runtime_api_version: answer.runtime_api_version,
        })
    }

    /// The daemon's verbose status: a map of JSON.
    pub(crate) async fn info(
        &self,
    ) -> Result<std::collections::BTreeMap<String, serde_json::Value>, Error> {
        let answer = self
            .runtime()
            .status(limited(v1::StatusRequest { verbose: true }))
            .await;
        Ok(convert::parsed(
            answer.map_err(of("ask for the status"))?.into_inner().info,
        ))
    }

    pub(crate) async fn pods(&self) -> Result<Vec<Pod>, Error> {
        let answer = self
            .runtime()
            .list_pod_sandbox(limited(Default::default()))
            .await;
        let items = answer.map_err(of("list pods"))?.into_inner().items;
        Ok(items.into_iter().map(convert::pod).collect())
    }

    /// All containers, with the names of their pods.
    pub(crate) async fn containers(&self) -> Result<Vec<Container>, Error> {
        let pods = self.pods().await?;
        let answer = self
            .runtime()
            .list_containers(limited(Default::default()))
            .await;
        let items = answer
            .map_err(of("list containers"))?
            .into_inner()
            .containers;
        let pod_name = |id: &str| {
            pods.iter()
                .find(|pod| pod.id == id)
                .map(|pod| pod.name.clone())
                .unwrap_or_default()
        };
        Ok(items
            .into_iter()
            .map(|wire| {
                let name = pod_name(&wire.pod_sandbox_id);
                convert::container(wire, name)
            })
            .collect())
    }

    pub(crate) async fn pod_status(&self, id: &str) -> Result<PodStatus, Error> {
        let what = || format!("look at pod {id}");
        let request = v1::PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: true,
        };
        let answer = self.runtime().pod_sandbox_status(limited(request)).await;
        let answer = answer.map_err(of(&what()))?.into_inner();
        let missing = || Error::Answer {
            what: what(),
            missing: "status",
        };
        Ok(convert::pod_status(
            answer.status.ok_or_else(missing)?,
            answer.info,
        ))
    }

    pub(crate) async fn status(&self, id: &str, verbose: bool) -> Result<Status, Error> {
        let what = || format!("look at container {id}");
        let request = v1::ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose,
        };
        let answer = self.runtime().container_status(limited(request)).await;
        let answer = answer.map_err(of(&what()))?.into_inner();
        let missing = || Error::Answer {
            what: what(),
            missing: "status",
        };
        Ok(convert::status(
            answer.status.ok_or_else(missing)?,
            answer.info,
        ))
    }

    pub(crate) async fn images(&self) -> Result<Vec<Image>, Error> {
        let answer = self
            .images_service()
            .list_images(limited(Default::default()))
            .await;
        let images = answer.map_err(of("list images"))?.into_inner().images;
        Ok(images.into_iter().map(convert::image).collect())
    }

    /// The image that `name` means, if it is there.
    pub(crate) async fn image(&self, name: &str) -> Result<Option<Image>, Error> {
        let request = v1::ImageStatusRequest {
            image: image_spec(name),
            verbose: false,
        };
        let answer = self.images_service().image_status(limited(request)).await;
        let answer = answer
            .map_err(of(&format!("look for image {name}")))?
            .into_inner();
        Ok(answer.image.map(convert::image))
    }

    pub(crate) async fn remove_image(&self, name: &str) -> Result<(), Error> {
        let request = v1::RemoveImageRequest {
            image: image_spec(name),
        };
        let answer = self.images_service().remove_image(limited(request)).await;
        answer
            .map(drop)
            .map_err(of(&format!("remove image {name}")))
    }

    pub(crate) async fn run_pod(&self, new: &NewPod) -> Result<String, Error> {
        let request = v1::RunPodSandboxRequest {
            config: Some(convert::pod_config(new)),
            runtime_handler: String::new(),
        };
        let answer = self.runtime().run_pod_sandbox(request).await;
        let answer = answer.map_err(of(&format!("start pod {}", new.name)))?;
        Ok(answer.into_inner().pod_sandbox_id)
    }

    pub(crate) async fn stop_pod(&self, id: &str) -> Result<(), Error> {
        let request = v1::StopPodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        let answer = self.runtime().stop_pod_sandbox(limited(request)).await;
        answer.map(drop).map_err(of(&format!("stop pod {id}")))
    }

    pub(crate) async fn remove_pod(&self, id: &str) -> Result<(), Error> {
        let request = v1::RemovePodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        let answer = self.runtime().remove_pod_sandbox(limited(request)).await;
        answer.map(drop).map_err(of(&format!("remove pod {id}")))
    }

    pub(crate) async fn create(
        &self,
        pod: &PodStatus,
        log_directory: &str,
        new: &NewContainer,
    ) -> Result<String, Error> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: pod.pod.id.clone(),
            config: Some(convert::container_config(new, pod.network == "host")),
            sandbox_config: Some(convert::pod_reference(&pod.pod, log_directory)),
        };
        let answer = self.runtime().create_container(limited(request)).await;
        let answer = answer.map_err(of(&format!("create container {}", new.name)))?;
        Ok(answer.into_inner().container_id)
    }

    pub(crate) async fn start(&self, id: &str, name: &str) -> Result<(), Error> {
        let request = v1::StartContainerRequest {
            container_id: id.to_owned(),
        };
        let answer = self.runtime().start_container(limited(request)).await;
        answer
            .map(drop)
            .map_err(of(&format!("start container {name}")))
    }

    /// Stops a container: SIGTERM, after `seconds` SIGKILL.
    pub(crate) async fn stop(&self, id: &str, name: &str, seconds: u32) -> Result<(), Error> {
        let mut request = tonic::Request::new(v1::StopContainerRequest {
            container_id: id.to_owned(),
            timeout: i64::from(seconds),
        });
        request.set_timeout(CALL_TIMEOUT + Duration::from_secs(u64::from(seconds)));
        let answer = self.runtime().stop_container(request).await;
        answer
            .map(drop)
            .map_err(of(&format!("stop container {name}")))
    }

    pub(crate) async fn remove(&self, id: &str, name: &str) -> Result<(), Error> {
        let request = v1::RemoveContainerRequest {
            container_id: id.to_owned(),
        };
        let answer = self.runtime().remove_container(limited(request)).await;
        answer
            .map(drop)
            .map_err(of(&format!("remove container {name}")))
    }

    /// Runs a command in a container until it ends or `seconds` are over (0: without limit).
    pub(crate) async fn exec(
        &self,
        id: &str,
        name: &str,
        command: &[String],
        seconds: u32,
    ) -> Result<ExecResult, Error> {
        let request = v1::ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command.to_vec(),
            timeout: i64::from(seconds),
        };
        let what = format!("run {:?} in container {name}", command.join(" "));
        let answer = self
            .runtime()
            .exec_sync(request)
            .await
            .map_err(of(&what))?
            .into_inner();
        Ok(ExecResult {
            stdout: answer.stdout,
            stderr: answer.stderr,
            exit_code: answer.exit_code,
        })
    }

    /// What all running containers use.
    pub(crate) async fn stats(&self) -> Result<Vec<Stats>, Error> {
        let answer = self
            .runtime()
            .list_container_stats(limited(Default::default()))
            .await;
        let stats = answer.map_err(of("read statistics"))?.into_inner().stats;
        Ok(stats.into_iter().map(convert::stats).collect())
    }

    /// Sends an archive, piece by piece, and passes on what the daemon says.
    pub(crate) async fn import(
        &self,
        what: &str,
        name: String,
        chunks: tokio::sync::mpsc::Receiver<Vec<u8>>,
        mut heard: impl FnMut(ImportEvent),
    ) -> Result<(), Error> {
        use tokio_stream::StreamExt;
        let header = ImportImageRequest {
            part: Some(Part::Header(ImportImageHeader { name })),
        };
        let pieces =
            tokio_stream::wrappers::ReceiverStream::new(chunks).map(|chunk| ImportImageRequest {
                part: Some(Part::Chunk(chunk)),
            });
        let mut client = NodeClient::new(self.channel.clone());
        let answer = client
            .import_image(tokio_stream::once(header).chain(pieces))
            .await;
        let mut events = answer.map_err(of(what))?.into_inner();
        while let Some(event) = events.message().await.map_err(of(what))? {
            match event.event {
                Some(Event::Progress(progress)) => heard(ImportEvent::Progress(progress.bytes)),
                Some(Event::Layer(layer)) => {
                    heard(ImportEvent::Layer {
                        digest: layer.digest,
                        existed: layer.existed,
                    });
                }
                Some(Event::Done(done)) => {
                    let images = done.images.into_iter();
                    let images =
                        images.map(|node::ImportedImage { id, names, size }| (id, names, size));
                    heard(ImportEvent::Done(images.collect()));
                    return Ok(());
                }
                None => {}
            }
        }
        Err(Error::Answer {
            what: what.to_owned(),
            missing: "an end",
        })
    }
}

fn image_spec(name: &str) -> Option<v1::ImageSpec> {
    Some(v1::ImageSpec {
        image: name.to_owned(),
        ..Default::default()
    })
}

pub(crate) fn limited<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// The error of a call that was to do `what`.
pub(crate) fn of(what: &str) -> impl FnOnce(tonic::Status) -> Error {
    let what = what.to_owned();
    move |status| {
        let kind = convert::call_kind(status.code());
        let cause = match (kind, status.message()) {
            (CallKind::Unavailable, _) => "the connection to the daemon broke".to_owned(),
            (_, "") => format!("{:?}", status.code()),
            (_, message) => message.to_owned(),
        };
        Error::Call { what, cause, kind }
    }
}

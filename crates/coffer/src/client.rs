//! The daemon as functions: one CRI call each, with our types in and out. A client like any other:
//! all that it knows it has from the socket.

use std::{io, path::Path, sync::Arc, time::Duration};

use cri_api::{
    node::{
        self, ImportImageHeader, ImportImageRequest, import_image_event,
        import_image_request::Part, node_client::NodeClient,
    },
    v1::{
        self, image_service_client::ImageServiceClient,
        runtime_service_client::RuntimeServiceClient,
    },
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use crate::{
    convert, convert_launch,
    error::{CallKind, Error},
    launch::{NewContainer, NewPod},
    sockpath::SocketPath,
    view::{
        Condition, Container, Event, ExecResult, Image, ImageStatus, Pod, PodStatus, Stats, Status,
        Version,
    },
};

/// How long the daemon may take to say that it is there.
const GREETING: Duration = Duration::from_secs(10);

/// An answer may be as large as a busy node's lists are.
const MAX_ANSWER: usize = 64 << 20;
/// CRI's own limit for most calls is two minutes; ours leaves time for the daemon's answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(150);

mod registry;

pub(crate) use registry::{PullWanted, Pulled, PushWanted, Transfer};

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

/// What the daemon says of its own accord: a map of JSON.
pub(crate) type Details = std::collections::BTreeMap<String, serde_json::Value>;

/// Which events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventsWanted {
    /// Only those after this one.
    pub(crate) after: u64,
    /// One for each thing that there is, in place of those that are remembered.
    pub(crate) snapshot: bool,
    /// Also what happens from now on.
    pub(crate) follow: bool,
}

/// Events that come.
#[derive(Debug)]
pub(crate) struct Events(tonic::Streaming<node::Event>);

impl Events {
    /// The next one; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Error> {
        let next = self.0.message().await.map_err(of("watch events"))?;
        Ok(next.map(convert::event))
    }
}

impl Daemon {
    /// Connects to `socket`; the error says why nobody answers there. A daemon that has the socket
    /// and is stuck is not waited for.
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
        let daemon = Daemon { channel };
        match tokio::time::timeout(GREETING, daemon.version()).await {
            // What it answers, an error too, is the business of the calls that follow.
            Ok(_) => Ok(daemon),
            Err(_) => Err(Error::State {
                message: format!(
                    "the daemon on {} does not answer within {GREETING:?}",
                    socket.display()
                ),
                hint:
                    "`coffer doctor` and its log say more; after a kill `coffer serve` starts it \
                       again, and pods go on meanwhile"
                        .to_owned(),
            }),
        }
    }

    /// For calls that live elsewhere.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
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

    /// The daemon's conditions, and its verbose status: a map of JSON.
    pub(crate) async fn conditions(&self) -> Result<(Vec<Condition>, Details), Error> {
        let answer = self
            .runtime()
            .status(limited(v1::StatusRequest { verbose: true }))
            .await;
        let answer = answer.map_err(of("ask for the status"))?.into_inner();
        let conditions = answer.status.unwrap_or_default().conditions;
        let conditions = conditions.into_iter().map(convert::condition).collect();
        Ok((conditions, convert::parsed(answer.info)))
    }

    /// All containers, with the names of their pods.
    pub(crate) async fn containers(&self) -> Result<Vec<Container>, Error> {
        self.containers_of(&self.pods().await?).await
    }

    /// The same when the pods are known.
    pub(crate) async fn containers_of(&self, pods: &[Pod]) -> Result<Vec<Container>, Error> {
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

    /// The status of each container, all asked at once; `None` for one that is gone.
    pub(crate) async fn statuses(&self, all: &[Container]) -> Result<Vec<Option<Status>>, Error> {
        let asked: Vec<_> = all
            .iter()
            .map(|container| {
                let (daemon, id) = (self.clone(), container.id.clone());
                tokio::spawn(async move { daemon.status(&id, false).await })
            })
            .collect();
        let mut answers = Vec::with_capacity(asked.len());
        for one in asked {
            answers.push(match one.await {
                Ok(Ok(status)) => Some(status),
                Ok(Err(Error::Call {
                    kind: CallKind::NotFound,
                    ..
                })) => None,
                Ok(Err(error)) => return Err(error),
                Err(error) => {
                    let what = "ask for the status of containers".to_owned();
                    return Err(Error::Io {
                        what,
                        source: error.into(),
                    });
                }
            });
        }
        Ok(answers)
    }

    /// Sends a signal to the first process of a container.
    pub(crate) async fn signal(&self, id: &str, name: &str, signal: u32) -> Result<(), Error> {
        let request = node::SignalContainerRequest {
            container_id: id.to_owned(),
            signal,
        };
        let mut client = NodeClient::new(self.channel.clone());
        let answer = client.signal_container(limited(request)).await;
        let what = format!("send signal {signal} to container {name}");
        answer.map(drop).map_err(of(&what))
    }

    /// Changes of state, as they come.
    pub(crate) async fn events(&self, wanted: EventsWanted) -> Result<Events, Error> {
        let request = node::EventsRequest {
            after: wanted.after,
            snapshot: wanted.snapshot,
            follow: wanted.follow,
        };
        let mut client = NodeClient::new(self.channel.clone());
        let answer = client.events(request).await;
        Ok(Events(answer.map_err(of("watch events"))?.into_inner()))
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

    /// The image that `name` means with all that the daemon says about it, if it is there.
    pub(crate) async fn image_status(&self, name: &str) -> Result<Option<ImageStatus>, Error> {
        let request = v1::ImageStatusRequest {
            image: image_spec(name),
            verbose: true,
        };
        let answer = self.images_service().image_status(limited(request)).await;
        let answer = answer
            .map_err(of(&format!("look at image {name}")))?
            .into_inner();
        let info = convert::parsed(answer.info);
        Ok(answer.image.map(|wire| ImageStatus {
            image: convert::image(wire),
            info,
        }))
    }

    pub(crate) async fn run_pod(&self, new: &NewPod) -> Result<String, Error> {
        let request = v1::RunPodSandboxRequest {
            config: Some(convert_launch::pod_config(new)),
            runtime_handler: new.handler.clone(),
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
            config: Some(convert_launch::container_config(new)),
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

    /// What the pods or containers that `word` means are doing.
    pub(crate) async fn explain(&self, word: &str) -> Result<Vec<crate::view::Explanation>, Error> {
        let request = node::ExplainRequest {
            id: word.to_owned(),
        };
        let answer = NodeClient::new(self.channel.clone())
            .explain(limited(request))
            .await;
        let pods = answer
            .map_err(of(&format!("explain {word:?}")))?
            .into_inner()
            .pods;
        Ok(pods.into_iter().map(convert::explanation).collect())
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
                Some(import_image_event::Event::Progress(progress)) => {
                    heard(ImportEvent::Progress(progress.bytes))
                }
                Some(import_image_event::Event::Layer(layer)) => {
                    heard(ImportEvent::Layer {
                        digest: layer.digest,
                        existed: layer.existed,
                    });
                }
                Some(import_image_event::Event::Done(done)) => {
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
        // A status that was made here, of a broken connection, has a source; the daemon's have none.
        let broken = matches!(
            status.code(),
            Code::Unknown | Code::Internal | Code::Unavailable
        ) && std::error::Error::source(&status).is_some();
        let kind = match (broken, convert::call_kind(status.code())) {
            (true, _) => CallKind::Unavailable,
            // The daemon is there and speaks of another that is not: a registry, a pod's port.
            (false, CallKind::Unavailable) if !status.message().is_empty() => CallKind::Other,
            (false, kind) => kind,
        };
        let cause = match (kind, status.message()) {
            (CallKind::Unavailable, _) => "the connection to the daemon broke".to_owned(),
            (_, "") => format!("{:?}", status.code()),
            (_, message) => message.to_owned(),
        };
        Error::Call { what, cause, kind }
    }
}

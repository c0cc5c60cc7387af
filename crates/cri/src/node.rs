//! `coffer.v1.Node`: our own side service, in front of the service.

use std::{io, pin::Pin};

use cri_api::node::{
    CopyInRequest, CopyInResponse, CopyOutRequest, CopyOutResponse, EventsRequest, ExplainRequest,
    ExplainResponse, ImportDone, ImportImageEvent, ImportImageRequest, ImportProgress,
    ImportedImage, LayerUnpacked,
    import_image_event::Event,
    import_image_request::Part,
    node_server::{self, NodeServer},
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    error::Error,
    service::{ImportEvent, Service},
    v1::status,
};

/// Chunks that wait for the store; with the client's 1 MiB chunks a bound on memory.
const CHUNKS: usize = 4;
/// Events that wait for the client.
const EVENTS: usize = 16;

/// The adapter.
#[derive(Debug, Clone)]
pub(crate) struct Node(Service);

/// The service `coffer.v1.Node`, with a limit on the bytes of a message.
pub(crate) fn service(service: &Service, request: usize) -> NodeServer<Node> {
    NodeServer::new(Node(service.clone())).max_decoding_message_size(request)
}

#[tonic::async_trait]
impl node_server::Node for Node {
    type ImportImageStream = Pin<Box<dyn Stream<Item = Result<ImportImageEvent, Status>> + Send>>;
    type EventsStream = Pin<Box<dyn Stream<Item = Result<cri_api::node::Event, Status>> + Send>>;
    type CopyOutStream = Pin<Box<dyn Stream<Item = Result<CopyOutResponse, Status>> + Send>>;

    async fn explain(
        &self,
        _: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        Err(Status::unimplemented("Explain"))
    }

    async fn events(
        &self,
        _: Request<EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        Err(Status::unimplemented("Events"))
    }

    async fn copy_out(
        &self,
        _: Request<CopyOutRequest>,
    ) -> Result<Response<Self::CopyOutStream>, Status> {
        Err(Status::unimplemented("CopyOut"))
    }

    async fn copy_in(
        &self,
        _: Request<Streaming<CopyInRequest>>,
    ) -> Result<Response<CopyInResponse>, Status> {
        Err(Status::unimplemented("CopyIn"))
    }

    async fn import_image(
        &self,
        request: Request<Streaming<ImportImageRequest>>,
    ) -> Result<Response<Self::ImportImageStream>, Status> {
        let mut parts = request.into_inner();
        let Some(Part::Header(header)) = parts.message().await?.and_then(|first| first.part) else {
            return Err(Status::invalid_argument("the first message has no header"));
        };
        let (to_store, chunks) = mpsc::channel(CHUNKS);
        let (events, from_store) = mpsc::channel(EVENTS);
        self.0.import_image(header.name, chunks, events);
        tokio::spawn(async move {
            loop {
                let chunk = match parts.message().await {
                    Ok(Some(ImportImageRequest {
                        part: Some(Part::Chunk(chunk)),
                    })) => Ok(chunk),
                    Ok(Some(_)) => Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the client sent a message without a chunk",
                    )),
                    Ok(None) => return,
                    Err(status) => Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("the client's stream broke: {}", status.message()),
                    )),
                };
                let last = chunk.is_err();
                // The store takes no more when the import has failed.
                if to_store.send(chunk).await.is_err() || last {
                    return;
                }
            }
        });
        let events = ReceiverStream::new(from_store).map(event_or_status);
        Ok(Response::new(Box::pin(events)))
    }
}

#[expect(clippy::result_large_err, reason = "the transport's own type")]
fn event_or_status(event: Result<ImportEvent, Error>) -> Result<ImportImageEvent, Status> {
    event
        .map(event_to_wire)
        .map_err(|error| status::from(&error))
}

fn event_to_wire(event: ImportEvent) -> ImportImageEvent {
    let event = match event {
        ImportEvent::Read(bytes) => Event::Progress(ImportProgress { bytes }),
        ImportEvent::Layer(digest, existed) => Event::Layer(LayerUnpacked { digest, existed }),
        ImportEvent::Done(images) => Event::Done(ImportDone {
            images: images
                .into_iter()
                .map(|image| ImportedImage {
                    id: image.id,
                    names: if image.repo_tags.is_empty() {
                        image.repo_digests
                    } else {
                        image.repo_tags
                    },
                    size: image.size,
                })
                .collect(),
        }),
    };
    ImportImageEvent { event: Some(event) }
}

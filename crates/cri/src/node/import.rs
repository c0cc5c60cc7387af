//! ImportImage: chunks of an archive in, progress and the images' names out.

use cri_api::node::{
    ImportDone, ImportImageEvent, ImportImageRequest, ImportProgress, ImportedImage, LayerUnpacked,
    import_image_event::Event, import_image_request::Part,
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Response, Status, Streaming};

use super::{Answer, Answers, chunks};
use crate::{
    error::Error,
    service::{ImportEvent, Service},
    v1::status,
};

/// Chunks that wait for the store; with the client's 1 MiB chunks a bound on memory.
const CHUNKS: usize = 4;
/// Events that wait for the client.
const EVENTS: usize = 16;

pub(super) async fn import(
    service: &Service,
    mut parts: Streaming<ImportImageRequest>,
) -> Answer<Answers<ImportImageEvent>> {
    let Some(Part::Header(header)) = parts.message().await?.and_then(|first| first.part) else {
        return Err(Status::invalid_argument("the first message has no header"));
    };
    let (to_store, from_client) = mpsc::channel(CHUNKS);
    let (events, from_store) = mpsc::channel(EVENTS);
    service.import_image(header.name, from_client, events);
    chunks::forward(parts, to_store, |message| match message.part {
        Some(Part::Chunk(chunk)) => Some(chunk),
        _ => None,
    });
    let events = ReceiverStream::new(from_store).map(event_or_status);
    Ok(Response::new(Box::pin(events)))
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
            images: images.into_iter().map(image_to_wire).collect(),
        }),
    };
    ImportImageEvent { event: Some(event) }
}

/// An image that is there now, with the names by which it can be used.
pub(super) fn image_to_wire(image: image::Image) -> ImportedImage {
    ImportedImage {
        id: image.id,
        names: if image.repo_tags.is_empty() {
            image.repo_digests
        } else {
            image.repo_tags
        },
        size: image.size,
    }
}

//! PushImage, TagImage, UntagImage, ExportImages.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cri_api::node::{
    ExportImagesRequest, ExportImagesResponse, LayerProgress, PushImageEvent, PushImageRequest,
    TagImageRequest, TagImageResponse, UntagImageRequest, UntagImageResponse,
    push_image_event::Event,
};
use registry::{Pushed, Said};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{Answer, Answers, chunks, import::image_to_wire};
use crate::{
    checks::invalid,
    service::{PushRequest, Service},
    v1::status,
};

/// Chunks on their way: a bound on memory.
const WAITING: usize = 4;
/// Between two reports of bytes.
const STEP: Duration = Duration::from_millis(100);

pub(super) async fn tag(service: &Service, request: TagImageRequest) -> Answer<TagImageResponse> {
    status::told(
        service.tag_image(request.image, request.name).await,
        |image| TagImageResponse {
            image: Some(image_to_wire(image)),
        },
    )
}

pub(super) async fn untag(
    service: &Service,
    request: UntagImageRequest,
) -> Answer<UntagImageResponse> {
    status::told(service.untag_image(&request.image).await, |()| {
        UntagImageResponse {}
    })
}

pub(super) async fn export(
    service: &Service,
    request: ExportImagesRequest,
) -> Answer<Answers<ExportImagesResponse>> {
    if request.images.is_empty() {
        return Err(status::from(&invalid("images", "is empty")));
    }
    let (to_client, from_store) = mpsc::channel(WAITING);
    service.export_images(request.images, to_client);
    chunks::answer(from_store, |chunk| ExportImagesResponse { chunk }).await
}

pub(super) fn push(service: &Service, request: PushImageRequest) -> Answers<PushImageEvent> {
    // What waits is bounded by time: ten reports of bytes a second, and one for each blob.
    let (events, from_push) = mpsc::unbounded_channel();
    let service = service.clone();
    let request = PushRequest {
        image: request.image,
        to: request.to,
        auth: Said {
            username: request.username,
            password: request.password,
            ..Said::default()
        },
    };
    tokio::spawn(async move {
        let gone = Arc::new(AtomicBool::new(false));
        let (told, stop) = (events.clone(), Arc::clone(&gone));
        let last = Mutex::new(Instant::now());
        let watch = move |pushed| {
            if let Pushed::Sent { bytes, total, .. } = &pushed {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.elapsed() < STEP && bytes < total {
                    return;
                }
                *last = Instant::now();
            }
            if told.send(Ok(progress(pushed))).is_err() {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let pushed = service.push_image(request, watch, gone).await;
        let end = pushed
            .map(|reference| PushImageEvent {
                event: Some(Event::Done(reference.to_string())),
            })
            .map_err(|error| status::from(&error));
        let _ = events.send(end);
    });
    Box::pin(UnboundedReceiverStream::new(from_push))
}

fn progress(pushed: Pushed) -> PushImageEvent {
    let layer = match pushed {
        Pushed::Sent {
            digest,
            bytes,
            total,
        } => LayerProgress {
            digest,
            total,
            bytes,
            done: false,
            existed: false,
        },
        Pushed::Blob { digest, existed } => LayerProgress {
            digest,
            total: 0,
            bytes: 0,
            done: true,
            existed,
        },
    };
    PushImageEvent {
        event: Some(Event::Progress(layer)),
    }
}

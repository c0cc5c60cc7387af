//! CopyOut and CopyIn: files out of a container and into one.

use cri_api::node::{
    CopyInRequest, CopyInResponse, CopyOutRequest, CopyOutResponse, copy_in_request::Part,
};
use image::copy::CopyInto;
use tokio::sync::mpsc;
use tonic::{Response, Status, Streaming};

use super::{Answer, Answers, chunks};
use crate::{service::Service, v1::status};

/// Chunks of at most 1 MiB on their way, in either direction: a bound on memory.
const CHUNKS: usize = 4;

pub(super) async fn copy_out(
    service: &Service,
    request: CopyOutRequest,
) -> Answer<Answers<CopyOutResponse>> {
    let (to_client, from_container) = mpsc::channel(CHUNKS);
    let CopyOutRequest {
        container_id,
        path,
        follow_link,
    } = request;
    let started = service
        .copy_out(&container_id, path.into(), follow_link, to_client)
        .await;
    started.map_err(|error| status::from(&error))?;
    chunks::answer(from_container, |chunk| CopyOutResponse { chunk }).await
}

pub(super) async fn copy_in(
    service: &Service,
    mut parts: Streaming<CopyInRequest>,
) -> Answer<CopyInResponse> {
    let Some(Part::Header(header)) = parts.message().await?.and_then(|first| first.part) else {
        return Err(Status::invalid_argument("the first message has no header"));
    };
    let (to_container, from_client) = mpsc::channel(CHUNKS);
    chunks::forward(parts, to_container, |message| match message.part {
        Some(Part::Chunk(chunk)) => Some(chunk),
        _ => None,
    });
    let how = CopyInto {
        no_owner: header.no_owner,
    };
    let copied = service
        .copy_in(&header.container_id, header.path.into(), how, from_client)
        .await
        .map_err(|error| status::from(&error))?;
    Ok(Response::new(CopyInResponse {
        entries: copied.entries,
        bytes: copied.bytes,
    }))
}

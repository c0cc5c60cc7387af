//! `runtime.v1`: today's CRI on the wire, in front of the service.
//!
//! ```text
//! runtime.rs, images.rs   one short method a call
//! convert.rs, signal.rs   what was said      → domain types
//! answer.rs, status.rs    what is, what failed → messages and statuses
//! pod_stats.rs, metrics.rs  figures of pods → messages
//! chunks.rs               a list → a stream of answers that are small enough
//! events.rs               changes, as they happen
//! unimplemented.rs        the calls that are not there yet
//! ```

mod accepted;
mod answer;
mod chunks;
mod convert;
mod events;
mod images;
mod metrics;
mod pod_stats;
mod runtime;
mod signal;
pub(crate) mod status;
pub(crate) mod unimplemented;

pub use accepted::ACCEPTED_WITHOUT_EFFECT;

use cri_api::v1::{
    image_service_server::ImageServiceServer, runtime_service_server::RuntimeServiceServer,
};

use crate::service::Service;

/// Both services of `runtime.v1`, with limits on the bytes of a request and of an answer.
pub(crate) fn services(
    service: &Service,
    request: usize,
    answer: usize,
) -> (
    RuntimeServiceServer<runtime::Runtime>,
    ImageServiceServer<images::Images>,
) {
    (
        RuntimeServiceServer::new(runtime::Runtime(service.clone()))
            .max_decoding_message_size(request)
            .max_encoding_message_size(answer),
        ImageServiceServer::new(images::Images(service.clone()))
            .max_decoding_message_size(request)
            .max_encoding_message_size(answer),
    )
}

//! `runtime` (v1alpha1): CRI's first form on the wire, in front of the service.
//!
//! ```text
//! runtime.rs, images.rs   one short method a call
//! convert.rs              what was said → domain types
//! answer.rs               what is       → messages
//! ```
//! It converts to and from the domain types by itself, as `v1` does, and not by way of v1's messages:
//! that is as short, because this form says less, and it keeps what proto2 says and proto3 can't, a
//! field that is absent. What both check in the same way is in [`crate::checks`]; the statuses of
//! errors are those of v1.
//!
//! On the wire it differs from v1 in ten fields (namespaces are three booleans; users, states and
//! image users are plain values with presence; an environment value is text; a namespace's path is
//! told) and in a PullImageResponse without a word. All else is a part of v1.

mod answer;
mod convert;
mod images;
mod runtime;

use cri_api::v1alpha1::{
    image_service_server::ImageServiceServer, runtime_service_server::RuntimeServiceServer,
};

use crate::service::Service;

/// Both services, with limits on the bytes of a request and of an answer.
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

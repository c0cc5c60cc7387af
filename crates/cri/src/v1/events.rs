//! GetContainerEvents: each change with the pod and its containers as they were right after it.

use std::pin::Pin;

use cri_api::v1::ContainerEventResponse;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::Status;

use super::answer;
use crate::{events::Change, service::Service};

/// Answers for as long as the client listens.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<ContainerEventResponse, Status>> + Send>>;

/// Everything that changes from now on.
pub(super) fn events(service: &Service) -> Events {
    let changes = ReceiverStream::new(service.events.listen());
    let told = changes.map(told);
    // The bus lets go of a listener only when that has not read for long.
    let lost = tokio_stream::once(Err(Status::resource_exhausted(
        "this client reads too slowly and has missed events: list the containers and listen again",
    )));
    Box::pin(told.chain(lost))
}

#[expect(clippy::result_large_err, reason = "the transport's own type")]
fn told(change: Change) -> Result<ContainerEventResponse, Status> {
    Ok(answer::event(&change))
}

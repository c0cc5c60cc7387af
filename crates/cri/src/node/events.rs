//! Events: changes of state, each once and in order.

use cri_api::node::{Event, EventsRequest};
use tonic::Status;

use super::{Answer, Answers};
use crate::service::Service;

pub(super) async fn events(_: &Service, _: EventsRequest) -> Answer<Answers<Event>> {
    Err(Status::unimplemented(
        "Events is not implemented yet by this version of coffer",
    ))
}

//! Explain: what a pod or container is doing.

use cri_api::node::{ExplainRequest, ExplainResponse};
use tonic::Status;

use super::Answer;
use crate::service::Service;

pub(super) async fn explain(_: &Service, _: ExplainRequest) -> Answer<ExplainResponse> {
    Err(Status::unimplemented(
        "Explain is not implemented yet by this version of coffer",
    ))
}

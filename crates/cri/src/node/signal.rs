//! SignalContainer: what CRI's StopContainer cannot say.

use cri_api::node::{SignalContainerRequest, SignalContainerResponse};
use tonic::Response;

use super::Answer;
use crate::{service::Service, v1::status};

pub(super) async fn signal(
    service: &Service,
    request: SignalContainerRequest,
) -> Answer<SignalContainerResponse> {
    service
        .signal_container(&request.container_id, request.signal)
        .await
        .map_err(|error| status::from(&error))?;
    Ok(Response::new(SignalContainerResponse {}))
}

//! Explain: what a pod or container is doing.

use cri_api::node::{self, ExplainRequest, ExplainResponse};
use tonic::Response;

use super::Answer;
use crate::{explain::Explanation, service::Service, v1::status};

pub(super) async fn explain(service: &Service, request: ExplainRequest) -> Answer<ExplainResponse> {
    let told = service.explain(&request.id).await;
    let pods = told.map_err(|error| status::from(&error))?;
    Ok(Response::new(ExplainResponse {
        pods: pods.into_iter().map(to_wire).collect(),
    }))
}

fn to_wire(told: Explanation) -> node::Explanation {
    node::Explanation {
        kind: told.kind.to_owned(),
        id: told.id,
        name: told.name,
        namespace: told.namespace,
        stage: told.stage,
        since_ns: told.since_ns,
        waiting_on: told.waiting_on,
        last_error: told.last_error,
        last_error_at_ns: told.last_error_at_ns,
        next_try: told.next_try,
        containers: told.containers.into_iter().map(to_wire).collect(),
    }
}

//! `grpc.Health`: answered from the first moment on.

use agent_api::grpc::health_check_response::ServingStatus;
use agent_api::grpc::{CheckRequest, Health, HealthCheckResponse, VersionCheckResponse};
use async_trait::async_trait;
use ttrpc::asynchronous::TtrpcContext;

use super::Reply;

/// Version of the published interface, which clients check.
const API_VERSION: &str = "0.0.1";

/// The service.
#[derive(Debug)]
pub(super) struct Calls;

#[async_trait]
impl Health for Calls {
    async fn check(&self, _: &TtrpcContext, _: CheckRequest) -> Reply<HealthCheckResponse> {
        Ok(HealthCheckResponse {
            status: ServingStatus::Serving.into(),
        })
    }

    async fn version(&self, _: &TtrpcContext, _: CheckRequest) -> Reply<VersionCheckResponse> {
        Ok(VersionCheckResponse {
            grpc_version: API_VERSION.to_owned(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}

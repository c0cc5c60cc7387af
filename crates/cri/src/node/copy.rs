//! CopyOut and CopyIn: files out of a container and into one.

use cri_api::node::{CopyInRequest, CopyInResponse, CopyOutRequest, CopyOutResponse};
use tonic::{Status, Streaming};

use super::{Answer, Answers};
use crate::service::Service;

pub(super) async fn copy_out(_: &Service, _: CopyOutRequest) -> Answer<Answers<CopyOutResponse>> {
    Err(Status::unimplemented(
        "CopyOut is not implemented yet by this version of coffer",
    ))
}

pub(super) async fn copy_in(_: &Service, _: Streaming<CopyInRequest>) -> Answer<CopyInResponse> {
    Err(Status::unimplemented(
        "CopyIn is not implemented yet by this version of coffer",
    ))
}

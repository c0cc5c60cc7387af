//! Exec: CRI's, with what it has no field for.

use cri_api::node::{ExecRequest, ExecResponse};
use tonic::Response;

use super::Answer;
use crate::{
    service::{Exec, Service},
    v1::status,
};

pub(super) async fn exec(service: &Service, request: ExecRequest) -> Answer<ExecResponse> {
    let ExecRequest {
        container_id,
        command,
        tty,
        stdin,
        user,
        env,
        working_dir,
    } = request;
    let exec = Exec {
        container: container_id,
        command,
        tty,
        stdin,
        stdout: true,
        // A terminal has one stream.
        stderr: !tty,
        user,
        env,
        working_dir,
    };
    let url = service.exec(exec).await;
    let url = url.map_err(|error| status::from(&error))?;
    Ok(Response::new(ExecResponse { url }))
}

//! The calls about files and volumes.

use std::sync::Arc;

use agent_api::{Empty, grpc};

use crate::agent::Agent;
use crate::convert;
use crate::error::Error;
use crate::ops::{copy_file, diagnostic, ephemeral, stale_shares, volume};

pub(super) async fn copy_file(
    agent: Arc<Agent>,
    wire: grpc::CopyFileRequest,
) -> Result<Empty, Error> {
    let copy = convert::files::copy(wire)?;
    Agent::blocking(move || copy_file::run(&agent, &copy)).await?;
    Ok(Empty {})
}

pub(super) async fn volume_stats(
    agent: Arc<Agent>,
    wire: grpc::VolumeStatsRequest,
) -> Result<grpc::VolumeStatsResponse, Error> {
    let stats = volume::stats(&agent, wire.volume_guest_path).await?;
    Ok(convert::files::volume_stats(stats))
}

pub(super) async fn resize_volume(
    agent: Arc<Agent>,
    wire: grpc::ResizeVolumeRequest,
) -> Result<Empty, Error> {
    volume::resize(&agent, wire.volume_guest_path, wire.size).await?;
    Ok(Empty {})
}

pub(super) async fn update_ephemeral(
    agent: Arc<Agent>,
    wire: grpc::UpdateEphemeralMountsRequest,
) -> Result<Empty, Error> {
    let storages = convert::storage::all(wire.storages)?;
    Agent::blocking(move || ephemeral::update(&agent, storages)).await?;
    Ok(Empty {})
}

pub(super) async fn remove_stale_shares(
    agent: Arc<Agent>,
    _: grpc::RemoveStaleVirtiofsShareMountsRequest,
) -> Result<Empty, Error> {
    stale_shares::run(&agent).await.map(|()| Empty {})
}

pub(super) async fn diagnostic_data(
    agent: Arc<Agent>,
    wire: grpc::GetDiagnosticDataRequest,
) -> Result<grpc::GetDiagnosticDataResponse, Error> {
    let data = diagnostic::run(&agent, wire.log_type, wire.container_id).await?;
    Ok(grpc::GetDiagnosticDataResponse { data })
}

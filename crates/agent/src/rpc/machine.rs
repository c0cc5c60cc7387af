//! The calls about the machine, and about the agent itself.

use std::sync::Arc;

use agent_api::{Empty, grpc};

use crate::agent::Agent;
use crate::error::Error;
use crate::ops::machine::{self, Online};
use crate::ops::metrics;

pub(super) async fn online(
    agent: Arc<Agent>,
    wire: grpc::OnlineCpuMemRequest,
) -> Result<Empty, Error> {
    let wanted = Online {
        wait: wire.wait,
        cpus: wire.nb_cpus,
        cpu_only: wire.cpu_only,
    };
    machine::online(&agent, wanted).await.map(|()| Empty {})
}

pub(super) async fn reseed(
    agent: Arc<Agent>,
    wire: grpc::ReseedRandomDevRequest,
) -> Result<Empty, Error> {
    Agent::blocking(move || machine::reseed(&agent.machine, &wire.data)).await?;
    Ok(Empty {})
}

pub(super) async fn probe_memory(
    agent: Arc<Agent>,
    wire: grpc::MemHotplugByProbeRequest,
) -> Result<Empty, Error> {
    let addresses = wire.mem_hotplug_probe_addr;
    Agent::blocking(move || machine::probe_memory(&agent.machine, &addresses)).await?;
    Ok(Empty {})
}

pub(super) async fn set_clock(
    agent: Arc<Agent>,
    wire: grpc::SetGuestDateTimeRequest,
) -> Result<Empty, Error> {
    machine::set_clock(&agent.machine, wire.sec, wire.usec).map(|()| Empty {})
}

pub(super) async fn add_swap(
    agent: Arc<Agent>,
    wire: grpc::AddSwapRequest,
) -> Result<Empty, Error> {
    Agent::blocking(move || machine::add_swap(&agent.machine, &wire.pci_path)).await?;
    Ok(Empty {})
}

pub(super) async fn add_swap_path(
    agent: Arc<Agent>,
    wire: grpc::AddSwapPathRequest,
) -> Result<Empty, Error> {
    Agent::blocking(move || machine::add_swap_path(&agent.machine, &wire.path)).await?;
    Ok(Empty {})
}

pub(super) async fn memcg_set(_: Arc<Agent>, _: grpc::MemAgentMemcgConfig) -> Result<Empty, Error> {
    Err(Error::Unimplemented("MemAgentMemcgSet"))
}

pub(super) async fn compact_set(
    _: Arc<Agent>,
    _: grpc::MemAgentCompactConfig,
) -> Result<Empty, Error> {
    Err(Error::Unimplemented("MemAgentCompactSet"))
}

pub(super) async fn metrics(
    agent: Arc<Agent>,
    _: grpc::GetMetricsRequest,
) -> Result<grpc::Metrics, Error> {
    let metrics = Agent::blocking(move || metrics::run(&agent)).await?;
    Ok(grpc::Metrics { metrics })
}

pub(super) async fn set_policy(
    agent: Arc<Agent>,
    wire: grpc::SetPolicyRequest,
) -> Result<Empty, Error> {
    agent.policy.set(&wire.policy)?;
    log::info!("a policy is in force");
    Ok(Empty {})
}

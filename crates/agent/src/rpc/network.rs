//! The calls about the pod's network.

use std::sync::Arc;

use agent_api::{Empty, grpc, types};

use crate::agent::Agent;
use crate::convert::network as convert;
use crate::error::Error;
use crate::net::{interface, iptables, neighbour, route};

pub(super) async fn update_interface(
    agent: Arc<Agent>,
    wire: grpc::UpdateInterfaceRequest,
) -> Result<types::Interface, Error> {
    let missing = || Error::invalid("interface", "it is missing");
    let asked = wire.interface.ok_or_else(missing)?;
    let wanted = convert::interface(&asked)?;
    Agent::blocking(move || interface::update(&agent, &wanted)).await?;
    Ok(asked)
}

pub(super) async fn list_interfaces(
    agent: Arc<Agent>,
    _: grpc::ListInterfacesRequest,
) -> Result<grpc::Interfaces, Error> {
    let list = Agent::blocking(move || interface::list(&agent)).await?;
    Ok(grpc::Interfaces {
        interfaces: list.iter().map(convert::listed).collect(),
    })
}

pub(super) async fn update_routes(
    agent: Arc<Agent>,
    wire: grpc::UpdateRoutesRequest,
) -> Result<grpc::Routes, Error> {
    let missing = || Error::invalid("routes", "they are missing");
    let routes = wire.routes.ok_or_else(missing)?.routes;
    let routes: Vec<_> = routes
        .iter()
        .map(convert::route)
        .collect::<Result<_, _>>()?;
    let list = Agent::blocking(move || route::update(&agent, &routes)).await?;
    Ok(convert::routes(&list))
}

pub(super) async fn list_routes(
    agent: Arc<Agent>,
    _: grpc::ListRoutesRequest,
) -> Result<grpc::Routes, Error> {
    let list = Agent::blocking(move || route::list(&agent)).await?;
    Ok(convert::routes(&list))
}

pub(super) async fn add_neighbours(
    agent: Arc<Agent>,
    wire: grpc::AddArpNeighborsRequest,
) -> Result<Empty, Error> {
    let missing = || Error::invalid("neighbors", "they are missing");
    let list = wire.neighbors.ok_or_else(missing)?.arp_neighbors;
    if list.is_empty() {
        return Err(missing());
    }
    let list: Vec<_> = list
        .iter()
        .map(convert::neighbour)
        .collect::<Result<_, _>>()?;
    Agent::blocking(move || neighbour::add(&agent, &list)).await?;
    Ok(Empty {})
}

pub(super) async fn get_iptables(
    agent: Arc<Agent>,
    wire: grpc::GetIpTablesRequest,
) -> Result<grpc::GetIpTablesResponse, Error> {
    let of = Arc::clone(&agent);
    let work = agent.core(move |busy| iptables::get(&of, busy, wire.is_ipv6));
    Ok(grpc::GetIpTablesResponse { data: work.await? })
}

pub(super) async fn set_iptables(
    agent: Arc<Agent>,
    wire: grpc::SetIpTablesRequest,
) -> Result<grpc::SetIpTablesResponse, Error> {
    let of = Arc::clone(&agent);
    let work = agent.core(move |busy| iptables::set(&of, busy, wire.is_ipv6, &wire.data));
    Ok(grpc::SetIpTablesResponse { data: work.await? })
}

//! Published calls that this agent does not serve yet, each answering UNIMPLEMENTED by its name.

use super::Reply;
use crate::error::Error;

/// The answer to a call that is not served.
pub(super) fn answer<T>(rpc: &'static str) -> Reply<T> {
    Err(Error::Unimplemented(rpc).into_status())
}

/// The methods of the service trait for the calls that are not served.
macro_rules! unimplemented_calls {
    () => {
        crate::rpc::unimplemented::calls! {
            update_ephemeral_mounts(UpdateEphemeralMountsRequest) -> Empty,
                "UpdateEphemeralMounts";
            remove_stale_virtiofs_share_mounts(RemoveStaleVirtiofsShareMountsRequest) -> Empty,
                "RemoveStaleVirtiofsShareMounts";
            update_interface(UpdateInterfaceRequest) -> types::Interface,
                "UpdateInterface";
            update_routes(UpdateRoutesRequest) -> grpc::Routes,
                "UpdateRoutes";
            list_interfaces(ListInterfacesRequest) -> grpc::Interfaces,
                "ListInterfaces";
            list_routes(ListRoutesRequest) -> grpc::Routes,
                "ListRoutes";
            add_arp_neighbors(AddArpNeighborsRequest) -> Empty,
                "AddARPNeighbors";
            get_ip_tables(GetIpTablesRequest) -> grpc::GetIpTablesResponse,
                "GetIPTables";
            set_ip_tables(SetIpTablesRequest) -> grpc::SetIpTablesResponse,
                "SetIPTables";
            get_metrics(GetMetricsRequest) -> grpc::Metrics,
                "GetMetrics";
            online_cpu_mem(OnlineCpuMemRequest) -> Empty,
                "OnlineCPUMem";
            reseed_random_dev(ReseedRandomDevRequest) -> Empty,
                "ReseedRandomDev";
            mem_hotplug_by_probe(MemHotplugByProbeRequest) -> Empty,
                "MemHotplugByProbe";
            set_guest_date_time(SetGuestDateTimeRequest) -> Empty,
                "SetGuestDateTime";
            copy_file(CopyFileRequest) -> Empty,
                "CopyFile";
            add_swap(AddSwapRequest) -> Empty,
                "AddSwap";
            get_volume_stats(VolumeStatsRequest) -> grpc::VolumeStatsResponse,
                "GetVolumeStats";
            resize_volume(ResizeVolumeRequest) -> Empty,
                "ResizeVolume";
            add_swap_path(AddSwapPathRequest) -> Empty,
                "AddSwapPath";
            set_policy(SetPolicyRequest) -> Empty,
                "SetPolicy";
            get_diagnostic_data(GetDiagnosticDataRequest) -> grpc::GetDiagnosticDataResponse,
                "GetDiagnosticData";
            mem_agent_memcg_set(MemAgentMemcgConfig) -> Empty,
                "MemAgentMemcgSet";
            mem_agent_compact_set(MemAgentCompactConfig) -> Empty,
                "MemAgentCompactSet";
        }
    };
}

/// One method a line: its name, request, response, and the name of the call.
macro_rules! calls {
    ($($method:ident($request:ident) -> $response:ty, $name:literal;)*) => {
        $(
            // What async_trait makes of an async method.
            fn $method<'life0, 'life1, 'async_trait>(
                &'life0 self,
                _: &'life1 ttrpc::asynchronous::TtrpcContext,
                _: agent_api::grpc::$request,
            ) -> std::pin::Pin<Box<dyn Future<Output = super::Reply<$response>> + Send + 'async_trait>>
            where
                'life0: 'async_trait,
                'life1: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(std::future::ready(crate::rpc::unimplemented::answer($name)))
            }
        )*
    };
}

pub(super) use {calls, unimplemented_calls};

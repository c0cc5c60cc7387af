//! Calls that are a request, some work and an answer: a line each, and a function in [`super::network`],
//! [`super::machine`] or [`super::files`].

/// The methods of the service trait for these calls.
macro_rules! plain_calls {
    () => {
        crate::rpc::plain::methods! {
            update_interface(UpdateInterfaceRequest) -> types::Interface, network::update_interface;
            list_interfaces(ListInterfacesRequest) -> grpc::Interfaces, network::list_interfaces;
            update_routes(UpdateRoutesRequest) -> grpc::Routes, network::update_routes;
            list_routes(ListRoutesRequest) -> grpc::Routes, network::list_routes;
            add_arp_neighbors(AddArpNeighborsRequest) -> Empty, network::add_neighbours;
            get_ip_tables(GetIpTablesRequest) -> grpc::GetIpTablesResponse, network::get_iptables;
            set_ip_tables(SetIpTablesRequest) -> grpc::SetIpTablesResponse, network::set_iptables;
            online_cpu_mem(OnlineCpuMemRequest) -> Empty, machine::online;
            reseed_random_dev(ReseedRandomDevRequest) -> Empty, machine::reseed;
            mem_hotplug_by_probe(MemHotplugByProbeRequest) -> Empty, machine::probe_memory;
            set_guest_date_time(SetGuestDateTimeRequest) -> Empty, machine::set_clock;
            add_swap(AddSwapRequest) -> Empty, machine::add_swap;
            add_swap_path(AddSwapPathRequest) -> Empty, machine::add_swap_path;
            mem_agent_memcg_set(MemAgentMemcgConfig) -> Empty, machine::memcg_set;
            mem_agent_compact_set(MemAgentCompactConfig) -> Empty, machine::compact_set;
            get_metrics(GetMetricsRequest) -> grpc::Metrics, machine::metrics;
            set_policy(SetPolicyRequest) -> Empty, machine::set_policy;
            copy_file(CopyFileRequest) -> Empty, files::copy_file;
            get_volume_stats(VolumeStatsRequest) -> grpc::VolumeStatsResponse, files::volume_stats;
            resize_volume(ResizeVolumeRequest) -> Empty, files::resize_volume;
            update_ephemeral_mounts(UpdateEphemeralMountsRequest) -> Empty, files::update_ephemeral;
            remove_stale_virtiofs_share_mounts(RemoveStaleVirtiofsShareMountsRequest) -> Empty,
                files::remove_stale_shares;
            get_diagnostic_data(GetDiagnosticDataRequest) -> grpc::GetDiagnosticDataResponse,
                files::diagnostic_data;
        }
    };
}

/// One method a line: its name, request, response, and the function.
macro_rules! methods {
    ($($method:ident($request:ident) -> $response:ty, $module:ident::$function:ident;)*) => {
        $(
            // What async_trait makes of an async method.
            fn $method<'life0, 'life1, 'async_trait>(
                &'life0 self,
                _: &'life1 ttrpc::asynchronous::TtrpcContext,
                request: agent_api::grpc::$request,
            ) -> std::pin::Pin<Box<dyn Future<Output = super::Reply<$response>> + Send + 'async_trait>>
            where
                'life0: 'async_trait,
                'life1: 'async_trait,
                Self: 'async_trait,
            {
                let work = super::$module::$function(Arc::clone(&self.0), request);
                Box::pin(super::detached(work))
            }
        )*
    };
}

pub(super) use {methods, plain_calls};

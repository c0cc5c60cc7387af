//! Entry points for fuzzers: bytes of a client go in, are read as the agent reads them, and nothing is
//! done with them. Wrong bytes are an error somewhere below; a panic is a bug.

use ttrpc::proto::{Codec, GenMessage};

use crate::device::pci;
use crate::policy::Policy;
use crate::{convert, net};

/// Reads bytes.
pub type Reader = fn(&[u8]);

/// Readers by name; their corpora are in `fuzz/corpus/agent_<name>`.
pub const READERS: &[(&str, Reader)] = &[
    ("frame", frame),
    ("create_container", create_container),
    ("create_sandbox", create_sandbox),
    ("exec_process", exec_process),
    ("update_container", update_container),
    ("own_create_container", own_create_container),
    ("own_create_sandbox", own_create_sandbox),
    ("own_exec", own_exec),
    ("network", network),
    ("copy_file", copy_file),
    ("words", words),
    ("plain_requests", plain_requests),
    ("config_file", config_file),
];

/// A stream of frames, to its end or the first error.
pub fn frame(mut bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        while let Ok(message) = GenMessage::read_from(&mut bytes).await {
            drop(message.check());
            drop(ttrpc::Request::decode(&message.payload));
        }
    });
}

fn read<T: Codec>(bytes: &[u8], convert: impl FnOnce(T)) {
    if let Ok(message) = T::decode(bytes) {
        convert(message);
    }
}

/// `grpc.AgentService/CreateContainer`, with its spec, storages and devices.
pub fn create_container(bytes: &[u8]) {
    read(bytes, |wire| drop(convert::create_published(wire)));
}

/// `grpc.AgentService/CreateSandbox`.
pub fn create_sandbox(bytes: &[u8]) {
    read(bytes, |wire| drop(convert::sandbox_published(wire)));
}

/// `grpc.AgentService/ExecProcess`.
pub fn exec_process(bytes: &[u8]) {
    read(bytes, |wire| drop(convert::exec_published(wire)));
}

/// `grpc.AgentService/UpdateContainer`.
pub fn update_container(bytes: &[u8]) {
    read(bytes, |wire: agent_api::grpc::UpdateContainerRequest| {
        drop(convert::resources(wire.resources));
    });
}

/// `coffer.agent.v1.Sandbox/CreateContainer`.
pub fn own_create_container(bytes: &[u8]) {
    read(bytes, |wire| drop(convert::create_own(wire)));
}

/// `coffer.agent.v1.Sandbox/CreateSandbox`.
pub fn own_create_sandbox(bytes: &[u8]) {
    read(bytes, |wire| drop(convert::sandbox_own(wire)));
}

/// `coffer.agent.v1.Sandbox/ExecProcess` and `ExecCollect`.
pub fn own_exec(bytes: &[u8]) {
    read(bytes, |wire| drop(convert::exec_own(wire)));
    read(bytes, |wire| drop(convert::collect(wire)));
}

/// Interfaces, routes and neighbours.
pub fn network(bytes: &[u8]) {
    use agent_api::{grpc, types};
    read(bytes, |wire: types::Interface| {
        drop(convert::network::interface(&wire));
    });
    read(bytes, |wire: grpc::Routes| {
        for route in &wire.routes {
            drop(convert::network::route(route));
        }
    });
    read(bytes, |wire: types::ArpNeighbor| {
        drop(convert::network::neighbour(&wire));
    });
}

/// `grpc.AgentService/CopyFile`.
pub fn copy_file(bytes: &[u8]) {
    read(bytes, |wire| drop(convert::files::copy(wire)));
}

/// What requests hold as text: PCI paths, addresses, policies.
pub fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(path) = pci::Path::parse(text) {
        // What is read and printed reads the same.
        assert_eq!(pci::Path::parse(&path.to_string()).ok(), Some(path));
    }
    drop((net::mac(text), net::network(text)));
    let policy = Policy::default();
    policy.know(["ExecProcess".to_owned()].iter());
    drop(policy.set(text));
}

/// Every other request, each read from the same bytes, as far as reading goes.
pub fn plain_requests(bytes: &[u8]) {
    use crate::device::pci;
    use agent_api::{grpc, sandbox};
    macro_rules! decode {
        ($($package:ident::$request:ident),* $(,)?) => {
            $(read(bytes, |_: $package::$request| ());)*
        };
    }
    decode!(
        grpc::StartContainerRequest,
        grpc::RemoveContainerRequest,
        grpc::SignalProcessRequest,
        grpc::WaitProcessRequest,
        grpc::StatsContainerRequest,
        grpc::PauseContainerRequest,
        grpc::ResumeContainerRequest,
        grpc::WriteStreamRequest,
        grpc::CloseStdinRequest,
        grpc::TtyWinResizeRequest,
        grpc::DestroySandboxRequest,
        grpc::RemoveStaleVirtiofsShareMountsRequest,
        grpc::ListInterfacesRequest,
        grpc::ListRoutesRequest,
        grpc::GetIpTablesRequest,
        grpc::SetIpTablesRequest,
        grpc::OnlineCpuMemRequest,
        grpc::ReseedRandomDevRequest,
        grpc::GuestDetailsRequest,
        grpc::MemHotplugByProbeRequest,
        grpc::SetGuestDateTimeRequest,
        grpc::GetOomEventRequest,
        grpc::GetMetricsRequest,
        grpc::VolumeStatsRequest,
        grpc::ResizeVolumeRequest,
        grpc::AddSwapPathRequest,
        grpc::SetPolicyRequest,
        grpc::GetDiagnosticDataRequest,
        grpc::MemAgentMemcgConfig,
        grpc::MemAgentCompactConfig,
        grpc::CheckRequest,
        sandbox::HandshakeRequest,
        sandbox::KillExecRequest,
        sandbox::OpenOutputRequest,
        sandbox::ReadOutputRequest,
        sandbox::CloseOutputRequest,
        sandbox::WaitContainerRequest,
        sandbox::ListContainersRequest,
        sandbox::ReopenLogRequest,
        sandbox::PodStatsRequest,
        sandbox::GetOomEventRequest,
    );
    read(bytes, |wire| drop(convert::read(wire, false)));
    read(bytes, |wire: grpc::UpdateEphemeralMountsRequest| {
        drop(convert::storage::all(wire.storages));
    });
    read(bytes, |wire: grpc::AddSwapRequest| {
        drop(pci::Path::of_slots(&wire.pci_path));
    });
    read(bytes, |wire: sandbox::UpdateContainerRequest| {
        drop(convert::resources_own(&wire.resources_json));
    });
    read(bytes, |wire: grpc::UpdateInterfaceRequest| {
        drop(wire.interface.map(|i| convert::network::interface(&i)));
    });
    read(bytes, |wire: grpc::UpdateRoutesRequest| {
        let routes = wire.routes.unwrap_or_default().routes;
        routes.iter().for_each(|r| drop(convert::network::route(r)));
    });
    read(bytes, |wire: grpc::AddArpNeighborsRequest| {
        let all = wire.neighbors.unwrap_or_default().arp_neighbors;
        all.iter()
            .for_each(|n| drop(convert::network::neighbour(n)));
    });
}

/// A configuration file, and a kernel's command line.
pub fn config_file(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        crate::config_file::fuzz(text);
        crate::guest::fuzz(text);
    }
}

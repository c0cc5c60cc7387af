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

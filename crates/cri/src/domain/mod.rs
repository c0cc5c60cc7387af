//! What a client can ask for, in our own words: the types that every adapter converts to, that the
//! service works on and that records on disk hold.
//!
//! Two stages: an adapter says what was said (and refuses what it cannot say here, naming the
//! field); the service decides what it means. All types are plain data and serialise to JSON, so
//! that two requests can be compared field by field ([`crate::diff`]).

mod container;
mod env;
mod filter;
mod id;
mod pod;
mod security;

pub use container::{
    ContainerConfig, ContainerKey, ContainerMetadata, Device, HugepageLimit, ImageSpec, Mount,
    Propagation, Resources,
};
pub use env::{EnvValue, EnvVar};
pub use filter::{ContainerFilter, ContainerPhase, PodFilter, PodPhase, labels_match};
pub use id::{Id, IdError};
pub use pod::{DnsConfig, PodConfig, PodKey, PodMetadata, PortMapping, Protocol};
pub use security::{
    Capabilities, ContainerSecurity, GroupsPolicy, NamespaceMode, Namespaces, PodSecurity,
    SecurityProfile,
};

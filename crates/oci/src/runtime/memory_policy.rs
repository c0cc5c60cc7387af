//! NUMA memory policy (1.3).

use super::document::{document, words};

document! {
    /// `set_mempolicy(2)` for the process.
    pub struct LinuxMemoryPolicy {
        /// The mode; a policy without one says nothing else either, and nothing is done.
        pub mode: Option<MemoryPolicyMode>,
        /// NUMA nodes as a list such as `0-3,7`.
        pub nodes: Option<String>,
        /// Flags.
        pub flags: Vec<MemoryPolicyFlag>,
    }
}

words! {
    /// Modes of `set_mempolicy(2)`.
    pub enum MemoryPolicyMode ("or invalid memory policy mode") {
        /// The system's default.
        #[default]
        Default = "MPOL_DEFAULT",
        /// One preferred node.
        Preferred = "MPOL_PREFERRED",
        /// Only from these nodes.
        Bind = "MPOL_BIND",
        /// Pages interleaved over the nodes.
        Interleave = "MPOL_INTERLEAVE",
        /// Local to the CPU.
        Local = "MPOL_LOCAL",
        /// Several preferred nodes (Linux 5.15).
        PreferredMany = "MPOL_PREFERRED_MANY",
        /// Interleaved by weight (Linux 6.9).
        WeightedInterleave = "MPOL_WEIGHTED_INTERLEAVE",
    }

    /// Flags of `set_mempolicy(2)`.
    pub enum MemoryPolicyFlag ("or invalid memory policy flag") {
        /// Let NUMA balancing move pages.
        #[default]
        NumaBalancing = "MPOL_F_NUMA_BALANCING",
        /// Nodes are relative to the allowed ones.
        RelativeNodes = "MPOL_F_RELATIVE_NODES",
        /// Nodes are not remapped.
        StaticNodes = "MPOL_F_STATIC_NODES",
    }
}

//! The state of a container, as `state` prints it and hooks read it.

use std::collections::BTreeMap;

use super::document::{document, words};

document! {
    /// The state document of the specification.
    pub struct State {
        always {
            /// Version of the specification that the document follows.
            pub oci_version: String,
            /// Id of the container.
            pub id: String,
            /// Where it is in its life.
            pub status: Status,
            /// Absolute path of the bundle.
            pub bundle: String,
        }
        /// Process id of its init in the runtime's pid namespace; not printed once it is gone.
        pub pid: Option<i32>,
        /// Annotations of the container.
        pub annotations: BTreeMap<String, String>,
    }

    /// What comes with the descriptors of a process, such as its seccomp listener.
    pub struct ContainerProcessState {
        always {
            /// Version of the specification that the document follows.
            pub oci_version: String,
            /// Names of the descriptors, in their order: `seccompFd`.
            pub fds: Vec<String>,
            /// The process, as the runtime sees it.
            pub pid: i32,
            /// The container.
            pub state: State,
        }
        /// `listenerMetadata` of the profile.
        pub metadata: String,
    }
}

words! {
    /// Where a container is in its life; `Paused` is runc's addition.
    pub enum Status ("container status") {
        /// Being created.
        #[default]
        Creating = "creating",
        /// Created, its process not started.
        Created = "created",
        /// Its process runs.
        Running = "running",
        /// Its process has ended.
        Stopped = "stopped",
        /// Frozen.
        Paused = "paused",
    }
}

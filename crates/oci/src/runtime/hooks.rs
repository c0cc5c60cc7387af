//! Programs run around a container's life.

use super::document::document;

document! {
    /// The six lists of hooks, in the order in which their times come.
    pub struct Hooks {
        /// Deprecated: after the namespaces exist, before the user's process; runtime's namespaces.
        pub prestart: Vec<Hook>,
        /// As `prestart`, during create; runtime's namespaces.
        pub create_runtime: Vec<Hook>,
        /// During create, after `create_runtime`; container's namespaces, runtime's root.
        pub create_container: Vec<Hook>,
        /// Before the user's process, during start; container's namespaces and root.
        pub start_container: Vec<Hook>,
        /// After the user's process started; runtime's namespaces.
        pub poststart: Vec<Hook>,
        /// After the container was deleted; runtime's namespaces.
        pub poststop: Vec<Hook>,
    }

    /// One hook; the container's state comes on its stdin.
    pub struct Hook {
        required {
            /// Absolute path of the program.
            pub path: String,
        }
        /// Arguments including the zeroth.
        pub args: Vec<String>,
        /// Whole environment; absent: that of who runs it, inside the container that of its process.
        pub env: Option<Vec<String>>,
        /// Seconds until it is killed; absent means never, less than 1 is an error.
        pub timeout: Option<i64>,
    }
}

impl Hooks {
    /// All lists with their JSON keys.
    #[must_use]
    pub fn lists(&self) -> [(&'static str, &[Hook]); 6] {
        [
            ("prestart", &self.prestart),
            ("createRuntime", &self.create_runtime),
            ("createContainer", &self.create_container),
            ("startContainer", &self.start_container),
            ("poststart", &self.poststart),
            ("poststop", &self.poststop),
        ]
    }
}

//! An image's configuration: how to run it, and which layers it is made of.

use std::collections::BTreeMap;

use crate::runtime::document::document;

document! {
    /// The configuration document; its digest is the image's id.
    pub struct ImageConfig {
        always {
            /// Architecture in Go's words.
            pub architecture: String,
            /// Operating system in Go's words.
            pub os: String,
            /// The layers' digests.
            pub rootfs: RootFs,
        }
        /// When it was made, RFC 3339.
        pub created: Option<String>,
        /// Who made it.
        pub author: Option<String>,
        /// Version of the operating system.
        #[serde(rename = "os.version")]
        pub os_version: Option<String>,
        /// Features of the operating system.
        #[serde(rename = "os.features")]
        pub os_features: Vec<String>,
        /// Variant of the architecture.
        pub variant: Option<String>,
        /// How to run it.
        pub config: Option<RunConfig>,
        /// How each layer came to be.
        pub history: Vec<History>,
    }

    /// The layers, unpacked.
    pub struct RootFs {
        always {
            /// Always `layers`.
            #[serde(rename = "type")]
            pub type_: String,
            /// Digests of the unpacked tars, lowest first.
            #[serde(rename = "diff_ids")]
            pub diff_ids: Vec<String>,
        }
    }

    /// How one layer came to be.
    pub struct History {
        /// When, RFC 3339.
        pub created: Option<String>,
        /// The command.
        #[serde(rename = "created_by")]
        pub created_by: Option<String>,
        /// Who.
        pub author: Option<String>,
        /// A remark.
        pub comment: Option<String>,
        /// True where no layer came of it.
        #[serde(rename = "empty_layer")]
        pub empty_layer: bool,
    }

    /// Defaults of a container of the image.
    pub struct RunConfig {
        /// User: `uid`, `uid:gid`, `name`, `name:group` …
        #[serde(rename = "User")]
        pub user: Option<String>,
        /// Ports that it serves, `80/tcp` each.
        #[serde(rename = "ExposedPorts")]
        pub exposed_ports: BTreeMap<String, serde_json::Value>,
        /// Environment, `NAME=value` each.
        #[serde(rename = "Env")]
        pub env: Vec<String>,
        /// First words of the command.
        #[serde(rename = "Entrypoint")]
        pub entrypoint: Vec<String>,
        /// Rest of the command, or its defaults.
        #[serde(rename = "Cmd")]
        pub cmd: Vec<String>,
        /// Directories that hold data.
        #[serde(rename = "Volumes")]
        pub volumes: BTreeMap<String, serde_json::Value>,
        /// Working directory.
        #[serde(rename = "WorkingDir")]
        pub working_dir: Option<String>,
        /// Labels.
        #[serde(rename = "Labels")]
        pub labels: BTreeMap<String, String>,
        /// Signal that asks the process to end, by name or number.
        #[serde(rename = "StopSignal")]
        pub stop_signal: Option<String>,
        /// Docker: whether `args` are already escaped (Windows).
        #[serde(rename = "ArgsEscaped")]
        pub args_escaped: bool,
        /// Docker: how to see whether it is well; not acted upon, kept for those who print it.
        #[serde(rename = "Healthcheck")]
        pub healthcheck: Option<Healthcheck>,
        /// Docker: shell of the shell form.
        #[serde(rename = "Shell")]
        pub shell: Vec<String>,
        /// Docker: commands for images built on this one.
        #[serde(rename = "OnBuild")]
        pub on_build: Vec<String>,
    }

    /// Docker's health check.
    pub struct Healthcheck {
        /// `CMD`, `CMD-SHELL` or `NONE` and the command.
        #[serde(rename = "Test")]
        pub test: Vec<String>,
        /// Nanoseconds between checks.
        #[serde(rename = "Interval")]
        pub interval: Option<i64>,
        /// Nanoseconds until a check has failed.
        #[serde(rename = "Timeout")]
        pub timeout: Option<i64>,
        /// Nanoseconds before failures count.
        #[serde(rename = "StartPeriod")]
        pub start_period: Option<i64>,
        /// Failures in a row.
        #[serde(rename = "Retries")]
        pub retries: Option<i64>,
    }
}

//! What can be said to `run`. CRI decides what can be done; flags that people know from elsewhere and
//! that CRI cannot say are known too, and refused by a sentence ([`Unsaid`]).

use crate::{
    launch::{Device, Pid, Published},
    parse,
    stream::{self, DetachKeys},
    view::{User, Volume},
};

use super::words::{self, SecurityOption};

/// Which network a new pod gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Network {
    /// An address of its own on the node's bridge
    #[value(alias = "bridge", alias = "default")]
    Pod,
    /// The host's own
    Host,
    /// Nothing but loopback
    None,
}

/// Whether an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pull {
    /// When it is not here
    Missing,
    /// Never
    Never,
    /// Always; nothing is fetched that is here already
    #[value(alias = "newer")]
    Always,
}

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without -d the command follows the container and passes its exit code on. Ctrl-C goes to the
container if its program handles it, else stops it; pressed again it stops, then kills it. In a
terminal (-it) every key goes to the program; Ctrl-P Ctrl-Q leaves it running.
Exit codes: the container's; 125 it could not be made, 126 not executable, 127 not found.

Examples:
  coffer run --rm -it busybox sh
  coffer run -d --name web -p 8080:80 -v /srv/www:/www:ro httpd
  coffer run --rm --pod web busybox wget -qO- http://localhost/
  echo data | coffer run --rm -i busybox wc -c")]
pub(crate) struct Args {
    /// Name for the container, and for its pod when that is new
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Pass standard input on
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Print the id and leave the container running
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Remove the container, and the pod made for it, when it has ended
    #[arg(long, conflicts_with = "detach")]
    pub(crate) rm: bool,
    /// Keys that leave the container's terminal; empty for none
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q", value_parser = stream::detach_keys)]
    pub(super) detach_keys: DetachKeys,

    /// Environment variable, KEY=VALUE or KEY to pass ours on
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = parse::env, help_heading = "Process")]
    pub(super) env: Vec<Option<(String, String)>>,
    /// File of such lines; # begins a comment
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    pub(super) env_file: Vec<std::path::PathBuf>,
    /// Working directory
    #[arg(
        short,
        long,
        value_name = "DIR",
        default_value = "",
        hide_default_value = true,
        help_heading = "Process"
    )]
    pub(super) workdir: String,
    /// User: a name of the image, UID or UID:GID
    #[arg(short, long, value_parser = parse::user, help_heading = "Process")]
    pub(super) user: Option<User>,
    /// Further group, by number
    #[arg(long, value_name = "GID", value_parser = words::group, help_heading = "Process")]
    pub(super) group_add: Vec<i64>,
    /// Use this instead of the image's entrypoint; "" for none
    #[arg(long, value_name = "COMMAND", help_heading = "Process")]
    pub(super) entrypoint: Option<String>,
    /// Signal that stops it, such as SIGINT
    #[arg(long, value_name = "SIGNAL", value_parser = crate::signals::parse, help_heading = "Process")]
    pub(super) stop_signal: Option<u32>,

    /// Mount a host path, HOST:CONTAINER[:ro,rslave,…]
    #[arg(short, long, value_name = "HOST:CONTAINER[:OPTIONS]", value_parser = words::volume, help_heading = "Files")]
    pub(super) volume: Vec<Volume>,
    /// The same in long form
    #[arg(long, value_name = "type=bind,src=…,dst=…[,ro]", value_parser = words::mount, help_heading = "Files")]
    pub(super) mount: Vec<Volume>,
    /// Give it a device, HOST[:CONTAINER][:rwm]
    #[arg(long, value_name = "DEVICE", value_parser = words::device, help_heading = "Files")]
    pub(super) device: Vec<Device>,
    /// Make the root filesystem read-only
    #[arg(long, help_heading = "Files")]
    pub(super) read_only: bool,

    /// Put the container into this pod, by name or id
    #[arg(
        long,
        value_name = "POD",
        conflicts_with_all = ["network", "hostname", "publish", "dns", "dns_search", "dns_option", "sysctl", "ipc", "runtime"],
        help_heading = "Pod and network"
    )]
    pub(super) pod: Option<String>,
    /// Network of a new pod [default: pod]
    #[arg(
        long,
        visible_alias = "net",
        value_enum,
        help_heading = "Pod and network"
    )]
    pub(super) network: Option<Network>,
    /// Publish a port or range, [IP:][HOST:]CONTAINER[/udp]
    #[arg(short, long, value_name = "PORTS", value_parser = words::ports, help_heading = "Pod and network")]
    pub(super) publish: Vec<Vec<Published>>,
    /// Hostname of a new pod; its name if not given
    #[arg(long, help_heading = "Pod and network")]
    pub(super) hostname: Option<String>,
    /// Name server
    #[arg(long, value_name = "IP", help_heading = "Pod and network")]
    pub(super) dns: Vec<std::net::IpAddr>,
    /// Domain to search names in
    #[arg(long, value_name = "DOMAIN", help_heading = "Pod and network")]
    pub(super) dns_search: Vec<String>,
    /// Option of the resolver, such as ndots:2
    #[arg(
        long,
        visible_alias = "dns-opt",
        value_name = "OPTION",
        help_heading = "Pod and network"
    )]
    pub(super) dns_option: Vec<String>,
    /// Kernel parameter of the pod
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::label, help_heading = "Pod and network")]
    pub(super) sysctl: Vec<(String, String)>,
    /// Processes it sees: its own, the pod's, the host's, or container:NAME in the same pod
    #[arg(long, value_name = "private|pod|host|container:NAME", value_parser = words::pid, help_heading = "Pod and network")]
    pub(super) pid: Option<Pid>,
    /// Shared memory: the pod's or the host's
    #[arg(long, value_name = "pod|host", value_parser = ["pod", "private", "shareable", "host"], hide_possible_values = true, help_heading = "Pod and network")]
    pub(super) ipc: Option<String>,
    /// Handler of a runtime class
    #[arg(long, value_name = "HANDLER", help_heading = "Pod and network")]
    pub(super) runtime: Option<String>,
    /// Label for container and new pod, KEY=VALUE
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse::label, help_heading = "Pod and network")]
    pub(super) label: Vec<(String, String)>,
    /// Annotation for container and new pod, KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::label, help_heading = "Pod and network")]
    pub(super) annotation: Vec<(String, String)>,

    /// Memory limit, such as 64m or 1g
    #[arg(short, long, value_name = "SIZE", value_parser = parse::memory, help_heading = "Limits")]
    pub(super) memory: Option<i64>,
    /// CPU limit, such as 0.5
    #[arg(long, value_name = "COUNT", value_parser = parse::cpus, help_heading = "Limits")]
    pub(super) cpus: Option<i64>,
    /// Weight against other containers (1024 is usual)
    #[arg(short, long, value_name = "SHARES", value_parser = clap::value_parser!(i64).range(2..=262_144), help_heading = "Limits")]
    pub(super) cpu_shares: Option<i64>,
    /// CPUs to run on, such as 0-3,8
    #[arg(long, value_name = "CPUS", help_heading = "Limits")]
    pub(super) cpuset_cpus: Option<String>,
    /// Most processes and threads
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i64).range(1..), help_heading = "Limits")]
    pub(super) pids_limit: Option<i64>,
    /// Whom the kernel kills first when memory is out, -1000 to 1000
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true, value_parser = clap::value_parser!(i64).range(-1000..=1000), help_heading = "Limits")]
    pub(super) oom_score_adj: Option<i64>,

    /// All capabilities and devices, no confinement
    #[arg(long, help_heading = "Security")]
    pub(super) privileged: bool,
    /// Add a capability, or ALL
    #[arg(long, value_name = "CAP", value_parser = words::capability, help_heading = "Security")]
    pub(super) cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "CAP", value_parser = words::capability, help_heading = "Security")]
    pub(super) cap_drop: Vec<String>,
    /// seccomp=unconfined|FILE, apparmor=unconfined|PROFILE, no-new-privileges
    #[arg(long, value_name = "OPTION", value_parser = words::security, help_heading = "Security")]
    pub(super) security_opt: Vec<SecurityOption>,

    /// When to fetch the image from its registry
    #[arg(long, value_enum, default_value = "missing")]
    pub(super) pull: Pull,
    #[command(flatten)]
    pub(super) unsaid: Unsaid,

    /// Name or id of an image
    pub(super) image: String,
    /// Arguments for the image's entrypoint, instead of its own
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// What other tools can do and CRI cannot say. Known so that the answer is a reason, not a guess at
/// the spelling.
#[derive(Debug, clap::Args)]
pub(crate) struct Unsaid {
    #[arg(long, hide = true)]
    add_host: Vec<String>,
    #[arg(long, hide = true)]
    tmpfs: Vec<String>,
    #[arg(long, hide = true)]
    init: bool,
    #[arg(long, hide = true)]
    restart: Option<String>,
    #[arg(short = 'P', long, hide = true)]
    publish_all: bool,
    #[arg(long, hide = true)]
    userns: Option<String>,
    #[arg(long, hide = true)]
    shm_size: Option<String>,
    #[arg(long, hide = true)]
    ulimit: Vec<String>,
    #[arg(long, hide = true)]
    volumes_from: Vec<String>,
    #[arg(long, hide = true)]
    gpus: Option<String>,
    #[arg(long, hide = true)]
    ip: Option<String>,
    #[arg(long, hide = true)]
    stop_timeout: Option<String>,
}

impl Unsaid {
    /// The flag that was given, with why nothing comes of it and what to do instead.
    pub(super) fn given(&self) -> Option<(&'static str, &'static str)> {
        let table = [
            (
                !self.add_host.is_empty(),
                "--add-host",
                "mount a file of your own with -v FILE:/etc/hosts",
            ),
            (
                !self.tmpfs.is_empty(),
                "--tmpfs",
                "mount a directory of a tmpfs with -v, such as /run/scratch:/scratch",
            ),
            (
                self.init,
                "--init",
                "use an image that has an init, such as tini",
            ),
            (
                self.restart.is_some(),
                "--restart",
                "nothing on a node starts containers again but a kubelet or an init system",
            ),
            (self.publish_all, "-P", "publish each port with -p"),
            (
                self.userns.is_some(),
                "--userns",
                "pods with a user namespace are not available yet",
            ),
            (
                self.shm_size.is_some(),
                "--shm-size",
                "mount a directory of a tmpfs of that size with -v DIR:/dev/shm",
            ),
            (
                !self.ulimit.is_empty(),
                "--ulimit",
                "limits of processes are the daemon's own; set them where it is started",
            ),
            (
                !self.volumes_from.is_empty(),
                "--volumes-from",
                "give the paths again with -v",
            ),
            (
                self.gpus.is_some(),
                "--gpus",
                "give the devices with --device",
            ),
            (
                self.ip.is_some(),
                "--ip",
                "addresses are the node's to give; `coffer inspect` shows them",
            ),
            (
                self.stop_timeout.is_some(),
                "--stop-timeout",
                "say it when you stop it: `coffer stop -t SECONDS`",
            ),
        ];
        table
            .into_iter()
            .find_map(|(given, flag, instead)| given.then_some((flag, instead)))
    }
}

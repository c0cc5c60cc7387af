//! From a document and host facts to what the child does. Pure: no file is opened, nothing is asked.
//!
//! ```text
//!  Spec + Facts + Options ──► create() ──► Plan { steps, strings, sources of descriptors, … }
//!  Process of an exec     ──► exec()   ──┘            │
//!                                                     ▼
//!                         launch: opens the sources, clones, init::launch walks the steps
//! ```
//! The order of the steps is the ladder of the `init` crate. `Display` prints a plan, one step a line;
//! golden tests and `coffer-oci plan` show that.

mod builder;
mod capabilities;
mod cgroup;
mod create;
mod devices;
mod error;
mod exec;
mod hooks;
mod id_maps;
pub(crate) mod live_mounts;
mod mounts;
mod namespaces;
mod options;
mod places;
mod process;
mod schedule;
mod text;
mod tree;

use std::{collections::BTreeMap, path::PathBuf};

use oci::runtime as spec;

use crate::annotations::Said;

pub(crate) use builder::HookName;
pub use builder::Plan;
pub use create::create;
pub(crate) use create::{after_gate, is_of_start, start_container_hook};
pub use error::Error;
pub use exec::{Join, exec};
pub(crate) use hooks::{HookList, only as hooks_only};
pub use namespaces::IdMaps;
pub(crate) use namespaces::{flag as namespace_flag, on_host};
pub use options::MOUNT_OPTIONS;
pub(crate) use process::APPARMOR;
pub(crate) use text::describe;

/// Where a descriptor of a plan comes from; `launch` opens it before the clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A namespace by path, checked to be of its type.
    Namespace(spec::NamespaceType, String),
    /// The nth v1 `tasks` file of the container's cgroup.
    CgroupJoin(usize),
    /// `cgroup.procs` of the container's cgroup2 directory.
    CgroupProcs,
    /// The container's own cgroup directory in the hierarchy of this controller (`""`: cgroup2), as
    /// a detached bind with these attributes.
    CgroupTree(String, init::Attr),
    /// The root filesystem.
    Rootfs(Propagation),
    /// A detached bind of a host path.
    Tree(Box<Tree>),
    /// A detached tmpfs with these devices, by the names `0`, `1` …
    Nodes(Vec<Node>),
    /// A detached bind of the host's null device.
    NullTree,
    /// The host's procfs.
    Proc,
    /// The null device, for streams.
    Null,
    /// Standard stream 0, 1 or 2 as the caller gave it.
    Stream(u8),
    /// The state for hooks, in a memory file.
    HookState(spec::Status),
    /// A file that takes what hooks print.
    HookOutput(String),
    /// What the hook of this name prints, where nobody asked for it.
    HookWords(String),
    /// The gate's fifo.
    Fifo,
    /// The fifo for what fails after the gate.
    FifoStatus,
    /// pidfd of the container's first process.
    InitPidfd,
    /// Filled in by a step.
    Later,
    /// As `Later`: a bind of something inside, whose ids are mapped and attributes set by
    /// [`init::Step::MapIds`].
    Taken(Box<Tree>),
}

/// Propagation of a mount and of those below it: MS_PRIVATE, MS_SLAVE …
pub type Propagation = u64;

/// A bind mount, all of which is made ready before the clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Path on the host.
    pub path: PathBuf,
    /// For messages: where it will be.
    pub dest: String,
    /// With the mounts below it.
    pub recursive: bool,
    /// A link at its end is bound itself.
    pub itself: bool,
    /// Attributes that the source may have and the document does not ask for: taken away, where the kernel
    /// lets us.
    pub unsaid: u64,
    /// mount_setattr calls, each with whether it is recursive.
    pub attrs: Vec<(init::Attr, bool)>,
    /// Ids are shifted by these maps.
    pub id_map: Option<IdMap>,
}

/// A device that is made on the host's side, because a user namespace may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it will be.
    pub path: String,
    /// Type and permissions.
    pub mode: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Owner, as the host knows it.
    pub uid: u32,
    /// Group, as the host knows it.
    pub gid: u32,
}

/// How the ids of a bind mount are mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// The maps.
    pub ids: Ids,
    /// Mounts below it too.
    pub recursive: bool,
}

/// Maps of a bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids {
    /// As they are written.
    Maps(IdMaps),
    /// Those of the user namespace at a path.
    Of(String),
}

/// What only the parent may do to the child, at [`init::Sync::Setup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Privileged {
    /// A resource limit.
    Rlimit {
        /// Name, for messages.
        name: String,
        /// The kernel's number.
        resource: u32,
        /// Soft limit.
        soft: u64,
        /// Hard limit.
        hard: u64,
    },
    /// oom_score_adj.
    OomScoreAdj(i32),
}

/// What a plan depends on besides document and host.
#[derive(Debug, Clone)]
pub struct Options {
    /// The bundle.
    pub bundle: PathBuf,
    /// The container's name (session keyring).
    pub id: String,
    /// The streams: a pseudo terminal, or which of 0, 1, 2 the caller gave (`None`: inherited).
    pub stdio: Streams,
    /// The gate.
    pub gate: Gate,
    /// Descriptors from 3 on that stay.
    pub preserve_fds: u32,
    /// chroot instead of pivot_root, where these mounts of the host have been taken away.
    pub no_pivot: Option<Vec<String>>,
    /// No new session keyring.
    pub no_new_keyring: bool,
    /// Appended to the environment.
    pub extra_env: Vec<String>,
    /// Capabilities that we lack are left out instead of refused.
    pub clamp_capabilities: bool,
    /// Number of v1 `tasks` files of the cgroup.
    pub joins: usize,
    /// There is a cgroup2 directory.
    pub unified: bool,
    /// Home of the user, for an environment without HOME.
    pub home: Option<String>,
    /// The root filesystem's path, if it has one: where the child opens it itself (rootless), and where
    /// createContainer hooks find it.
    pub rootfs: Option<PathBuf>,
    /// Links that mounts with `copy-symlink` are of, by their places in the list.
    pub links: BTreeMap<usize, String>,
    /// Our own environment, for createContainer hooks that name none.
    pub hook_env: Vec<String>,
    /// What annotations say.
    pub said: Said,
}

impl Options {
    /// There is no cgroup.
    fn without_cgroup(&self) -> bool {
        self.joins == 0 && !self.unified
    }

    /// As for a plain `run`.
    #[must_use]
    pub fn new(bundle: &std::path::Path) -> Self {
        Self {
            bundle: bundle.to_owned(),
            id: "container".to_owned(),
            stdio: Streams::Given([false; 3]),
            gate: Gate::Channel,
            preserve_fds: 0,
            no_pivot: None,
            no_new_keyring: false,
            extra_env: Vec::new(),
            clamp_capabilities: false,
            joins: 1,
            unified: false,
            home: None,
            rootfs: None,
            links: BTreeMap::new(),
            hook_env: Vec::new(),
            said: Said::default(),
        }
    }
}

/// Kinds of standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// As ours.
    Inherit,
    /// By descriptor, or the null device.
    Given([bool; 3]),
    /// A pseudo terminal.
    Terminal,
}

/// Kinds of gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// None.
    Open,
    /// The parent's word.
    Channel,
    /// A fifo.
    Fifo,
}

/// Whether this is a HOME that says where.
pub(crate) fn is_home(entry: &str) -> bool {
    entry
        .strip_prefix("HOME=")
        .is_some_and(|home| !home.is_empty())
}

/// Environment: of the document, what the caller adds, and HOME.
fn environment(process: &spec::Process, options: &Options) -> Vec<String> {
    // Of several values for one name the last counts, as for runc; programs would see the first.
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    let all: Vec<&str> = process
        .env
        .iter()
        .chain(&options.extra_env)
        .map(String::as_str)
        .collect();
    for (at, entry) in all.iter().enumerate() {
        last.insert(entry.split('=').next().unwrap_or_default(), at);
    }
    let mut env: Vec<String> = all
        .iter()
        .enumerate()
        .filter(|(at, entry)| last.get(entry.split('=').next().unwrap_or_default()) == Some(at))
        .map(|(_, entry)| (*entry).to_owned())
        .collect();
    // An empty one is none, as for runc.
    if let Some(home) = &options.home
        && !env.iter().any(|entry| is_home(entry))
    {
        env.retain(|entry| entry != "HOME=");
        env.push(format!("HOME={home}"));
    }
    env
}
